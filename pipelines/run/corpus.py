"""The first half of a run: from files to a selected corpus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from artifacts.errors import UserError
from artifacts.ledger import Entry, Ledger
from artifacts.paths import Store
from artifacts.publish import FileRef
from pipelines.chunks.reading import RemoveRowsStep
from pipelines.chunks.resources import PrepareTask, prepare
from pipelines.chunks.work import ChunkTask, read_chunk, run_chunk
from pipelines.comparisons.equal_keys import DuplicateRows, find_duplicates
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.outcomes import ChunkResult, CorpusTask, StepOutcome
from pipelines.executors import Executor
from pipelines.executors.progress import Progress
from pipelines.recipe.load import LoadedRecipe
from pipelines.report.language_losses import count_languages, judged_notes, vanished_languages
from pipelines.report.losses import (
    lost_files,
    machine_verdicts,
    nearly_lost_sources,
    unread_sources,
)
from pipelines.run.compare import ComparisonRunner
from pipelines.run.record import RunRecord
from pipelines.run.step_facts import close_lost_files
from pipelines.run.stretches import text_bytes
from pipelines.run.unreadable import check_readable
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
        if any(chunk.undecided for chunk in self.chunks):
            self._collect_quarantine()
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
        self._check_readable(
            [(outcome.source, outcome.entry) for result in results for outcome in result.outcomes],
            tuple(result.chunk for result in results),
        )
        self.ahead = {
            outcome.units: outcome
            for result in results
            for outcome in result.ahead
            if outcome.units
        }
        self._take(results)
        read = self.ledgers[-1].to_json()
        for note in (*lost_files(read), *unread_sources(read)):
            self.progress.note(note)

    def _complete(self, ledger: Ledger) -> None:
        if ledger.step == "read":
            close_lost_files(ledger, self.plan.stored_bytes)

    def _check_readable(
        self, booked: Iterable[tuple[str, Entry]], chunks: tuple[Chunk, ...]
    ) -> None:
        """Stop at a source that cannot be read; its quarantine is there to look at then. Raises:
        UserError.
        """
        ledger = Ledger("read")
        for source, entry in booked:
            ledger.entry(source).merge(entry)
        try:
            check_readable(self.loaded, self.store, ledger.sources, chunks)
        except UserError:
            self.chunks = chunks
            self._collect_quarantine()
            self.record.save_stopped(chunks, self.ledgers or [ledger])
            raise

    def unique(self) -> None:
        """Records whose key came before go to quarantine; the chunks they were in are written
        anew.
        """
        started = time.monotonic()
        self.progress.phase("unique keys", 1, 0, 0)
        found = self._one(find_duplicates, self._corpus())
        self.progress.advance(1, 0)
        read = self.ledgers[-1]
        ledger = Ledger("unique", units=1, computed=int(found.computed))
        for outcome in self._remove_rows(found):
            ledger.entry(outcome.source).merge(_documents_only(outcome.entry))
        for chunk in self.chunks:
            if chunk.number not in found.rows and chunk.documents is not None:
                whole = Entry()
                whole.entered.add(chunk.documents.rows, 0)
                whole.kept.add(chunk.documents.rows, 0)
                ledger.entry(chunk.source).merge(whole)
        self._check_readable(_after_unique(read, ledger), self.chunks)
        self._collect_quarantine()
        ledger.seconds = time.monotonic() - started
        self._keep([ledger], follows=True)

    def _collect_quarantine(self) -> None:
        made = self._one(collect_quarantine, self._corpus())
        self.record.content["quarantine"] = [ref.to_json() for ref in made.files]

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
        before = len(self.ledgers)
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
        for ledger in self.ledgers[before:]:
            said = ledger.to_json()
            for note in (*machine_verdicts(said), *judged_notes(said)):
                self.progress.note(note)

    def selection(self) -> tuple[FileRef, ...]:
        outcome = self._one(final_selection, self._corpus())
        self.record.content["selection"] = {
            ref.name.rsplit("/", 1)[-1].removesuffix(".parquet"): ref.to_json()
            for ref in outcome.files
        }
        self.computed += int(outcome.computed)
        languages = self._one(count_languages, self._corpus())
        self.record.content["languages"] = languages.facts["languages"]
        recorded = self._recorded()
        for note in (*nearly_lost_sources(recorded), *vanished_languages(recorded)):
            self.progress.note(note)
        return tuple(outcome.files)

    def _recorded(self) -> dict[str, Any]:
        """The record as it stands, for what is read off it."""
        return {**self.record.content, "ledgers": [ledger.to_json() for ledger in self.ledgers]}

    def _corpus(self) -> CorpusTask:
        return CorpusTask(self.store.root, self.chunks, self.sources)


def _after_unique(read: Ledger, unique: Ledger) -> Iterator[tuple[str, Entry]]:
    """What became of each source's records once those with equal keys were quarantined too."""
    for source, entry in read.sources.items():
        left = unique.sources.get(source, entry)
        yield source, replace(entry, kept=left.kept)
        yield source, Entry(quarantined=left.quarantined if left is not entry else {})


def _documents_only(entry: Entry) -> Entry:
    """The entry without bytes: the unique step counts documents."""
    plain = Entry()
    plain.entered.add(entry.entered.documents, 0)
    plain.kept.add(entry.kept.documents, 0)
    for reason, count in entry.quarantined.items():
        plain.quarantine(reason, count.documents, 0)
    return plain
