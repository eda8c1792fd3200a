"""Cutting what stood before out of a corpus, as tasks over chunks and over shares of the hashes,
one phase after the other.

    order        one task       the rank of every document in keep order
    hashes       per chunk      hashes of its texts, by share
    twice        per share      which of them occur twice in the corpus, by chunk
    occurrences  per chunk      stretches that may have stood before, by share
    repeats      per share      which of them did, and where first, by chunk
    requests     per chunk      the stretches as spans with their bytes, by the chunk where they are
                                said to stand
    answers      per chunk      of these the ones that do stand there, by the chunk that asked
    cut          per chunk      texts without their spans, the selection, and the spans

Every phase but the last writes parts (:mod:`pipelines.comparisons.exchange`) into the scratch of
the outcome. No task holds more than a chunk of texts, or a share of hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.publish import Publication, published
from dedup.spans.passages import repeated
from dedup.spans.spans import (
    Occurrences,
    Spans,
    agreeing,
    crowded,
    join_runs,
    repeating,
    stretches,
)
from pipelines.comparisons.exchange import (
    Made,
    PartsWriter,
    made_parts,
    number_columns,
    open_parts,
    parts_at,
    read_parts,
    row_batch,
    scratch,
)
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import ChunkTexts
from pipelines.corpus.view import CorpusView
from pipelines.stages.base import SpanStep

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]

LEFT_ALONE = "left_alone"
"""Fact of a chunk: stretches that occur too often in one batch of documents to be looked at."""

_CHUNK_BITS = 32  # a row of a chunk as one number: the chunk's number above its row
_ROW = np.int64((1 << _CHUNK_BITS) - 1)


def _numbers(*names: str, **others: pa.DataType) -> pa.Schema:
    fields = [(name, pa.uint64() if name in ("hash", "key") else pa.int64()) for name in names]
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in [*fields, *others.items()]]
    )


_ORDER = _numbers("rank")
_HASHES = _numbers("hash", "place")
_TWICE = _numbers("place")
_OCCURRENCES = _numbers("key", "row", "start", "end", "rank")
_REPEATS = _numbers("row", "start", "end", "kept_row", "kept_start")
_REQUESTS = _numbers("row", "start", "end", "kept_row", "kept_start", bytes=pa.large_binary())
ANSWERS = _numbers("row", "start", "end", "kept_start", kept_id=pa.binary(16))


@dataclass(frozen=True)
class SpanTask:
    """One task of one phase. ``index``: of the chunk among those concerned, or of the share;
    ``chunk`` is not set for a share.

    ``hash_shares``, ``key_shares``: into how many shares hashes and keys are divided; 0 where a
    phase does not need it.
    """

    root: str
    step: SpanStep
    key: str  # content key of all that decides the outcome
    phase: str
    index: int
    chunks: int
    chunk: Chunk | None = None
    hash_shares: int = 0
    key_shares: int = 0
    corpus: tuple[Chunk, ...] = ()  # all chunks concerned, for the order alone
    sources: tuple[str, ...] = ()

    def place(self, phase: str, index: int) -> str:
        """Where a task of a phase writes its parts: a task need not say of the many that it reads
        where they are.
        """
        return f"{scratch(self.step.name, self.key)}/{phase}-{index}"


def run_phase(task: SpanTask, compute: bool = True) -> Made | None:
    """Find or make the parts that a task writes; None if ``compute`` is off and they have to be
    made.
    """
    store = Store(task.root)
    schema, body = PHASES[task.phase]

    def make(unit: Publication) -> None:
        with open_parts(unit, schema, "zstd") as parts:
            facts = body(store, task, parts)
        unit.facts.update(facts)

    inputs = {"corpus": task.key, "phase": task.phase, "index": task.index}
    return made_parts(store, task.place(task.phase, task.index), inputs, make, compute)


def parts_for(
    store: Store, task: SpanTask, phase: str, index: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """What a task of an earlier phase wrote for this one."""
    written = parts_at(store, task.place(phase, index))
    return (rows for _, rows in read_parts(store, written, [task.index], columns))


def left_alone(store: Store, task: SpanTask) -> int:
    """Stretches of the task's chunk that occur too often to be looked at."""
    hashes = published(store, task.place("hashes", task.index))
    return int(hashes.facts.get(LEFT_ALONE, 0)) if hashes is not None else 0


def batches(store: Store, chunk: Chunk) -> Iterator[tuple[int, pa.RecordBatch, Mask]]:
    """A chunk's documents: number of the batch's first row, the batch, and which of its rows take
    part: those still kept. Conversations do not, as their messages decide.
    """
    kept, start = kept_mask(store, chunk), 0
    for batch in ChunkTexts(store, chunk).batches():
        wanted = kept[start : start + batch.num_rows]
        if "messages" in batch.schema.names:
            wanted = wanted & batch["messages"].is_null().to_numpy(zero_copy_only=False)
        yield start, batch, np.ascontiguousarray(wanted)
        start += batch.num_rows


# -- the phases -----------------------------------------------------------------------------------


def _order(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    view = CorpusView(store, task.corpus, task.sources)
    rank = view.priority(task.step.rule.policy) if len(view) else np.empty(0, np.int64)
    for index, mask in enumerate(view.masks):
        ranks = np.full(len(mask), -1, np.int64)
        ranks[mask] = rank[view.starts[index] : view.starts[index + 1]]
        parts.write(index, row_batch(_ORDER, ranks))
    return {"bytes": int(pc.sum(view.column("size", "bytes")).as_py() or 0) if len(view) else 0}


def _hashes(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    counts: list[int] = []
    place = left_alone = 0
    for _, batch, wanted in batches(store, _chunk(task)):
        found = task.step.rule.hashes(batch["text"], wanted)
        # one stretch over and over: all its places would have to be held at once
        own = np.flatnonzero(~crowded(found))
        parts.deal([found[own], own + place], shares_of(found[own], task.hash_shares))
        place += len(found)
        left_alone += len(found) - len(own)
        counts.append(len(found))
    return {"counts": counts, LEFT_ALONE: left_alone}


def _twice(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    columns, chunks = _of_all_chunks(store, task, "hashes")
    rows = np.flatnonzero(repeated(columns["hash"]))
    parts.deal([columns["place"][rows]], chunks[rows])
    return {"hashes": len(rows)}


def _occurrences(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    hashes = published(store, task.place("hashes", task.index))
    assert hashes is not None
    counts = hashes.facts["counts"]
    flags = np.zeros(sum(counts), np.bool_)
    for share in range(task.hash_shares):
        for rows in parts_for(store, task, "twice", share):
            flags[rows["place"].to_numpy()] = True
    rank = number_columns(parts_for(store, task, "order", 0), _ORDER)["rank"]
    place = 0
    for (start, batch, wanted), count in (
        zip(batches(store, _chunk(task)), counts, strict=True) if flags.any() else ()
    ):
        own = flags[place : place + count]
        place += count
        if own.any():
            found = task.step.rule.occurrences(batch["text"], own, wanted)
            row = found.row + start
            parts.deal(
                [found.key, row, found.start, found.end, rank[row]],
                shares_of(found.key, task.key_shares),
            )
    return {}


def _repeats(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    columns, chunks = _of_all_chunks(store, task, "occurrences")
    rows = (chunks << _CHUNK_BITS) | columns["row"]
    found = Occurrences(columns["key"], rows, columns["start"], columns["end"])
    # few are left: windows of a passage overlap
    spans = join_runs(repeating(found, columns["rank"], task.step.rule.times))
    parts.deal(
        [spans.row & _ROW, spans.start, spans.end, spans.kept_row, spans.kept_start],
        spans.row >> _CHUNK_BITS,
    )
    return {}


def _requests(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    found = (
        rows
        for share in range(task.key_shares)
        for rows in parts_for(store, task, "repeats", share)
    )
    spans = join_runs(Spans(**number_columns(found, _REPEATS)))
    for start, batch, _ in batches(store, _chunk(task)) if len(spans) else ():
        own = spans.take(_within(spans.row, start, batch.num_rows))
        row = own.row - start
        reach = task.step.rule.reach(batch["text"], row, own.end)
        columns = [own.row, own.start, own.end, own.kept_row & _ROW, own.kept_start]
        parts.deal(
            [*columns, stretches(batch["text"], row, own.start, reach)],
            own.kept_row >> _CHUNK_BITS,
        )
    return {}


def _answers(store: Store, task: SpanTask, parts: PartsWriter) -> dict[str, Any]:
    asked = [
        rows["kept_row"].to_numpy()
        for index in range(task.chunks)
        for rows in parts_for(store, task, "requests", index, ["kept_row"])
    ]
    known = np.unique(np.concatenate([np.empty(0, np.int64), *asked]))
    texts, ids = _documents(store, _chunk(task), known)
    for index in range(task.chunks):
        for rows in parts_for(store, task, "requests", index):
            columns = {name: rows[name].to_numpy() for name in _REPEATS.names}
            kept = np.searchsorted(known, columns["kept_row"])
            start, least = columns["start"], columns["end"] - columns["start"]
            equal = agreeing(texts, kept, columns["kept_start"], rows["bytes"], least)
            spans = Spans(columns["row"], start, start + equal, kept, columns["kept_start"])
            spans = join_runs(spans.take(equal > 0))
            kept_ids = ids.take(pa.array(spans.kept_row))
            answers = [spans.row, spans.start, spans.end, spans.kept_start, kept_ids]
            parts.write(index, row_batch(ANSWERS, *answers))
    return {}


# what each phase writes, and how
PHASES: dict[str, tuple[pa.Schema, Callable[[Store, SpanTask, PartsWriter], dict[str, Any]]]] = {
    "order": (_ORDER, _order),
    "hashes": (_HASHES, _hashes),
    "twice": (_TWICE, _twice),
    "occurrences": (_OCCURRENCES, _occurrences),
    "repeats": (_REPEATS, _repeats),
    "requests": (_REQUESTS, _requests),
    "answers": (ANSWERS, _answers),
}


# -- what they share ------------------------------------------------------------------------------


def _chunk(task: SpanTask) -> Chunk:
    assert task.chunk is not None, f"phase {task.phase} is about a chunk"
    return task.chunk


def _of_all_chunks(
    store: Store, task: SpanTask, phase: str
) -> tuple[dict[str, NDArray[Any]], Rows]:
    """What all chunks wrote for a share, as columns, and of each row the chunk."""
    found = [list(parts_for(store, task, phase, index)) for index in range(task.chunks)]
    rows = [sum(batch.num_rows for batch in of_chunk) for of_chunk in found]
    columns = number_columns((batch for of_chunk in found for batch in of_chunk), PHASES[phase][0])
    return columns, np.repeat(np.arange(task.chunks), rows)


def shares_of(hashes: NDArray[np.uint64], shares: int) -> Rows:
    """Which share each hash belongs to, (n,). By the low half: anchors are least hashes, so their
    high bits are mostly zero.
    """
    low = (hashes & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return (low * shares) >> 32


def _within(rows: Rows, start: int, count: int) -> NDArray[np.int64]:
    """Numbers of the ascending rows that lie in a batch."""
    first, last = np.searchsorted(rows, [start, start + count])
    return np.arange(first, last)


def _documents(
    store: Store, chunk: Chunk, rows: Rows
) -> tuple[pa.LargeStringArray, pa.FixedSizeBinaryArray]:
    """Texts and ids of the given rows, ascending."""
    texts, ids = [pa.array([], pa.large_string())], [pa.array([], pa.binary(16))]
    for start, batch, _ in batches(store, chunk) if len(rows) else ():
        inside = pa.array(rows[_within(rows, start, batch.num_rows)] - start)
        texts.append(batch["text"].take(inside))
        ids.append(batch["id"].take(inside))
    return pa.concat_arrays(texts), pa.concat_arrays(ids)
