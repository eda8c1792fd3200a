"""A step that cuts spans, driven through its phases: the part of a run that gives out its tasks and
keeps its books.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from artifacts.fingerprints import content_key
from artifacts.ledger import Ledger
from artifacts.paths import Store
from pipelines.comparisons.exchange import Made, discard
from pipelines.comparisons.spans.cut import VERSION, CutChunk, cut_chunk
from pipelines.comparisons.spans.work import LEFT_ALONE, SpanTask, run_phase
from pipelines.corpus.chunk import Chunk
from pipelines.stages.base import SpanStep, fingerprint

GiveOut = Callable[[str, Callable[..., Any], Sequence[Any], Sequence[int]], list[Any]]

TEXT_PER_HASH_SHARE = 1 << 30  # bytes: about 13 million anchors of 50 words, or 25 million lines
# at most about so many occurrences are grouped at once, on real text a third of it; 200 bytes each
KEYS_PER_SHARE = 8_000_000


def cut_spans(
    store: Store,
    chunks: tuple[Chunk, ...],
    step: SpanStep,
    sources: tuple[str, ...],
    give_out: GiveOut,
) -> tuple[tuple[Chunk, ...], Ledger]:
    """Cut what stood before out of a corpus: the chunks moved on, and the step's ledger.

    ``sources``: all of the recipe, in order. ``give_out`` has tasks done: (title, function, tasks,
    bytes of each) -> results in order. When the outcome is there under its content key, no phase
    before the last is looked at. How the work is divided follows from texts and settings alone.
    """
    started = time.monotonic()
    cuts = _Work(store, chunks, step, sources, give_out).cut()
    moved = {cut.chunk.number: cut.chunk for cut in cuts}
    ledger = Ledger(step.name, units=len(cuts), computed=sum(cut.computed for cut in cuts))
    ledger.facts = {
        name: sum(cut.facts[name] for cut in cuts) for name in ("spans", "documents", "bytes")
    }
    crowded = sum(cut.facts.get(LEFT_ALONE, 0) for cut in cuts)
    ledger.facts |= {LEFT_ALONE: crowded} if crowded else {}
    for cut in cuts:
        ledger.entry(cut.chunk.source).merge(cut.entry)
    ledger.seconds = time.monotonic() - started
    return tuple(moved.get(chunk.number, chunk) for chunk in chunks), ledger


class _Work:
    def __init__(
        self,
        store: Store,
        chunks: Sequence[Chunk],
        step: SpanStep,
        sources: tuple[str, ...],
        give_out: GiveOut,
    ) -> None:
        self.store, self.step, self.give_out = store, step, give_out
        self.chunks = tuple(chunk for chunk in chunks if step.concerns(chunk.source))
        self.sources = tuple(source for source in sources if step.concerns(source))
        self.key = content_key(self._inputs())
        self.task = SpanTask(store.root, step, self.key, "", 0, len(self.chunks))

    def cut(self) -> list[CutChunk]:
        tasks = self._tasks("cut", self.chunks)
        if any(cut_chunk(task, False) is None for task in tasks):
            self._find()
        cuts: list[CutChunk] = self.give_out(self.step.name, cut_chunk, tasks, self._sizes(tasks))
        discard(self.store, self.step.name, self.key)
        return cuts

    def _find(self) -> None:
        """All phases before the last."""
        order = replace(self.task, phase="order", corpus=self.chunks, sources=self.sources)
        size = self._run("keep order", [order])[0].facts["bytes"]
        self.task = replace(self.task, hash_shares=1 + size // TEXT_PER_HASH_SHARE)
        self._run("hashes", self._tasks("hashes", self.chunks))
        twice = self._run(
            "hashes that occur twice", self._tasks("twice", [None] * self.task.hash_shares)
        )
        most = sum(result.facts["hashes"] for result in twice) * self.step.rule.occurrences_per_hash
        self.task = replace(self.task, key_shares=1 + most // KEYS_PER_SHARE)
        self._run("occurrences", self._tasks("occurrences", self.chunks))
        self._run("repeats", self._tasks("repeats", [None] * self.task.key_shares))
        self._run("spans", self._tasks("requests", self.chunks))
        self._run("compared bytes", self._tasks("answers", self.chunks))

    def _run(self, title: str, tasks: Sequence[SpanTask]) -> list[Made]:
        results: list[Made] = self.give_out(
            f"{self.step.name}: {title}", run_phase, tasks, self._sizes(tasks)
        )
        return results

    def _tasks(self, phase: str, chunks: Sequence[Chunk | None]) -> list[SpanTask]:
        return [
            replace(self.task, phase=phase, index=index, chunk=chunk)
            for index, chunk in enumerate(chunks)
        ]

    def _sizes(self, tasks: Sequence[SpanTask]) -> list[int]:
        return [
            task.chunk.documents.bytes if task.chunk and task.chunk.documents else 0
            for task in tasks
        ]

    def _inputs(self) -> dict[str, Any]:
        rule = self.step.rule
        return {
            **fingerprint(rule),
            "cut": VERSION,
            "sources": list(self.sources),
            "chunks": [
                {
                    "text": chunk.text_version(),
                    "selection": chunk.selection_version(),
                    "signals": {
                        name: chunk.signals[name].checksum
                        for name in ("size", *rule.needs)
                        if name in chunk.signals
                    },
                }
                for chunk in self.chunks
            ],
        }
