"""Contamination: which items of a task the documents of training shards hold.

    held = SeenItems(tasks, materials).shares(task, shown_sources(plan, step, materials))
    Contamination.of([item.key for item in task.items], held, overlap=0.5).contaminated

An item counts as contaminated where one document, in the shards of the sources of which a training
has shown anything, holds at least the share ``overlap`` of its word n-grams, by the index and the
rules of decontamination (:mod:`dedup.ngrams`). What decontamination dropped and what is held out is
not in the shards; what was taken down is, since weights may have seen it before.

Shapes: N items of a task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dedup.ngrams import NgramIndex
from mixtures.inspect.accounting import realised
from mixtures.parts.open_parts import files_of, open_shards
from mixtures.plan.format import Plan
from pipelines.training.materials import Materials
from tokenizer.encode import Tokenizer
from trainer.evaluation.tasks.items import Task

Shares = NDArray[np.float32]


@dataclass(frozen=True)
class Contamination:
    """``searched`` of the ``items`` have words enough to look for; keys of the ``contaminated``."""

    items: int
    searched: int
    contaminated: tuple[str, ...]

    @classmethod
    def of(
        cls, keys: Sequence[str], shares: Sequence[float | None], overlap: float
    ) -> Contamination:
        """From the ``keys`` of the items and what :meth:`SeenItems.shares` found of each (N)."""
        found = [
            key
            for key, share in zip(keys, shares, strict=True)
            if share is not None and share >= overlap
        ]
        return cls(len(keys), sum(share is not None for share in shares), tuple(found))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "contaminated": list(self.contaminated)}


def shown_sources(plan: Plan, step: int, materials: Materials) -> list[str]:
    """The sources of which a training has shown anything in its first ``step`` steps."""
    shown = [one.source for one in realised(plan, step) if one.tokens]
    return [name for name in shown if name in materials.folders]


class SeenItems:
    """What the sources of a run hold of the items of tasks; a source is read when it is first asked
    for.
    """

    def __init__(self, tasks: Sequence[Task], materials: Materials) -> None:
        self._tasks, self._materials = tasks, materials
        self._sources: dict[str, list[Shares]] = {}

    def shares(self, task: Task, sources: Sequence[str]) -> list[float | None]:
        """Of each item of one of the tasks (N) the largest share of its n-grams that one document
        of these sources holds; None where it is too short, or too common, to look for.

        Raises: UserError for shards that are damaged.
        """
        number = next(place for place, one in enumerate(self._tasks) if one is task)
        most = np.zeros(len(task.items), np.float32)
        for source in sources:
            np.maximum(most, self._held(source)[number], out=most)
        searched = self._indexes[number].item_ngrams > 0
        return [
            float(share) if known else None for share, known in zip(most, searched, strict=True)
        ]

    @cached_property
    def _indexes(self) -> list[NgramIndex]:
        return [
            NgramIndex.build(pa.array([item.text for item in task.items], pa.large_string()))
            for task in self._tasks
        ]

    def _held(self, source: str) -> list[Shares]:
        """Of each task (N,) the largest share of each item's n-grams in one document."""
        if source not in self._sources:
            folder = self._materials.folders[source]
            self._sources[source] = largest_shares(self._indexes, folder, self._materials.tokenizer)
        return self._sources[source]


def largest_shares(
    indexes: Sequence[NgramIndex], folder: Path | str, tokenizer: Tokenizer
) -> list[Shares]:
    """Of each index (its items,) the largest share of each item's n-grams that one document of a
    source's shards holds. Raises: UserError for shards that are damaged.
    """
    most = [np.zeros(len(index.item_ngrams), np.float32) for index in indexes]
    for texts in shard_texts(folder, tokenizer):
        for index, shares in zip(indexes, most, strict=True):
            np.maximum(shares, index.overlap_and_coverage(texts)[1], out=shares)
    return most


def shard_texts(folder: Path | str, tokenizer: Tokenizer) -> Iterator[pa.LargeStringArray]:
    """The texts of a source's shards, a record batch at a time."""
    files = files_of(open_shards(folder, tokenizer.hash))
    for part in range(len(files.manifest.parts)):
        for number in range(len(files.index(part).batches)):
            yield tokenizer.decode(files.record(part, number)["tokens"], controls=False)
            files.release(part, number)
