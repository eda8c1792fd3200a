"""One shard as columns: what was gathered of its documents, chunk after chunk, and the table of
those that go.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.schemas import ID
from dedup.near.lsh import Groups, candidate_groups, cluster_roots
from dedup.runs import least_rows
from dedup.shingles import ShingleSets
from pipelines.comparisons.exchange import Parts, read_parts
from pipelines.corpus.keep_policy import KeepPolicy, keep_ranks

# bytes of shingle sets a task holds in memory; the sets of a larger shard are mapped from a scratch
# file
HELD_SETS = 512 << 20

REMOVALS = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("id", ID, nullable=False),
        pa.field("kept_id", ID, nullable=False),
        pa.field("kept_chunk", pa.int64(), nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("bands_hit", pa.int32(), nullable=False),
        pa.field("cluster", ID, nullable=False),
        pa.field("cluster_size", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Shard:
    """n documents. chunk: (n,) number of each one's chunk. table: all columns but the sets. sets:
    those of each chunk.
    """

    chunk: NDArray[np.int64]
    table: pa.Table
    sets: list[pa.LargeListArray]

    def __len__(self) -> int:
        return len(self.chunk)

    @cached_property
    def ids(self) -> pa.FixedSizeBinaryArray:
        return self.table["id"].combine_chunks()

    @cached_property
    def groups(self) -> Groups:
        """Rows that share a band key: all of the corpus that a row of this shard shares one with
        are in this shard.
        """
        keys = self.table["bands"].combine_chunks()
        return candidate_groups(
            keys.flatten().to_numpy().reshape(len(self), keys.type.list_size),
            np.ones(len(self), np.bool_),
        )

    @cached_property
    def clusters(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each row the row whose id names its cluster, the least, and how many rows that cluster
        has; (n,) each.
        """
        roots = cluster_roots(self.groups, len(self))
        return least_rows(roots, as_words(self.ids)), np.bincount(roots, minlength=len(self))[roots]

    def ranks(self, policy: KeepPolicy) -> NDArray[np.int64]:
        """Place of each row in keep order, (n,)."""
        columns = {key.column: pl.Series(self.table[key.column]) for key in policy.keys}
        return keep_ranks(policy, as_words(self.ids), columns)

    @contextlib.contextmanager
    def held_sets(self) -> Iterator[ShingleSets]:
        """The sets of all rows, in memory or in a scratch file that is gone when the block ends."""
        lengths = [np.diff(piece.offsets.to_numpy()) for piece in self.sets]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        total = int(offsets[-1])
        with contextlib.ExitStack() as scratch:
            if total * 8 <= HELD_SETS:
                hashes = np.empty(total, np.uint64)
            else:
                file = scratch.enter_context(tempfile.TemporaryFile())
                file.truncate(total * 8)
                hashes = np.frombuffer(mmap.mmap(file.fileno(), total * 8), np.uint64)
            start = 0
            for piece in self.sets:
                values = piece.flatten().to_numpy()
                hashes[start : start + len(values)] = values
                start += len(values)
            yield ShingleSets(offsets, hashes)


def read_shard(store: Store, shard: int, files: tuple[tuple[int, Parts], ...]) -> Shard:
    """The shard of this number. ``files``: what was gathered of the chunks that have rows in it,
    with their numbers, ascending.
    """
    batches, numbers = [], []
    for number, parts in files:
        _, batch = next(read_parts(store, parts, [shard]))
        batches.append(batch)
        numbers.append(np.full(batch.num_rows, number, np.int64))
    table = pa.concat_tables(
        [pa.Table.from_batches([batch]).drop_columns("shingles") for batch in batches],
        promote_options="default",
    )
    return Shard(np.concatenate(numbers), table, [batch["shingles"] for batch in batches])
