"""The verdict on one shard: who goes, in whose favour, on what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from artifacts.paths import Store
from artifacts.publish import Publication
from dedup.near.verify import greedy_keep
from pipelines.comparisons.exchange import Made, Parts, by_number, keyed, made_parts, write_parts
from pipelines.comparisons.near.shard import REMOVALS, read_shard
from pipelines.corpus.keep_policy import KeepPolicy

VERSION = 1


@dataclass(frozen=True)
class VerifyTask:
    """One shard. ``files``: what was gathered of the chunks that have candidates in it, with their
    numbers, ascending.
    """

    root: str
    step: str
    shard: int
    files: tuple[tuple[int, Parts], ...]
    policy: KeepPolicy
    threshold: float
    max_comparisons: int
    similarity: str

    def inputs(self) -> dict[str, Any]:
        """What the verdict follows from."""
        return {
            "shard": self.shard,
            "policy": self.policy.text,
            "threshold": self.threshold,
            "max_comparisons": self.max_comparisons,
            "similarity": self.similarity,
            "files": [[number, parts.ref.checksum] for number, parts in self.files],
        }


def verify(task: VerifyTask, compute: bool = True) -> Made | None:
    """Parts by chunk: the rows that go, each with its evidence."""
    store = Store(task.root)

    def make(unit: Publication) -> None:
        shard = read_shard(store, task.shard, task.files)
        with shard.held_sets() as sets:
            verdict = greedy_keep(
                shard.ranks(task.policy),
                shard.groups,
                sets,
                task.threshold,
                task.max_comparisons,
                task.similarity,
            )
        unit.facts.update(
            comparisons=verdict.compared,
            comparisons_skipped=verdict.skipped,
            documents_bounded=verdict.bounded,
        )
        names, _ = shard.clusters
        gone, kept = pa.array(verdict.document), pa.array(verdict.kept_document)
        found = [
            shard.table["row"].combine_chunks().take(gone),
            shard.ids.take(gone),
            shard.ids.take(kept),
        ]
        found.append(pa.array(shard.chunk[verdict.kept_document]))
        found += [
            pa.array(verdict.similarity),
            pa.array(verdict.bands_hit),
            shard.ids.take(pa.array(names[verdict.document])),
        ]
        removals = pa.RecordBatch.from_arrays(
            [*found, pa.array(verdict.cluster_size)], schema=REMOVALS
        )
        write_parts(unit, REMOVALS, by_number(removals, shard.chunk[verdict.document]))

    inputs = {"work": "verify", "version": VERSION, **task.inputs()}
    return made_parts(store, keyed(f"{task.step}-removals", inputs), inputs, make, compute)
