"""The first half of a run: from files to a selected corpus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from artifacts.ledger import Entry, Ledger
from artifacts.paths import Store
from artifacts.publish import FileRef
from pipelines.chunks.reading import RemoveRowsStep
from pipelines.chunks.resources import PrepareTask, prepare
from pipelines.chunks.work import ChunkTask, read_chunk, run_chunk
from pipelines.comparisons.equal_keys import DuplicateRows, find_duplicates
from pipelines.corpus.outcomes import ChunkResult, CorpusTask, StepOutcome
from pipelines.executors import Executor
from pipelines.executors.progress import Progress
from pipelines.recipe.load import LoadedRecipe
from pipelines.run.compare import ComparisonRunner
from pipelines.run.record import RunRecord
from pipelines.run.stretches import text_bytes
from pipelines.run.work_plan import CorpusPlan
from pipelines.stages.base import PrepareStep, RowStep
from pipelines.stages.chunk_work import Prepared, Resources
from pipelines.writers.run_tables import collect_quarantine, final_selection


class CorpusRunner(ComparisonRunner):
    """Takes the chunks of a plan through its phases, in order; a
    :class:`pipelines.stages.base.Driver` to their steps.
    """

    def __init__(
        self,
        loaded: LoadedRecipe,
        store: Store,
        plan: CorpusPlan,
        record: RunRecord,
        progress: Progress,
        open_workers: Callable[[], Executor],
    ) -> None:
        super().__init__(loaded, store, record, progress, open_workers)
        self.plan = plan
        self.chunks = plan.chunks
        self.resources: dict[str, Prepared] = {}
        # what was made together with reading, by its units
        self.ahead: dict[tuple[str, ...], StepOutcome] = {}
        self.sources = tuple(source.name for source in loaded.recipe.corpus.sources)

    def select(self) -> tuple[FileRef, ...]:
        """All phases; the final selection, by source."""
        for phase in self.plan.phases:
            phase.carry_out(self)
        return self.selection()

    def read(self, ahead: Sequence[RowStep]) -> None:
        """Read every chunk; one that is read now is taken through the steps ``ahead`` too, which a
        later phase finds made.
        """
        tasks = [
            ChunkTask(self.store.root, chunk, (self.plan.readers[chunk.source], *ahead))
            for chunk in self.chunks
        ]
        with self._at(("corpus", "sources")):
            results = self._tasks(
                "read", read_chunk, tasks, [text_bytes(chunk) for chunk in self.chunks]
            )
        self.ahead = {
            outcome.units: outcome
            for result in results
            for outcome in result.ahead
            if outcome.units
        }
        self._take(results)
        self._note_sources_without_documents(self.ledgers[-1])

    def unique(self) -> None:
        """Records whose key came before go to quarantine; the chunks they were in are written
        anew.
        """
        started = time.monotonic()
        self.progress.phase("unique keys", 1, 0, 0)
        found = self._one(find_duplicates, self._corpus())
        self.progress.advance(1, 0)
        ledger = Ledger("unique", units=1, computed=int(found.computed))
        for outcome in self._remove_rows(found):
            ledger.entry(outcome.source).merge(_documents_only(outcome.entry))
        for chunk in self.chunks:
            if chunk.number not in found.rows and chunk.documents is not None:
                whole = Entry()
                whole.entered.add(chunk.documents.rows, 0)
                whole.kept.add(chunk.documents.rows, 0)
                ledger.entry(chunk.source).merge(whole)
        made = self._one(collect_quarantine, self._corpus())
        self.record.content["quarantine"] = [ref.to_json() for ref in made.files]
        ledger.seconds = time.monotonic() - started
        self._keep([ledger], follows=True)

    def _remove_rows(self, found: DuplicateRows) -> list[StepOutcome]:
        """Take rows out of the chunks they are in."""
        corpus, rows = self.loaded.recipe.corpus, found.rows
        bound = corpus.limits.limits().quarantine_bytes
        tasks = [
            ChunkTask(
                self.store.root,
                chunk,
                (RemoveRowsStep(rows[chunk.number], bound, corpus.compression),),
            )
            for chunk in self.chunks
            if chunk.number in rows
        ]
        moved = {result.chunk.number: result for result in self._all(run_chunk, tasks)}
        self.chunks = tuple(
            moved[chunk.number].chunk if chunk.number in moved else chunk for chunk in self.chunks
        )
        return [outcome for result in moved.values() for outcome in result.outcomes]

    def prepare(self, step: PrepareStep) -> None:
        started = time.monotonic()
        self.progress.phase(step.name, 1, 0, 0)
        with self._at(self._place_of([step.name])):
            prepared = self._one(prepare, PrepareTask(self.store.root, step))
        self.resources[step.name] = prepared.prepared
        self.progress.advance(1, 0)
        if prepared.note:
            self.progress.note(f"{step.name}: {prepared.note}")
        self._keep(
            [
                Ledger(
                    step.name,
                    units=1,
                    computed=int(prepared.computed),
                    seconds=time.monotonic() - started,
                )
            ]
        )

    def chain(self, steps: Sequence[RowStep]) -> None:
        names = [step.name for step in steps]
        tasks = [
            ChunkTask(self.store.root, chunk, tuple(steps), Resources(self.resources))
            for chunk in self.chunks
        ]
        sizes = [text_bytes(chunk) for chunk in self.chunks]
        with self._at(self._place_of(names)):
            results: list[ChunkResult] = self._tasks(
                ", ".join(dict.fromkeys(names)), run_chunk, tasks, sizes
            )
            self._take(
                [
                    replace(
                        result,
                        outcomes=tuple(self.ahead.pop(it.units, it) for it in result.outcomes),
                    )
                    for result in results
                ]
            )

    def selection(self) -> tuple[FileRef, ...]:
        outcome = self._one(final_selection, self._corpus())
        self.record.content["selection"] = {
            ref.name.rsplit("/", 1)[-1].removesuffix(".parquet"): ref.to_json()
            for ref in outcome.files
        }
        self.computed += int(outcome.computed)
        return tuple(outcome.files)

    def _corpus(self) -> CorpusTask:
        return CorpusTask(self.store.root, self.chunks, self.sources)


def _documents_only(entry: Entry) -> Entry:
    """The entry without bytes: the unique step counts documents."""
    plain = Entry()
    plain.entered.add(entry.entered.documents, 0)
    plain.kept.add(entry.kept.documents, 0)
    for reason, count in entry.quarantined.items():
        plain.quarantine(reason, count.documents, 0)
    return plain
