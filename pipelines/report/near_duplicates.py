"""What a deduplication did: clusters, similarities, and a few pairs from the whole range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.tables import open_table

PAIRS = 8
SIMILARITY_BINS = 50  # over 0 to 1
_ROWS = 1 << 18  # evidence rows looked at together
Id = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """One row of the evidence."""

    removed: Id
    kept: Id
    similarity: float
    bands_hit: int
    cluster_size: int


@dataclass(frozen=True)
class DedupEvidence:
    """Evidence of one step. ``clusters``: documents in whose favour others went."""

    step: str
    removed: int
    clusters: int
    largest: int
    # (SIMILARITY_BINS,) documents; a similarity of 1 is in the last bin
    similarity: NDArray[np.int64]
    identical: int  # similarity of exactly 1
    pairs: tuple[Pair, ...]


def read_evidence(store: Store, step: str, file: str, pairs: int = PAIRS) -> DedupEvidence:
    """Read an evidence table in bounded pieces; pairs are spread evenly over the similarities that
    occur.
    """
    removed = largest = identical = 0
    lowest, highest = 1.0, 0.0
    histogram = np.zeros(SIMILARITY_BINS, np.int64)
    keepers = [np.empty(0, np.uint64)]
    for batch in _batches(store, file):
        similarity = batch["similarity"].to_numpy()
        removed += len(batch)
        largest = max(largest, int(batch["cluster_size"].to_numpy().max()))
        identical += int((similarity == 1).sum())
        lowest, highest = (
            min(lowest, float(similarity.min())),
            max(highest, float(similarity.max())),
        )
        histogram += np.bincount(
            np.clip((similarity * SIMILARITY_BINS).astype(np.int64), 0, SIMILARITY_BINS - 1),
            minlength=SIMILARITY_BINS,
        )
        keepers.append(np.unique(as_words(batch["kept_id"])[:, 0]))
    chosen = tuple(_spread(store, file, lowest, highest, pairs)) if removed and pairs else ()
    return DedupEvidence(
        step,
        removed,
        len(np.unique(np.concatenate(keepers))),
        largest,
        histogram,
        identical,
        chosen,
    )


def _spread(store: Store, file: str, lowest: float, highest: float, pairs: int) -> list[Pair]:
    """Pairs nearest to evenly spaced similarities, each pair once; equals in the order of the table
    (by id).
    """
    targets = np.linspace(lowest, highest, pairs)
    best: list[list[tuple[float, int, Pair]]] = [[] for _ in targets]
    start = 0
    for batch in _batches(store, file):
        similarity = batch["similarity"].to_numpy().astype(np.float64)
        for target, nearest in zip(targets, best, strict=True):
            distance = np.abs(similarity - target)
            rows = np.argsort(distance, kind="stable")[:pairs]
            nearest.extend(
                (float(distance[row]), start + int(row), _pair(batch, int(row))) for row in rows
            )
            nearest.sort(key=lambda entry: entry[:2])
            del nearest[pairs:]
        start += len(batch)
    taken: dict[int, Pair] = {}
    for nearest in best:
        free = next(((row, pair) for _, row, pair in nearest if row not in taken), None)
        if free is not None:
            taken[free[0]] = free[1]
    return sorted(taken.values(), key=lambda pair: (pair.similarity, pair.removed))


def _pair(batch: pa.RecordBatch, row: int) -> Pair:
    removed, kept = (
        as_words(batch["id"].slice(row, 1))[0],
        as_words(batch["kept_id"].slice(row, 1))[0],
    )
    values = (batch[name][row].as_py() for name in ("similarity", "bands_hit", "cluster_size"))
    return Pair((int(removed[0]), int(removed[1])), (int(kept[0]), int(kept[1])), *values)


def _batches(store: Store, file: str) -> Iterator[pa.RecordBatch]:
    with open_table(store, file, "evidence") as table:
        yield from (batch for batch in table.batches(_ROWS) if len(batch))
