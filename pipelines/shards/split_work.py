"""Which band each kept document of a source belongs to: the number it goes by, found before a run
begins, and the table that says so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.fingerprints import content_key, libraries
from artifacts.ids import as_words, binary16
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made
from artifacts.schemas import signals
from artifacts.tables import read_parquet, write_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.view import CorpusView
from pipelines.shards.split import assign
from pipelines.stages.base import Step

CLUSTER_SIZE = "cluster_size"
BANDS_VERSION = 2
TABLE = "bands.parquet"
BANDS = signals([pa.field("value", pa.float64()), pa.field("band", pa.string(), nullable=False)])
ROWS = 1 << 20  # of a row group


@dataclass(frozen=True)
class NumberOf:
    """The number documents are cut by: a column of a measure, or for ``measure`` None how many
    documents each stands for.
    """

    measure: str | None
    column: str


def number_of(steps: Sequence[Step], source: str, by: str) -> NumberOf:
    """What ``by`` names for the documents of a source: COLUMN (of the first measure that makes it),
    STEP.COLUMN, or ``cluster_size``.

    Raises: UserError with the columns there are and the nearest.
    """
    steps = [step for step in steps if step.concerns(source)]
    compared = any(step.finds_copies for step in steps)
    if by == CLUSTER_SIZE and compared:
        return NumberOf(None, CLUSTER_SIZE)
    numbers: dict[str, NumberOf] = {}
    others: dict[str, str] = {}
    for step in steps:
        for field in step.signals():
            numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            for name in (field.name, f"{step.name}.{field.name}"):
                if numeric:
                    numbers.setdefault(name, NumberOf(step.name, field.name))
                else:
                    others.setdefault(name, str(field.type))
    if by in numbers:
        return numbers[by]
    allowed = sorted(
        ({CLUSTER_SIZE} if compared else set())
        | {name for name in numbers if ("." in name) == ("." in by)}
    )
    message, fix = (
        "no column of this name is measured for the source",
        "use one of these columns, or add the stage that measures it",
    )
    if by == CLUSTER_SIZE:
        message, fix = (
            "no stage compares the documents of this source",
            "add exact_dedup or minhash_dedup, or cut by another column",
        )
    elif by in others:
        message, fix = (
            f"documents are cut by a number, and this column is {others[by]}",
            "use one of these columns",
        )
    raise UserError(message, found=by, allowed=allowed, fix=fix)


@dataclass(frozen=True)
class BandTask:
    """Cut one source. ``chunks``: its chunks; ``bands``: (name, condition) in order; ``evidence``:
    of all comparisons, in order.
    """

    root: str
    source: str
    chunks: tuple[Chunk, ...]
    selection: FileRef
    by: NumberOf
    bands: tuple[tuple[str, str], ...]
    evidence: tuple[FileRef, ...]


@dataclass(frozen=True)
class SourceBands:
    """The cut: the table of ids and bands, and for each band its documents, text bytes and a digest
    of its ids.
    """

    source: str
    table: FileRef
    facts: dict[str, Any]
    computed: bool
    seconds: float
    units: tuple[str, ...]


def cut_source(task: BandTask, compute: bool = True) -> SourceBands | None:
    """Give every kept document of a source one band.

    Raises: UserError when documents without a number have no band to go to.
    """
    started = time.monotonic()
    store = Store(task.root)
    counted = task.by.measure is None
    inputs = {
        "work": "bands",
        "version": BANDS_VERSION,
        "libraries": libraries("pyarrow"),
        "source": task.source,
        "selection": task.selection.checksum,
        "by": [task.by.measure, task.by.column],
        "bands": [list(pair) for pair in task.bands],
        "chunks": [_chunk_inputs(chunk, task.by.measure) for chunk in task.chunks],
        "evidence": [ref.checksum for ref in task.evidence] if counted else [],
    }

    def make(unit: Publication) -> None:
        view = CorpusView(store, task.chunks, (task.source,))
        ids = view.ids if len(view) else binary16(b"")
        values = _values(store, task, view, ids) if len(view) else np.empty(0)
        band = assign(values, ids, [condition for _, condition in task.bands])
        _check_all_have_one(task, band)
        words = as_words(ids)
        order = np.lexsort((words[:, 1], words[:, 0]))
        names = pa.array([name for name, _ in task.bands])
        hashes = view.text_hashes if len(view) else ids
        numbers = pa.array(values[order], mask=np.isnan(values[order]))
        columns = [
            ids.take(pa.array(order)),
            hashes.take(pa.array(order)),
            numbers,
            names.take(pa.array(band[order])),
        ]
        table = pa.table(columns, schema=BANDS)
        write_parquet(
            unit, TABLE, BANDS, [table.slice(start, ROWS) for start in range(0, len(table), ROWS)]
        )
        unit.facts.update(_facts(task, values), bands=_bands(task, view, table, band))

    made = found_or_made(store, f"selection/bands/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    return SourceBands(
        task.source,
        made[0].file(TABLE),
        made[0].facts,
        made[1],
        time.monotonic() - started,
        (made[0].prefix,),
    )


def _chunk_inputs(chunk: Chunk, measure: str | None) -> list[str | None]:
    """Checksums that fix ids, selection and numbers of a chunk's rows."""
    refs = [chunk.selection, chunk.signals["size"], chunk.signals.get(measure) if measure else None]
    return [None if ref is None else ref.checksum for ref in refs]


def empty_bands(cut: SourceBands) -> list[str]:
    """A sentence for every band without documents, with the numbers that there are."""
    facts = cut.facts
    span = (
        "no document has one"
        if facts["least"] is None
        else f"it goes from {facts['least']:.6g} to {facts['most']:.6g}"
    )
    return [
        f"{cut.source}/{name} ({band['condition']}) has no documents, so it has no shards: "
        f"{facts['by']}: {span}"
        for name, band in facts["bands"].items()
        if not band["documents"]
    ]


def ids_of_band(store: Store, table: FileRef, band: str) -> NDArray[np.uint64]:
    """Ids of a band's documents as words (d, 2), ascending."""
    rows = read_parquet(store, table.name, "signals", ["id", "band"])
    return as_words(_one(rows.filter(pc.equal(rows["band"], band))["id"]))


def among(ids: pa.FixedSizeBinaryArray, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of these ids (n,) are among ids given as words (d, 2), ascending; (n,) bool."""
    own = as_words(ids)
    found = np.zeros(len(own), np.bool_)
    place = np.searchsorted(words[:, 0], own[:, 0])
    # whose first word may still stand at their place: ids that share it follow one another
    open_rows = np.arange(len(own))
    while len(open_rows):
        open_rows = open_rows[place[open_rows] < len(words)]
        open_rows = open_rows[words[place[open_rows], 0] == own[open_rows, 0]]
        found[open_rows] |= words[place[open_rows], 1] == own[open_rows, 1]
        place[open_rows] += 1
    return found


def _one(column: pa.ChunkedArray) -> pa.FixedSizeBinaryArray:
    return pa.concat_arrays(column.chunks) if column.num_chunks else binary16(b"")


def _raw(ids: pa.FixedSizeBinaryArray) -> NDArray[np.bytes_]:
    """Ids as fixed strings of bytes, which numpy orders as memory; a view."""
    return (
        np.frombuffer(ids.buffers()[1], "S16", len(ids), ids.offset * 16)
        if len(ids)
        else np.empty(0, "S16")
    )


def _values(
    store: Store, task: BandTask, view: CorpusView, ids: pa.FixedSizeBinaryArray
) -> NDArray[np.float64]:
    """The number of each row of the view, NaN where it has none."""
    if task.by.measure is None:
        return _stands_for(store, task.evidence, ids)
    column = view.column(task.by.measure, task.by.column).cast(pa.float64(), safe=False)
    values: NDArray[np.float64] = pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False)
    return values


def _stands_for(
    store: Store, evidence: Sequence[FileRef], ids: pa.FixedSizeBinaryArray
) -> NDArray[np.float64]:
    """How many documents each stands for, itself included: what every comparison removed in its
    favour, and what those stood for.
    """
    tables = [read_parquet(store, ref.name, "evidence", ["id", "kept_id"]) for ref in evidence]
    pairs = [
        (_raw(_one(table["id"])), _raw(_one(table["kept_id"]))) for table in tables if len(table)
    ]
    if not pairs:
        return np.ones(len(ids))
    known = np.unique(np.concatenate([side for pair in pairs for side in pair]))
    size = np.ones(len(known), np.int64)
    # in the order of the comparisons: who is kept in one may be removed in the next
    for removed, kept in pairs:
        np.add.at(size, np.searchsorted(known, kept), size[np.searchsorted(known, removed)])
    place = np.minimum(np.searchsorted(known, _raw(ids)), len(known) - 1)
    return np.where(known[place] == _raw(ids), size[place], 1).astype(np.float64)


def _check_all_have_one(task: BandTask, band: NDArray[np.int64]) -> None:
    without = int((band < 0).sum())
    if without:
        raise UserError(
            f"{without:,} of {len(band):,} documents have no {task.by.column}, and no band takes "
            "them",
            field=("shards", "split", task.source, "bands"),
            found=", ".join(f"{name}: {condition}" for name, condition in task.bands),
            fix="add a band for them: unknown: rest",
        )


def _facts(task: BandTask, values: NDArray[np.float64]) -> dict[str, Any]:
    """What the source's numbers are like; infinite ones are no extremes, as JSON has no word for
    them.
    """
    finite = values[np.isfinite(values)]
    extremes = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
    return {
        "by": task.by.column,
        "without": int(np.isnan(values).sum()),
        "least": extremes[0],
        "most": extremes[1],
    }


def _bands(
    task: BandTask, view: CorpusView, table: pa.Table, band: NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Per band its condition, documents, text bytes, and xxh3_128 of its ids in order."""
    sizes = (
        view.column("size", "bytes").to_numpy(zero_copy_only=False)
        if len(view)
        else np.empty(0, np.int64)
    )
    found = {}
    for number, (name, condition) in enumerate(task.bands):
        ids = _one(table.filter(pc.equal(table["band"], name))["id"])
        inside = band == number
        found[name] = {
            "condition": condition,
            "documents": int(inside.sum()),
            "bytes": int(sizes[inside].sum()),
            "digest": xxhash.xxh3_128_hexdigest(_raw(ids).tobytes()),
        }
    return found
