"""The verdict on a shard with a very large cluster, in rounds: see :mod:`dedup.near.rounds`.

order     documents in keep order, their groups and sets, written once
match     a block compared with what is kept so far            tasks side by side
settle    the block compared within itself, and decided        one task
conclude  removals of all blocks, as ``verify`` writes them
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made
from artifacts.schemas import ID
from artifacts.tables import damaged_table, open_batches, sound
from dedup.near.lsh import Groups
from dedup.near.rounds import Bounds, Cluster, Matches, matches_before, settle_block
from dedup.near.verify import CONTAINMENT
from pipelines.comparisons.exchange import (
    Made,
    Parts,
    by_number,
    keyed,
    made_parts,
    number_columns,
    read_parts,
    row_batch,
    write_parts,
)
from pipelines.comparisons.near.shard import REMOVALS, read_shard
from pipelines.comparisons.near.verify import VerifyTask

VERSION = 1

_DOCUMENTS = pa.schema(
    [
        pa.field("chunk", pa.int64(), nullable=False),
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("id", ID, nullable=False),
        pa.field("cluster", ID, nullable=False),
        pa.field("cluster_size", pa.int64(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)
_GROUPS = pa.schema(
    [
        pa.field(
            "members", pa.large_list(pa.field("item", pa.int64(), nullable=False)), nullable=False
        )
    ]
)
_MATCHES = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("earlier", pa.int64()),
        pa.field("similarity", pa.float64()),
    ]
)
_SETTLED = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("kept_row", pa.int64()),
        pa.field("similarity", pa.float32()),
        pa.field("bands_hit", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Ordered:
    """A shard in keep order: n ``documents`` (with where each one's set lies), ``groups`` of their
    places, ``sets`` as plain numbers.
    """

    documents: FileRef
    groups: FileRef
    sets: FileRef
    computed: bool
    units: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.documents.rows


@dataclass(frozen=True)
class RoundTask:
    """Places (from, to) of an ordered shard. ``settled``: of the blocks before; ``matches``: of
    this block, where they are needed.
    """

    verdict: VerifyTask
    ordered: Ordered
    decided: int
    rows: tuple[int, int]
    settled: tuple[Parts, ...]
    matches: tuple[Parts, ...] = ()

    def inputs(self) -> dict[str, Any]:
        checksums = [
            self.ordered.documents.checksum,
            self.ordered.groups.checksum,
            self.ordered.sets.checksum,
        ]
        earlier = [
            [parts.ref.checksum for parts in found] for found in (self.settled, self.matches)
        ]
        return {
            **self.verdict.inputs(),
            "ordered": checksums,
            "decided": self.decided,
            "rows": list(self.rows),
            "earlier": earlier,
        }


def order(task: VerifyTask, compute: bool = True) -> Ordered | None:
    """Write a shard in keep order."""
    store = Store(task.root)
    inputs = {"work": "order", "version": VERSION, **task.inputs()}

    def make(unit: Publication) -> None:
        shard = read_shard(store, task.shard, task.files)
        ranks = shard.ranks(task.policy)
        places = np.argsort(ranks)
        lengths = np.concatenate([np.diff(piece.offsets.to_numpy()) for piece in shard.sets])
        ends = np.cumsum(lengths)
        names, sizes = shard.clusters
        columns = [
            shard.chunk,
            shard.table["row"].combine_chunks(),
            shard.ids,
            shard.ids.take(pa.array(names)),
            sizes,
            ends - lengths,
            ends,
        ]
        table = pa.RecordBatch.from_arrays(
            [pa.array(column) for column in columns], schema=_DOCUMENTS
        ).take(pa.array(places))
        _write(unit, "documents.arrow", table)
        _write(unit, "groups.arrow", _ordered_groups(shard.groups, ranks))
        with unit.file("sets.bin") as out:
            for piece in shard.sets:
                out.raw.write(piece.flatten().to_numpy())

    made = found_or_made(store, keyed(f"{task.step}-ordered", inputs), inputs, make, compute)
    if made is None:
        return None
    files = [made[0].file(name) for name in ("documents.arrow", "groups.arrow", "sets.bin")]
    return Ordered(files[0], files[1], files[2], made[1])


def match(task: RoundTask, compute: bool = True) -> Made | None:
    """Part 0: pairs of a place of these rows and an earlier one that is kept, as similar as the
    threshold asks.
    """
    store = Store(task.verdict.root)

    def make(unit: Publication) -> None:
        with _cluster(store, task) as (cluster, kept, bounds):
            found = matches_before(cluster, kept, task.decided, task.rows, bounds)
        write_parts(
            unit, _MATCHES, [(0, row_batch(_MATCHES, found.row, found.earlier, found.similarity))]
        )

    inputs = {"work": "match", "version": VERSION, **task.inputs()}
    return made_parts(store, keyed(f"{task.verdict.step}-matches", inputs), inputs, make, compute)


def settle(task: RoundTask, compute: bool = True) -> Made | None:
    """Part 0: who goes of this block."""
    store = Store(task.verdict.root)

    def make(unit: Publication) -> None:
        matches = Matches(*_columns(store, task.matches, _MATCHES))
        with _cluster(store, task) as (cluster, kept, bounds):
            found = settle_block(cluster, kept, task.decided, task.rows, matches, bounds)
        unit.facts.update(
            comparisons=found.compared,
            comparisons_skipped=found.skipped,
            documents_bounded=found.bounded,
        )
        columns = (found.row, found.kept_row, found.similarity, found.bands_hit)
        write_parts(unit, _SETTLED, [(0, row_batch(_SETTLED, *columns))])

    inputs = {"work": "settle", "version": VERSION, **task.inputs()}
    return made_parts(store, keyed(f"{task.verdict.step}-settled", inputs), inputs, make, compute)


def conclude(task: tuple[RoundTask, dict[str, int]], compute: bool = True) -> Made | None:
    """Parts by chunk: the rows that go, each with its evidence. The counts of all rounds become
    those of the shard.
    """
    whole, counts = task
    store = Store(whole.verdict.root)

    def make(unit: Publication) -> None:
        row, kept_row, similarity, bands_hit = _columns(store, whole.settled, _SETTLED)
        documents = _only_batch(store, whole.ordered.documents)
        gone = documents.take(pa.array(row))
        kept = documents.take(pa.array(kept_row))
        columns = [
            gone["row"],
            gone["id"],
            kept["id"],
            kept["chunk"],
            pa.array(similarity),
            pa.array(bands_hit),
            gone["cluster"],
            gone["cluster_size"],
        ]
        unit.facts.update(counts)
        write_parts(
            unit,
            REMOVALS,
            by_number(
                pa.RecordBatch.from_arrays(columns, schema=REMOVALS), gone["chunk"].to_numpy()
            ),
        )

    inputs = {"work": "conclude", "version": VERSION, **whole.inputs()}
    return made_parts(store, keyed(f"{whole.verdict.step}-removals", inputs), inputs, make, compute)


def _ordered_groups(groups: Groups, ranks: NDArray[np.int64]) -> pa.RecordBatch:
    """Groups of places in keep order, ascending in each group."""
    members = ranks[groups.members]
    group = np.repeat(np.arange(len(groups)), np.diff(groups.offsets))
    members = members[np.lexsort((members, group))]
    return row_batch(
        _GROUPS,
        pa.LargeListArray.from_arrays(pa.array(groups.offsets), pa.array(members)).cast(
            _GROUPS.field(0).type
        ),
    )


@contextlib.contextmanager
def _cluster(store: Store, task: RoundTask) -> Iterator[tuple[Cluster, NDArray[np.bool_], Bounds]]:
    """The shard, who is kept of the places that are decided, and how documents are compared."""
    ordered, verdict = task.ordered, task.verdict
    kept = np.ones(len(ordered), np.bool_)
    kept[_columns(store, task.settled, _SETTLED)[0]] = False
    bounds = Bounds(verdict.threshold, verdict.max_comparisons, verdict.similarity == CONTAINMENT)
    with _numbers(store, ordered.sets) as hashes:
        documents = _only_batch(store, ordered.documents)
        members = _only_batch(store, ordered.groups)["members"]
        groups = Groups(members.offsets.to_numpy(), members.values.to_numpy())
        start, end = documents["start"].to_numpy(), documents["end"].to_numpy()
        # kernels follow these numbers without looking back
        if (start < 0).any() or (end < start).any() or (end > len(hashes)).any():
            raise damaged_table(store, ordered.documents.name, "places outside the sets")
        if (groups.members < 0).any() or (groups.members >= len(ordered)).any():
            raise damaged_table(store, ordered.groups.name, "members outside the documents")
        yield Cluster(groups, start, end, hashes), kept, bounds


def _only_batch(store: Store, ref: FileRef) -> pa.RecordBatch:
    """What :func:`_write` wrote."""
    with open_batches(store, ref.name) as source:
        return source.batch(0)


@contextlib.contextmanager
def _numbers(store: Store, ref: FileRef) -> Iterator[NDArray[np.uint64]]:
    """A file of plain numbers, mapped; one on an object store comes to a scratch file first."""
    if store.local:
        with sound(store, ref.name):
            numbers = np.memmap(store.full(ref.name), np.uint64, mode="r")
        yield numbers
        return
    with tempfile.NamedTemporaryFile() as scratch, store.open(ref.name) as file:
        while block := file.read(1 << 24):
            scratch.write(block)
        scratch.flush()
        yield np.memmap(scratch.name, np.uint64, mode="r")


def _columns(store: Store, parts: Sequence[Parts], schema: pa.Schema) -> list[NDArray[Any]]:
    """Columns of several files, concatenated."""
    rows = (batch for found in parts for _, batch in read_parts(store, found))
    return list(number_columns(rows, schema).values())


def _write(unit: Publication, name: str, batch: pa.RecordBatch) -> None:
    with (
        unit.file(name, batch.num_rows) as out,
        pa.ipc.new_file(pa.PythonFile(out.raw, mode="w"), batch.schema) as writer,
    ):
        writer.write_batch(batch)
