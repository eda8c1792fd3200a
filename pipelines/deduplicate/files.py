"""Deduplicate files on their own: exact and near copies removed, everything else written out again.

    from pipelines.deduplicate.files import dedup_files

    done = dedup_files(["crawl/*.jsonl.zst", "more.parquet"], "deduped", verify=0.8)
    print(done.kept, done.removed)

It is a run of a recipe with two stages, ``exact_dedup`` and ``minhash_dedup``, made in memory and
kept under ``OUTPUT/run``: the same ledgers, evidence and cache, so that a second call finds
everything and one with another threshold only compares anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from artifacts.errors import Address, Parameter, UserError, is_parameter
from artifacts.ledger import Count
from artifacts.paths import Store
from dedup.near.settings import DEFAULTS, FILES, allowed, limits
from pipelines.corpus.chunk import Chunk
from pipelines.deduplicate.sources import check_format, named_sources, output_store
from pipelines.executors import open_executor
from pipelines.executors.lent import LentExecutor
from pipelines.executors.progress import Progress
from pipelines.readers import Fields
from pipelines.recipe.fields import MAX_QUARANTINED_SHARE
from pipelines.recipe.load import given_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.record import RECORD
from pipelines.writers.kept_documents import FORMATS, removal_pairs, write_kept, write_pairs

RUN, KEPT, EVIDENCE, LEDGER = "run", "kept", "evidence.parquet", "ledger.json"
_CALLED = {
    "max_removed_share": "max_removed",
    "quality_sample": "quality",
    "max_quarantined_share": "max_quarantined",
}


@dataclass(frozen=True)
class DedupOutcome:
    """What was kept and why the rest went.

    ``output``: the folder; ``entered``, ``kept``: documents and bytes (of the stream as read, of
    the texts kept); ``removed`` by reason, of texts; ``not_read`` by reason: records that are no
    documents, quarantined or dropped when read. ``files``: of kept documents, relative to
    ``output``. ``facts``: what the comparison counted. ``computed``: units made by this call, 0
    when all was there. ``seconds``: wall time.
    """

    output: str
    entered: Count
    kept: Count
    removed: dict[str, Count]
    not_read: dict[str, Count]
    files: tuple[str, ...]
    facts: dict[str, Any]
    computed: int
    seconds: float
    run: RunOutcome

    def to_json(self) -> dict[str, Any]:
        """Everything but the run itself, as plain values."""
        plain = {"output": self.output, "in": self.entered.to_json(), "kept": self.kept.to_json()}
        for name in ("removed", "not_read"):
            plain[name] = {
                reason: count.to_json() for reason, count in sorted(getattr(self, name).items())
            }
        return {
            **plain,
            "files": list(self.files),
            "facts": self.facts,
            "computed": self.computed,
            "seconds": round(self.seconds, 3),
        }


def dedup_files(
    paths: Sequence[str],
    output: str,
    *,
    ngrams: int = DEFAULTS.ngrams,
    bands: int = DEFAULTS.bands,
    rows: int = DEFAULTS.rows,
    verify: float = DEFAULTS.verify,
    keep: str | None = None,
    max_removed: float = DEFAULTS.max_removed_share,
    quality: int = DEFAULTS.quality_sample,
    max_quarantined: float = MAX_QUARANTINED_SHARE,
    text_field: str = "text",
    id_field: str | None = None,
    format: str = "jsonl",
    compression: str = "none",
    workers: int = 1,
    progress: Progress | None = None,
) -> DedupOutcome:
    """Remove exact and near copies from files that a recipe could read, and write the rest under
    ``output``.

    ``paths``: files or globs, local or of a store; files of one folder are one source, and sources
    rank in the order given. ``ngrams``, ``bands``, ``rows``, ``verify``, ``keep``,
    ``max_removed`` (max_removed_share) and ``quality`` (quality_sample) are those of
    :mod:`dedup.near.settings`; ``keep`` and ``max_removed`` hold for exact copies too.
    ``max_quarantined``: of the records of a source that may be unreadable; more stop the call.
    ``format``:
    of the kept documents, jsonl (compressed with zstd) or parquet. ``compression``: of the texts
    under ``run/`` (zstd, lz4, none), a question of room and time and of nothing else. Writes
    ``kept/``, ``evidence.parquet`` (each removed document and the one that stands for it),
    ``ledger.json`` and the run's folder ``run/``.

    Raises: UserError naming the file or the parameter that is wrong, before anything is written
    where it can be known then.
    """
    started = time.monotonic()
    fields = Fields(id_field=id_field, text_field=text_field)
    check_format(format, FORMATS)
    store = output_store(output)
    _check_nothing_in_the_way(store)
    sources = named_sources(paths, fields, store, (KEPT, RUN))
    near = {
        **{"ngrams": ngrams, "bands": bands, "rows": rows, "verify": verify},
        **{"keep": keep, "max_removed_share": max_removed, "quality_sample": quality},
    }
    values = _recipe(sources, fields, max_quarantined, near, compression)
    executor = LentExecutor(lambda: open_executor(workers), workers)
    try:
        outcome = run_recipe(
            given_recipe(values), store.root, workers=workers, until="corpus", progress=progress,
            open_workers=lambda: executor,
        )  # fmt: skip
        files, computed = _write(outcome, dict.fromkeys(sources, fields), store, format, executor)
    except UserError as error:
        raise _of_parameters(error) from None
    finally:
        executor.end()
    return _outcome(outcome, store, files, computed, time.monotonic() - started)


def _check_nothing_in_the_way(store: Store) -> None:
    """Raises: UserError where a file lies that would be replaced, and no earlier call wrote it."""
    for name in () if store.exists(f"{RUN}/{RECORD}") else (EVIDENCE, LEDGER):
        if store.exists(name):
            raise UserError(
                f"another file lies where {name} goes",
                file=store.full(name),
                parameter="output",
                fix="choose another output folder, or move it away",
            )


def _recipe(
    sources: Mapping[str, list[str]],
    fields: Fields,
    max_quarantined: float,
    near: Mapping[str, Any],
    compression: str,
) -> dict[str, Any]:
    """The recipe in memory: every setting that is given, to the stages that have it."""
    given = {name: value for name, value in near.items() if value is not None}
    exact = {name: value for name, value in given.items() if name in ("keep", "max_removed_share")}
    own: dict[str, Any] = {"max_quarantined_share": max_quarantined}
    own |= {} if fields.id_field is None else {"id_field": fields.id_field}
    return {
        "name": RUN,
        "corpus": {
            "sources": [
                {"name": name, "paths": patterns, "text_field": fields.text_field, **own}
                for name, patterns in sources.items()
            ],
            "stages": [{"exact_dedup": exact}, {"minhash_dedup": given}],
            "compression": compression,
        },
    }


def _write(
    outcome: RunOutcome,
    fields: dict[str, Fields],
    store: Store,
    format: str,
    executor: LentExecutor,
) -> tuple[tuple[str, ...], int]:
    """Write kept documents, evidence and ledger; the files of kept documents, and how many units
    were made.
    """
    chunks = tuple(Chunk.from_json(entry) for entry in outcome.record["chunks"])
    files, written = write_kept(
        outcome.store,
        chunks,
        fields,
        store,
        KEPT,
        format,
        lambda: executor,
        companions=(EVIDENCE,),
    )
    if not store.exists(EVIDENCE):
        write_pairs(store, EVIDENCE, removal_pairs(outcome.store, outcome.record, chunks))
    store.write(LEDGER, orjson.dumps(outcome.record["ledgers"], option=orjson.OPT_INDENT_2) + b"\n")
    return tuple(ref.name for ref in files), outcome.computed + int(written)


def _of_parameters(error: UserError) -> UserError:
    """An error about the recipe in memory, said of the parameters it was made from."""
    ours = error.relocated(_parameter_of)
    name = str(error.address[-1]) if error.address else ""
    number = name in FILES.takes and limits(name, FILES) is not None
    return ours.changed(fix=allowed(name, FILES)) if number and ours.fix is None else ours


def _parameter_of(address: Address) -> Address:
    """The parameter behind a field of the recipe; () where none of them decides it."""
    name = str(address[-1]) if address else ""
    if is_parameter(address):
        return (Parameter("output"),) if name == "runs" else address
    known = {*FILES.takes, *_CALLED, "paths", "text_field", "id_field", "compression"}
    if name in known:
        return (Parameter(_CALLED.get(name, name)),)
    return () if address[:2] in (("corpus", "stages"), ("corpus", "sources")) else address


def _outcome(
    outcome: RunOutcome, store: Store, files: tuple[str, ...], computed: int, seconds: float
) -> DedupOutcome:
    removed: dict[str, Count] = {}
    not_read: dict[str, Count] = {}
    kept = Count()
    for ledger in outcome.ledgers:
        total = ledger.total()
        gone = not_read if ledger.step in ("read", "unique") else removed
        for reason, count in [*total.dropped.items(), *total.quarantined.items()]:
            gone.setdefault(reason, Count()).add(count.documents, count.bytes)
        kept = total.kept
    entered = outcome.ledgers[0].total().entered
    facts = {
        name: value
        for name, value in outcome.record["evidence"]["minhash_dedup"].items()
        if name != "file"
    }
    return DedupOutcome(
        store.root, entered, kept, removed, not_read, files, facts, computed, seconds, outcome
    )
