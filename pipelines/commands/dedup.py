"""Commands around deduplication: the S-curve of bands and rows, and deduplicating files on their
own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from artifacts.errors import UserError
from dedup.near.settings import DEFAULTS, FILES, MAX_FUNCTIONS
from pipelines.commands.dedup_index import index_app
from pipelines.commands.options import Json, near_option, print_json, print_table, said_of_options
from pipelines.report.quality_words import quality_line

if TYPE_CHECKING:
    from dedup.near.curve import Curve
    from pipelines.deduplicate.files import DedupOutcome

_AT = "0.3,0.4,0.5,0.6,0.7,0.75,0.8,0.85,0.9,0.95"


class _RunIfUnnamed(TyperGroup):
    """A group whose command ``run`` need not be named: ``dedup PATHS`` is ``dedup run PATHS``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = not args or args[0] in self.commands or args[0] == "--help"
        parsed: list[str] = super().parse_args(ctx, args if named else ["run", *args])
        return parsed


dedup_app = typer.Typer(
    cls=_RunIfUnnamed,
    no_args_is_help=True,
    help="Deduplicate files on their own (run), and see what bands and rows find (curve).",
)
dedup_app.add_typer(index_app, name="index")


@dedup_app.command("run")
@said_of_options()
def dedup_run(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS", help="files or globs that a recipe could read, local or of a store"
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="folder to write into, or a store's URL")
    ],
    ngrams: Annotated[int, near_option("ngrams", FILES)] = DEFAULTS.ngrams,
    bands: Annotated[int, near_option("bands", FILES)] = DEFAULTS.bands,
    rows: Annotated[int, near_option("rows", FILES)] = DEFAULTS.rows,
    verify: Annotated[float, near_option("verify", FILES)] = DEFAULTS.verify,
    keep: Annotated[
        str | None, near_option("keep", FILES, 'as in "date desc, id"; default: the longest')
    ] = None,
    max_removed: Annotated[
        float, near_option("max_removed_share", FILES)
    ] = DEFAULTS.max_removed_share,
    quality: Annotated[int, near_option("quality_sample", FILES)] = DEFAULTS.quality_sample,
    max_quarantined: Annotated[
        float, typer.Option(help="stop when more than this share of a source cannot be read")
    ] = 0.5,
    text_field: Annotated[str, typer.Option(help="field of a record that holds its text")] = "text",
    id_field: Annotated[
        str | None,
        typer.Option(help="field that identifies a record; default: its path and offset"),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="of the kept documents: jsonl (zstd) or parquet")
    ] = "jsonl",
    compression: Annotated[
        str,
        typer.Option(help="of the texts under run/: none is fastest, lz4 and zstd take less room"),
    ] = "none",
    workers: Annotated[
        int | None, typer.Option(min=1, help="local worker processes; default: the number of cores")
    ] = None,
    as_json: Json = False,
) -> None:
    """Remove exact and near copies from files; what stays is written out, with who stands for whom.
    `run` may be left out.
    """
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.commands.terminal.shown import ShownConsole
    from pipelines.deduplicate.files import dedup_files
    from pipelines.executors import default_workers

    with TerminalProgress(ShownConsole(stderr=True)) as progress:
        done = dedup_files(
            paths, output, ngrams=ngrams, bands=bands, rows=rows, verify=verify, keep=keep,
            max_removed=max_removed, quality=quality, max_quarantined=max_quarantined,
            text_field=text_field, id_field=id_field, format=format, compression=compression,
            workers=workers or default_workers(), progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(done.to_json())
    else:
        _print_done(done)


def _print_done(done: DedupOutcome) -> None:
    from pipelines.deduplicate.files import EVIDENCE, KEPT, LEDGER, RUN
    from pipelines.report.numerals import byte_size, count, duration, share

    def row(name: str, found: Any) -> tuple[str, str, str, str]:
        part = share(found.documents, done.entered.documents)
        return name, f"{count(found.documents):>12}", f"{part:>8}", f"{byte_size(found.bytes):>10}"

    rows = [row("in", done.entered)]
    rows += [row(f"not read: {reason}", found) for reason, found in sorted(done.not_read.items())]
    rows += [row(f"removed: {reason}", found) for reason, found in sorted(done.removed.items())]
    rows.append(row("kept", done.kept))
    print()
    print_table(("", f"{'documents':>12}", f"{'share':>8}", f"{'bytes':>10}"), rows)
    print()
    removed = sum(found.documents for found in done.removed.values())
    speed = byte_size(done.entered.bytes / max(done.seconds, 1e-9))
    work = (
        f"everything was there ({duration(done.seconds)})"
        if not done.computed
        else f"{duration(done.seconds)}, {speed}/s"
    )
    print(
        f"kept      {done.output}/{KEPT} ({len(done.files)} "
        f"{'file' if len(done.files) == 1 else 'files'})"
    )
    print(
        f"evidence  {done.output}/{EVIDENCE} ({count(removed)} removed, each with the document "
        "that stands for it)"
    )
    print(f"ledger    {done.output}/{LEDGER}")
    print(f"run       {done.output}/{RUN}")
    if done.facts["quality"]["expected_recall"] is not None:
        print(f"quality   {quality_line(done.facts['quality'])}")
    print(f"work      {work}")
    if done.facts["comparisons_skipped"]:
        skipped, bounded = (
            count(done.facts["comparisons_skipped"]),
            count(done.facts["documents_bounded"]),
        )
        print(
            f"bound     {skipped} comparisons of {bounded} documents were left out, beyond "
            f"{DEFAULTS.max_comparisons} for each"
        )


@dedup_app.command("curve")
@said_of_options()
def dedup_curve(
    bands: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_FUNCTIONS, help=f"bands; default {DEFAULTS.bands}"),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_FUNCTIONS, help=f"hash functions per band; default {DEFAULTS.rows}"
        ),
    ] = None,
    at: Annotated[
        str, typer.Option("--at", help="similarities to show, with commas between them")
    ] = _AT,
    threshold: Annotated[
        float,
        typer.Option(help="similarity from which a pair should be found: what `verify` will be"),
    ] = DEFAULTS.verify,
    permutations: Annotated[
        int | None,
        typer.Option(
            help=(
                "choose the bands and rows of least error at --threshold with so many hash "
                "functions"
            )
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """How many pairs of each similarity become candidates, and how many of them in vain or
    never.
    """
    from dedup.near.curve import Curve, optimal_curve

    if permutations is not None and (bands is not None or rows is not None):
        fix = "leave out --bands and --rows, or --permutations"
        raise UserError(
            "--permutations chooses bands and rows itself",
            field="--permutations",
            found=permutations,
            fix=fix,
        )
    similarities = _similarities(at)
    curve = (
        Curve(bands or DEFAULTS.bands, rows or DEFAULTS.rows)
        if permutations is None
        else optimal_curve(threshold, permutations)
    )
    facts = _facts(curve, similarities, threshold)
    if as_json:
        print_json(facts)
        return
    _print_curve(curve, facts)


def _facts(curve: Curve, similarities: list[float], threshold: float) -> dict[str, Any]:
    points = zip(similarities, curve.probability(similarities).tolist(), strict=True)
    return {
        "bands": curve.bands,
        "rows": curve.rows,
        "permutations": curve.permutations,
        "threshold": curve.threshold,
        "half_at": curve.similarity_at(0.5),
        "points": [
            {"similarity": similarity, "probability": probability}
            for similarity, probability in points
        ],
        "areas_at": threshold,
        "false_positive_area": curve.false_positive_area(threshold),
        "false_negative_area": curve.false_negative_area(threshold),
    }


def _print_curve(curve: Curve, facts: dict[str, Any]) -> None:
    from dedup.near.curve import BLOCKS, draw

    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
        blocks = BLOCKS
    except UnicodeEncodeError:  # a terminal without block characters
        blocks = " .:#"
    print(
        f"{curve.bands} bands of {curve.rows} rows ({curve.permutations} hash functions): share of "
        "pairs that become candidates\n"
    )
    marks = {
        "half of the pairs": facts["half_at"],
        "threshold (1/bands)^(1/rows)": facts["threshold"],
    }
    print("\n".join(draw(curve, marks, blocks=blocks)))
    print()
    shown = [(point["similarity"], point["probability"]) for point in facts["points"]]
    print_table(
        ("similarity", "candidates", "missed"),
        [
            (f"{similarity:>10g}", f"{100 * found:>8.2f} %", f"{100 * (1 - found):>6.2f} %")
            for similarity, found in shown
        ],
    )
    wanted, positives, negatives = (
        facts["areas_at"],
        facts["false_positive_area"],
        facts["false_negative_area"],
    )
    print(
        f"\nfalse positive area {positives:.4f}  under the curve up to {wanted:g}: compared, and "
        "not similar enough"
    )
    print(
        f"false negative area {negatives:.4f}  above the curve from {wanted:g} on: similar enough, "
        "and never compared"
    )


def _similarities(text: str) -> list[float]:
    """Similarities with commas between them. Raises: UserError naming the one that is none."""
    found = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            fix = "give numbers from 0 to 1 with commas between them, as in 0.5,0.8"
            raise UserError("not a similarity", field="--at", found=part.strip() or text, fix=fix)
        found.append(value)
    return found
