"""What verification needs of the candidates of one chunk, by shard: their shingle sets above all.
The one part that reads texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.publish import Publication
from artifacts.tables import read_parquet
from dedup.near.minhash import MinHashConfig, shingle_sets
from pipelines.comparisons.exchange import (
    Made,
    Parts,
    by_number,
    keyed,
    made_parts,
    read_parts,
    write_parts,
)
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.keep_policy import PREFERRED, KeepPolicy
from pipelines.corpus.texts import texts_of_rows

VERSION = 1


@dataclass(frozen=True)
class GatherTask:
    """Candidates of a chunk. ``measure`` made their keys; ``sources`` are all of the recipe, in its
    order.
    """

    root: str
    step: str
    chunk: Chunk
    candidates: Parts
    measure: str
    config: MinHashConfig
    policy: KeepPolicy
    sources: tuple[str, ...]


def gather(task: GatherTask, compute: bool = True) -> Made | None:
    """Parts by shard: row in the chunk, id, band keys, columns of the keep policy, shingles
    (sorted, unique).
    """
    signals = {
        name: ref.checksum
        for name, ref in sorted(task.chunk.signals.items())
        if name in _signals_read(task)
    }
    inputs = {
        "work": "gather",
        "version": VERSION,
        "candidates": task.candidates.ref.checksum,
        "chunk": task.chunk.number,
        "text": task.chunk.text_version(),
        "signals": signals,
        "algorithm": task.config.algorithm,
        "policy": task.policy.text,
        "source_rank": task.sources.index(task.chunk.source),
    }
    store = Store(task.root)

    def make(unit: Publication) -> None:
        _, found = next(read_parts(store, task.candidates, [task.chunk.number]))
        rows = found["row"].to_numpy().astype(np.int64)
        columns = {
            "row": found["row"],
            **_columns(store, task, rows),
            "shingles": _shingles(store, task, rows),
        }
        table = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        write_parts(unit, table.schema, by_number(table, found["shard"].to_numpy()))

    return made_parts(store, keyed(f"{task.step}-sets", inputs), inputs, make, compute)


def _signals_read(task: GatherTask) -> set[str]:
    return {"size", task.measure, *task.policy.needs()}


def _columns(store: Store, task: GatherTask, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
    """Id, band keys and the columns of the keep policy; null where the source was not measured."""
    wanted = {
        "id": "size",
        "bands": task.measure,
        **{key.column: task.policy.measures.get(key.column) for key in task.policy.keys},
    }
    columns: dict[str, pa.Array] = {}
    for name, measure in wanted.items():
        ref = None if measure is None else task.chunk.signals.get(measure)
        if name in ("source_rank", PREFERRED):
            place = task.policy.source_place(name, task.chunk.source, task.sources)
            columns[name] = pa.array(np.full(len(rows), place, np.int64))
        elif ref is None:
            columns[name] = pa.nulls(len(rows))
        else:
            columns[name] = (
                read_parquet(store, ref.name, "signals", [name])[name]
                .combine_chunks()
                .take(pa.array(rows))
            )
    return columns


def _shingles(store: Store, task: GatherTask, rows: NDArray[np.int64]) -> pa.LargeListArray:
    """The shingle set of each row."""
    lengths, hashes = [np.zeros(1, np.int64)], [np.empty(0, np.uint64)]
    for texts in texts_of_rows(store, task.chunk, rows):
        sets = shingle_sets(texts, task.config)
        lengths.append(np.diff(sets.offsets))
        hashes.append(sets.hashes)
    offsets = np.cumsum(np.concatenate(lengths))
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(hashes)))
