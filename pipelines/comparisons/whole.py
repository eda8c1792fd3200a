"""Work over all chunks at once: equal keys, comparisons, indexes, and the final selection.

Each function finds its unit under its content key or makes it; with ``compute=False`` it only
looks and returns None where something has to be made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.fingerprints import content_key
from artifacts.ids import as_words
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import MANIFEST, FileRef, Publication, found_or_made, publish, published
from artifacts.schemas import EVIDENCE, QUARANTINE, SELECTION, tagged
from artifacts.tables import iter_parquet, read_parquet, write_parquet
from pipelines.comparisons.between_sources import cross_source
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import selection_after
from pipelines.corpus.view import CorpusView
from pipelines.stages.base import (
    CompareStep,
    CompareWhole,
    CorpusVerdict,
    PrepareStep,
    applies,
    fingerprint,
)

VERSION = 3  # of find_duplicates, final_selection and collect_quarantine
# ids sorted at once when looking for equal keys; more go in ranges of their first byte
IDS_AT_A_TIME = 64_000_000

_DUPLICATES = tagged(
    "signals",
    [pa.field("chunk", pa.int64(), nullable=False), pa.field("row", pa.int64(), nullable=False)],
)


@dataclass(frozen=True)
class CorpusTask:
    """Work over all chunks; ``sources`` are all sources of the recipe, in its order."""

    root: str
    chunks: tuple[Chunk, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class CompareTask(CorpusTask):
    step: CompareStep


@dataclass(frozen=True)
class PrepareTask:
    root: str
    step: PrepareStep


@dataclass(frozen=True)
class CorpusOutcome:
    """What a step over the corpus did: the chunks moved on, ledger entries by source, files,
    facts.
    """

    chunks: tuple[Chunk, ...]
    entries: dict[str, Entry]
    files: tuple[FileRef, ...]
    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...]


@dataclass(frozen=True)
class DuplicateRows:
    """Rows to take out of each chunk: chunk number -> row numbers."""

    rows: dict[int, tuple[int, ...]]
    computed: bool
    units: tuple[str, ...]


@dataclass(frozen=True)
class PreparedTable:
    """The table a PrepareStep made."""

    ref: FileRef
    computed: bool
    units: tuple[str, ...]


# -- equal keys ---------------------------------------------------------------------------------


def find_duplicates(task: CorpusTask, compute: bool = True) -> DuplicateRows | None:
    """Rows whose id an earlier row (by source, path, offset) has already."""
    store = Store(task.root)
    inputs = {
        "work": "find_duplicates",
        "version": VERSION,
        "documents": [_documents(chunk).checksum for chunk in task.chunks],
    }

    def make(unit: Publication) -> None:
        chunk, row = _duplicate_rows(store, task.chunks)
        write_parquet(
            unit, "duplicates.parquet", _DUPLICATES, [pa.table({"chunk": chunk, "row": row})]
        )

    made = found_or_made(store, f"selection/unique/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    table = read_parquet(store, made[0].file("duplicates.parquet").name, "signals")
    rows: dict[int, list[int]] = {}
    for number, row in zip(table["chunk"].to_pylist(), table["row"].to_pylist(), strict=True):
        rows.setdefault(number, []).append(row)
    return DuplicateRows(
        {number: tuple(sorted(found)) for number, found in rows.items()}, made[1], (made[0].prefix,)
    )


def _duplicate_rows(
    store: Store, chunks: Sequence[Chunk]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equal ids are found by sorting; chunks are in (source, path, offset) order, so the first
    stays.
    """
    total = sum(_documents(chunk).rows for chunk in chunks)
    ranges = 1
    while total / ranges > IDS_AT_A_TIME and ranges < 256:
        ranges *= 2
    found = [np.empty((0, 2), np.int64)]
    for number in range(ranges):
        words, places = [], []
        for chunk in chunks:
            ids = as_words(
                read_parquet(store, _documents(chunk).name, "documents", ["id"])[
                    "id"
                ].combine_chunks()
            )
            inside = _in_range(ids, number, ranges)
            words.append(ids[inside])
            places.append(np.stack([np.full(len(inside), chunk.number), inside], axis=1))
        found.append(_repeats(np.concatenate(words), np.concatenate(places)))
    rows = np.concatenate(found)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return rows[:, 0], rows[:, 1]


def _in_range(ids: NDArray[np.uint64], number: int, ranges: int) -> NDArray[np.int64]:
    first_byte = (ids[:, 0] >> np.uint64(56)).astype(np.int64)
    return np.flatnonzero(first_byte * ranges // 256 == number)


def _repeats(words: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.lexsort((places[:, 1], places[:, 0], words[:, 1], words[:, 0]))
    ordered = words[order]
    repeated = np.zeros(len(order), np.bool_)
    repeated[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return places[order[repeated]]


# -- comparisons --------------------------------------------------------------------------------


def comparison_inputs(task: CompareTask) -> dict[str, Any]:
    """What the outcome of a comparison follows from: the rule, and texts, signals and selections of
    the documents concerned.
    """
    return {
        **fingerprint(task.step.rule),
        "sources": [source for source in task.sources if applies(task.step, source)],
        "chunks": [
            {
                "text": chunk.text_version(),
                "selection": chunk.selection.checksum if chunk.selection else None,
                "signals": {
                    name: chunk.signals[name].checksum
                    for name in ("size", *task.step.rule.needs)
                    if name in chunk.signals
                },
            }
            for chunk in task.chunks
            if applies(task.step, chunk.source)
        ],
    }


def compare_corpus(task: CompareTask, compute: bool = True) -> CorpusOutcome | None:
    """Carry out a comparison in one task: evidence first, then the new selection of every chunk
    concerned.
    """
    store = Store(task.root)
    concerned = [chunk for chunk in task.chunks if applies(task.step, chunk.source)]
    inputs = comparison_inputs(task)
    key = content_key(inputs)

    def make(unit: Publication) -> None:
        view = CorpusView(store, concerned, tuple(inputs["sources"]))
        verdict = cast(CompareWhole, task.step.rule).compare(view)
        with publish(store, f"evidence/{task.step.name}/{key}", inputs) as evidence:
            write_parquet(evidence, "evidence.parquet", EVIDENCE, [_evidence(view, verdict)])
        entries = _write_selections(unit, task.step, view, verdict)
        unit.facts.update(
            entries={source: entry.to_json() for source, entry in entries.items()}, **verdict.facts
        )
        unit.facts.update(cross_source(view, verdict))

    if compute and published(store, f"evidence/{task.step.name}/{key}") is None:
        # a selection without its evidence is made again
        store.delete(f"selection/{task.step.name}/{key}/{MANIFEST}")
    made = found_or_made(store, f"selection/{task.step.name}/{key}", inputs, make, compute)
    evidence = published(store, f"evidence/{task.step.name}/{key}")
    if made is None or evidence is None:
        return None
    manifest, computed = made
    selections = {chunk.number: ref for chunk, ref in zip(concerned, manifest.files, strict=True)}
    entries = {
        source: Entry.from_json(value) for source, value in manifest.facts["entries"].items()
    }
    moved = tuple(
        replace(chunk, selection=selections.get(chunk.number, chunk.selection))
        for chunk in task.chunks
    )
    facts = {name: value for name, value in manifest.facts.items() if name != "entries"}
    return CorpusOutcome(
        moved,
        entries,
        (evidence.file("evidence.parquet"),),
        facts,
        computed,
        (manifest.prefix, evidence.prefix),
    )


def _write_selections(
    unit: Publication, step: CompareStep, view: CorpusView, verdict: CorpusVerdict
) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for index, (chunk, mask) in enumerate(zip(view.chunks, view.masks, strict=True)):
        size = read_parquet(view.store, chunk.signals["size"].name, "signals")
        previous = (
            None
            if chunk.selection is None
            else read_parquet(view.store, chunk.selection.name, "selection")
        )
        drop = np.zeros(len(mask), np.bool_)
        drop[np.flatnonzero(mask)] = ~verdict.kept[view.starts[index] : view.starts[index + 1]]
        reason = pa.repeat(pa.scalar(verdict.reason), len(mask))
        write_parquet(
            unit,
            f"chunk-{index:06d}.parquet",
            SELECTION,
            [selection_after(size, previous, step.name, drop, reason)],
        )
        sizes = size["bytes"].to_numpy()
        entry = entries.setdefault(chunk.source, Entry())
        entry.entered.add(int(mask.sum()), int(sizes[mask].sum()))
        entry.kept.add(int((mask & ~drop).sum()), int(sizes[mask & ~drop].sum()))
        if drop.any():
            entry.drop(verdict.reason, int(drop.sum()), int(sizes[drop].sum()))
    return entries


def _evidence(view: CorpusView, verdict: CorpusVerdict) -> pa.Table:
    """The evidence table, sorted by the removed document's id."""
    ids = view.ids.take(pa.array(verdict.document))
    words = as_words(ids)
    order = pa.array(np.lexsort((words[:, 1], words[:, 0])))
    kept = view.ids.take(pa.array(verdict.kept_row))
    cluster = view.ids.take(pa.array(verdict.cluster_row))
    columns = [
        ids,
        kept,
        pa.array(verdict.similarity),
        pa.array(verdict.bands_hit),
        cluster,
        pa.array(verdict.cluster_size),
    ]
    return pa.table([column.take(order) for column in columns], schema=EVIDENCE)


# -- indexes ------------------------------------------------------------------------------------


def prepare(task: PrepareTask, compute: bool = True) -> PreparedTable | None:
    """The table a measure needs, e.g. the n-grams of benchmark items."""
    store = Store(task.root)
    inputs = fingerprint(task.step.rule)

    def make(unit: Publication) -> None:
        table = task.step.rule.prepare()
        write_parquet(unit, "table.parquet", table.schema, [table])

    made = found_or_made(
        store, f"signals/{task.step.name}/{content_key(inputs)}", inputs, make, compute
    )
    return (
        None
        if made is None
        else PreparedTable(made[0].file("table.parquet"), made[1], (made[0].prefix,))
    )


# -- what a run leaves for its users ------------------------------------------------------------


def final_selection(task: CorpusTask, compute: bool = True) -> CorpusOutcome | None:
    """One selection table per source, sorted by id: it does not depend on files or chunks."""
    store = Store(task.root)
    inputs = {
        "work": "final_selection",
        "version": VERSION,
        "chunks": [
            [
                chunk.source,
                _documents(chunk).checksum,
                chunk.selection.checksum if chunk.selection else None,
                chunk.signals["size"].checksum,
            ]
            for chunk in task.chunks
        ],
    }

    def make(unit: Publication) -> None:
        for source in sorted({chunk.source for chunk in task.chunks}):
            tables = [
                _chunk_selection(store, chunk) for chunk in task.chunks if chunk.source == source
            ]
            table = pa.concat_tables(tables).combine_chunks()
            words = as_words(
                table["id"].combine_chunks()
                if table["id"].num_chunks != 1
                else table["id"].chunk(0)
            )
            table = table.take(pa.array(np.lexsort((words[:, 1], words[:, 0]))))
            write_parquet(
                unit,
                f"{source}.parquet",
                SELECTION,
                [table.slice(start, 1 << 20) for start in range(0, len(table), 1 << 20)],
            )
            unit.facts[source] = {
                "documents": len(table),
                "kept": int(table["kept"].to_numpy().sum()),
            }

    made = found_or_made(store, f"selection/final/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    return CorpusOutcome(task.chunks, {}, made[0].files, made[0].facts, made[1], (made[0].prefix,))


def collect_quarantine(task: CorpusTask, compute: bool = True) -> CorpusOutcome | None:
    """One quarantine table per source, in (path, offset) order."""
    store = Store(task.root)
    inputs = {
        "work": "collect_quarantine",
        "version": VERSION,
        "chunks": [
            [chunk.source, chunk.quarantine.checksum] for chunk in task.chunks if chunk.quarantine
        ],
    }

    def make(unit: Publication) -> None:
        for source in sorted({chunk.source for chunk in task.chunks}):
            # in (path, offset) order
            refs = [
                chunk.quarantine
                for chunk in task.chunks
                if chunk.source == source and chunk.quarantine
            ]
            parts = (batch for ref in refs for batch in iter_parquet(store, ref.name, "quarantine"))
            write_parquet(unit, f"{source}.parquet", QUARANTINE, parts)

    made = found_or_made(store, f"quarantine/all/{content_key(inputs)}", inputs, make, compute)
    return (
        None
        if made is None
        else CorpusOutcome(task.chunks, {}, made[0].files, {}, made[1], (made[0].prefix,))
    )


def _chunk_selection(store: Store, chunk: Chunk) -> pa.Table:
    size = read_parquet(store, chunk.signals["size"].name, "signals")
    # its hashes are of the text that was chosen from; a rewrite may have followed
    if chunk.selection is not None:
        table = read_parquet(store, chunk.selection.name, "selection")
        return table.set_column(1, SELECTION.field("text_hash"), size["text_hash"])
    return selection_after(
        size, None, "", np.zeros(len(size), np.bool_), pa.scalar(None, pa.string())
    )


def _documents(chunk: Chunk) -> FileRef:
    assert chunk.documents is not None, f"chunk {chunk.number} was not read"
    return chunk.documents
