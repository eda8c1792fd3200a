"""How the steps of a run that compare documents with one another are carried out, checked and
booked.
"""

from __future__ import annotations

import time
from typing import Any

from artifacts.ledger import Ledger
from dedup.spans.spans import MOST_ALIKE
from pipelines.comparisons.near.compare import PHASES, compare_near
from pipelines.comparisons.quality import QualityTask, measure_quality
from pipelines.comparisons.removal_guard import check_removals
from pipelines.comparisons.spans.rounds import cut_spans
from pipelines.comparisons.spans.work import LEFT_ALONE
from pipelines.comparisons.whole import CompareTask, compare_corpus
from pipelines.corpus.outcomes import CorpusOutcome
from pipelines.run.stretches import PhaseRunner
from pipelines.stages.base import CompareStep, SpanStep


class ComparisonRunner(PhaseRunner):
    """Takes the chunks through comparisons and cuts."""

    sources: tuple[str, ...]  # all of the recipe, in its order

    def compare(self, step: CompareStep) -> None:
        started = time.monotonic()
        task = CompareTask(self.store.root, self.chunks, self.sources, step)
        with self._at(self._place_of([step.name])):
            outcome = self._in_parts(task) if step.in_parts else self._whole(task)
            check_removals(self.store, step, outcome)
        quality = self.quality(step, outcome)
        self.chunks = outcome.chunks
        ledger = Ledger(
            step.name,
            dict(outcome.entries),
            units=1,
            computed=int(outcome.computed),
            facts={**outcome.facts, **quality},
        )
        ledger.seconds = time.monotonic() - started
        self.record.content["evidence"][step.name] = {
            "file": outcome.files[0].to_json(),
            **ledger.facts,
        }
        self._keep([ledger], follows=True)
        if outcome.facts.get("comparisons_skipped"):
            skipped, bounded = (
                outcome.facts["comparisons_skipped"],
                outcome.facts["documents_bounded"],
            )
            self.progress.note(
                f"{step.name}: max_comparisons left out {skipped:,} comparisons of {bounded:,} "
                "documents"
            )

    def _whole(self, task: CompareTask) -> CorpusOutcome:
        """A comparison of small columns, in one task."""
        self.progress.phase(task.step.name, 1, 0, 0)
        outcome: CorpusOutcome = self._one(compare_corpus, task)
        self.progress.advance(1, 0)
        return outcome

    def _in_parts(self, task: CompareTask) -> CorpusOutcome:
        """A comparison of texts, in bounded parts."""
        self.progress.phase(task.step.name, len(PHASES), 0, 0)

        def begins(phase: str) -> None:
            self.progress.stands(phase)
            self.progress.advance(int(phase != PHASES[0]), 0)

        outcome = compare_near(task, self._all, begins)
        self.record.touch([outcome])
        self.progress.advance(1, 0)
        return outcome

    def cut(self, step: SpanStep) -> None:
        with self._at(self._place_of([step.name])):
            self.chunks, ledger = cut_spans(
                self.store, self.chunks, step, self.sources, self._tasks
            )
        self._keep([ledger], follows=True)
        facts = ledger.facts
        self.progress.note(
            f"{step.name}: {facts['bytes']:,} bytes cut in {facts['spans']:,} spans of "
            f"{facts['documents']:,} documents"
        )
        if LEFT_ALONE in facts:
            self.progress.note(
                f"{step.name}: {facts[LEFT_ALONE]:,} stretches are left alone, of which one "
                f"occurs more than {MOST_ALIKE:,} times among a few documents"
            )

    def quality(self, step: CompareStep, outcome: CorpusOutcome) -> dict[str, Any]:
        """How good a near-duplicate comparison was, as facts for its ledger."""
        if step.quality_sample is None:
            return {}
        task = QualityTask(
            self.store.root,
            self.chunks,
            outcome.chunks,
            tuple(source for source in self.sources if step.concerns(source)),
            step,
            outcome.files[0],
            step.quality_sample,
        )
        measured = self._one(measure_quality, task)
        self.computed += int(measured.computed)
        return {"quality": measured.facts}
