"""Commands around deduplication: the S-curve of bands and rows, and deduplicating files on their own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import UserError
from pipelines.console import Json, print_table

if TYPE_CHECKING:
    from dedup.curve import Curve

BANDS, ROWS, VERIFY = 14, 8, 0.7  # as the stage minhash_dedup has them
_AT = "0.3,0.4,0.5,0.6,0.7,0.75,0.8,0.85,0.9,0.95"

dedup_app = typer.Typer(no_args_is_help=True, help="Deduplicate files on their own, and see what bands and rows find.")


@dedup_app.command("curve")
def dedup_curve(
    bands: Annotated[int | None, typer.Option(min=1, max=4096, help=f"bands; default {BANDS}")] = None,
    rows: Annotated[int | None, typer.Option(min=1, max=4096, help=f"hash functions per band; default {ROWS}")] = None,
    at: Annotated[str, typer.Option("--at", help="similarities to show, with commas between them")] = _AT,
    threshold: Annotated[float, typer.Option(help="similarity from which a pair should be found: what `verify` will be")] = VERIFY,
    permutations: Annotated[
        int | None, typer.Option(help="choose the bands and rows of least error at --threshold with so many hash functions")
    ] = None,
    as_json: Json = False,
) -> None:
    """How many pairs of each similarity become candidates, and how many of them in vain or never."""
    from dedup.curve import Curve, optimal_curve

    if permutations is not None and (bands is not None or rows is not None):
        fix = "leave out --bands and --rows, or --permutations"
        raise UserError("--permutations chooses bands and rows itself", field="--permutations", found=permutations, fix=fix)
    similarities = _similarities(at)
    try:
        curve = Curve(bands or BANDS, rows or ROWS) if permutations is None else optimal_curve(threshold, permutations)
        facts = _facts(curve, similarities, threshold)
    except UserError as error:
        raise error.changed(field=f"--{error.field}") from None
    if as_json:
        print(json.dumps(facts))
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
        "points": [{"similarity": similarity, "probability": probability} for similarity, probability in points],
        "areas_at": threshold,
        "false_positive_area": curve.false_positive_area(threshold),
        "false_negative_area": curve.false_negative_area(threshold),
    }


def _print_curve(curve: Curve, facts: dict[str, Any]) -> None:
    from dedup.curve import BLOCKS, draw

    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
        blocks = BLOCKS
    except UnicodeEncodeError:  # a terminal without block characters
        blocks = " .:#"
    print(f"{curve.bands} bands of {curve.rows} rows ({curve.permutations} hash functions): share of pairs that become candidates\n")
    marks = {"half of the pairs": facts["half_at"], "threshold (1/bands)^(1/rows)": facts["threshold"]}
    print("\n".join(draw(curve, marks, blocks=blocks)))
    print()
    shown = [(point["similarity"], point["probability"]) for point in facts["points"]]
    print_table(
        ("similarity", "candidates", "missed"),
        [(f"{similarity:>10g}", f"{100 * found:>8.2f} %", f"{100 * (1 - found):>6.2f} %") for similarity, found in shown],
    )
    wanted, positives, negatives = facts["areas_at"], facts["false_positive_area"], facts["false_negative_area"]
    print(f"\nfalse positive area {positives:.4f}  under the curve up to {wanted:g}: compared, and not similar enough")
    print(f"false negative area {negatives:.4f}  above the curve from {wanted:g} on: similar enough, and never compared")


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
