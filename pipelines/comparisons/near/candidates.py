"""From band keys to candidates: scatter, group, cluster. No text is read here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication
from artifacts.tables import read_parquet
from dedup.near.lsh import flatten, unite
from dedup.near.partitions import NO_SHARD, deal_clusters, partitions
from dedup.runs import equal_runs
from pipelines.comparisons.exchange import (
    Made,
    Parts,
    keyed,
    made_parts,
    read_parts,
    row_batch,
    write_parts,
)
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask

VERSION = 1  # of scatter, group and cluster

_KEYS = pa.schema(
    [pa.field("key", pa.uint64(), nullable=False), pa.field("row", pa.uint32(), nullable=False)]
)
_GROUPS = pa.schema(
    [
        pa.field(
            "members", pa.large_list(pa.field("item", pa.int64(), nullable=False)), nullable=False
        )
    ]
)
_CANDIDATES = pa.schema(
    [pa.field("row", pa.uint32(), nullable=False), pa.field("shard", pa.int32(), nullable=False)]
)


@dataclass(frozen=True)
class ScatterTask:
    """Band keys of a chunk's documents, those still kept, by band and prefix. ``measure`` made the
    keys.
    """

    root: str
    step: str
    chunk: Chunk
    measure: str
    prefixes: int


@dataclass(frozen=True)
class GroupTask:
    """Rows that share a key, of a few partitions. ``files``: the keys of every chunk with the
    chunk's first row.
    """

    root: str
    step: str
    partitions: tuple[int, ...]
    files: tuple[tuple[Parts, int], ...]


@dataclass(frozen=True)
class ClusterTask:
    """Candidates and the shard of each. ``chunks``: number, first row and size signals of every
    chunk; ``rows`` in all.

    A cluster of more than ``large`` documents is said to be large, and so is its shard.
    """

    root: str
    step: str
    rows: int
    shard_bytes: int
    large: int
    chunks: tuple[tuple[int, int, FileRef], ...]
    groups: tuple[Parts, ...]


def scatter(task: ScatterTask, compute: bool = True) -> Made | None:
    """Parts by partition: key and row in the chunk."""
    keys_ref = task.chunk.signals[task.measure]
    inputs = {
        "work": "scatter",
        "version": VERSION,
        "prefixes": task.prefixes,
        "keys": keys_ref.checksum,
        "selection": task.chunk.selection_version(),
    }

    def make(unit: Publication) -> None:
        column = read_parquet(store, keys_ref.name, "signals", ["bands"])["bands"].combine_chunks()
        wanted = column.is_valid().to_numpy(zero_copy_only=False)
        wanted &= kept_mask(store, task.chunk)
        rows = np.flatnonzero(wanted).astype(np.uint32)
        keys = (
            column.filter(pa.array(wanted))
            .flatten()
            .to_numpy()
            .reshape(len(rows), column.type.list_size)
        )
        write_parts(
            unit,
            _KEYS,
            (
                (number, row_batch(_KEYS, *pair))
                for number, *pair in partitions(keys, rows, task.prefixes)
            ),
        )

    store = Store(task.root)
    return made_parts(store, keyed(f"{task.step}-keys", inputs), inputs, make, compute)


def group(task: GroupTask, compute: bool = True) -> Made | None:
    """Parts by partition: a list of rows of the whole corpus for each key that several rows
    have.
    """
    files = [[parts.ref.checksum, first_row] for parts, first_row in task.files]
    inputs = {
        "work": "group",
        "version": VERSION,
        "partitions": list(task.partitions),
        "files": files,
    }

    def make(unit: Publication) -> None:
        unit.facts["groups"] = 0

        def grouped() -> Iterator[tuple[int, pa.RecordBatch]]:
            for partition in task.partitions:
                offsets, members = equal_runs(*_partition(store, task.files, partition))
                unit.facts["groups"] += len(offsets) - 1
                lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(members))
                yield (
                    partition,
                    row_batch(_GROUPS, lists.cast(_GROUPS.field(0).type)),
                )

        write_parts(unit, _GROUPS, grouped())

    store = Store(task.root)
    return made_parts(store, keyed(f"{task.step}-groups", inputs), inputs, make, compute)


def cluster(task: ClusterTask, compute: bool = True) -> Made | None:
    """Parts by chunk: the rows that are candidates, each with its shard."""
    inputs = {
        "work": "cluster",
        "version": VERSION,
        "shard_bytes": task.shard_bytes,
        "large": task.large,
        "groups": [parts.ref.checksum for parts in task.groups],
        "chunks": [[number, first_row, size.checksum] for number, first_row, size in task.chunks],
    }

    def make(unit: Publication) -> None:
        parents = np.arange(task.rows, dtype=np.int64)
        is_candidate = np.zeros(task.rows, np.bool_)
        for parts in task.groups:
            for _, batch in read_parts(store, parts):
                offsets, members = (
                    batch["members"].offsets.to_numpy(),
                    batch["members"].values.to_numpy(),
                )
                unite(offsets, members, parents)
                is_candidate[members] = True
        flatten(parents)
        sizes = cluster_rows(parents)
        weight = _candidate_bytes(store, task, is_candidate)
        shard, unit.facts["shards"] = deal_clusters(parents, is_candidate, weight, task.shard_bytes)
        unit.facts.update(
            candidates=int(is_candidate.sum()), largest_cluster=int(sizes.max(initial=0))
        )
        unit.facts["large_shards"] = np.unique(shard[sizes > task.large]).tolist()
        write_parts(unit, _CANDIDATES, _by_chunk(task, shard))

    store = Store(task.root)
    return made_parts(store, keyed(f"{task.step}-candidates", inputs), inputs, make, compute)


def _partition(
    store: Store, files: tuple[tuple[Parts, int], ...], partition: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for parts, first_row in files:
        for _, batch in read_parts(store, parts, [partition]):
            keys.append(batch["key"].to_numpy())
            rows.append(batch["row"].to_numpy().astype(np.int64) + first_row)
    return np.concatenate(keys), np.concatenate(rows)


def _candidate_bytes(
    store: Store, task: ClusterTask, is_candidate: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Text bytes of each candidate, (rows,); 0 for the others."""
    weight = np.zeros(task.rows, np.int64)
    for _, first_row, size in task.chunks:
        here = slice(first_row, first_row + size.rows)
        if is_candidate[here].any():
            weight[here] = (
                read_parquet(store, size.name, "signals", ["bytes"])["bytes"].to_numpy()
                * is_candidate[here]
            )
    return weight


def _by_chunk(task: ClusterTask, shard: NDArray[np.int32]) -> Iterator[tuple[int, pa.RecordBatch]]:
    for number, first_row, size in task.chunks:
        here = shard[first_row : first_row + size.rows]
        rows = np.flatnonzero(here != NO_SHARD).astype(np.uint32)
        yield number, row_batch(_CANDIDATES, rows, here[rows])


@kernel
def cluster_rows(roots: NDArray[np.int64]) -> NDArray[np.int32]:
    """Rows of each cluster, at its root, (n,); 0 elsewhere. roots: (n,) lowest row of each row's
    cluster.
    """
    sizes = np.zeros(roots.size, np.int32)
    for row in range(roots.size):
        sizes[roots[row]] += 1
    return sizes
