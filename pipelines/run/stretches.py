"""How the phases of a run are carried out: look what is there, have the rest made, keep the
books.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from artifacts.errors import Address, UserError
from artifacts.fingerprints import content_key
from artifacts.ledger import Entry, Ledger
from artifacts.paths import DiskFullError, Store
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.outcomes import ChunkResult
from pipelines.executors import Executor
from pipelines.executors.progress import Progress
from pipelines.recipe.load import LoadedRecipe
from pipelines.run.record import RunRecord
from pipelines.run.step_facts import add_facts

Task = TypeVar("Task")
Result = TypeVar("Result")


class PhaseRunner:
    """Gives tasks to an executor, opened when the first is needed, and checks every step's
    ledger.
    """

    def __init__(
        self,
        loaded: LoadedRecipe,
        store: Store,
        record: RunRecord,
        progress: Progress,
        open_workers: Callable[[], Executor],
    ) -> None:
        self.loaded = loaded
        self.store = store
        self.record = record
        self.progress = progress
        self.chunks: tuple[Chunk, ...] = ()
        self.ledgers: list[Ledger] = []
        self.computed = 0
        self._open_workers = open_workers
        self._workers: Executor | None = None

    def close(self) -> None:
        """Let the workers go; the next task opens new ones."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def _tasks(
        self,
        title: str,
        function: Callable[[Task, bool], Result | None],
        tasks: Sequence[Task],
        sizes: Sequence[int],
    ) -> list[Any]:
        """Look for every task's units, then have the missing ones made."""
        found = {
            index: result
            for index, task in enumerate(tasks)
            if (result := function(task, False)) is not None
        }
        missing = [index for index in range(len(tasks)) if index not in found]
        self.progress.phase(title, len(tasks), len(found), sum(sizes[index] for index in missing))
        if missing:
            made = self._executor().map(
                _Compute(function),
                [tasks[index] for index in missing],
                lambda position, _: self.progress.advance(1, sizes[missing[position]]),
            )
            found.update(zip(missing, made, strict=True))
        results = [found[index] for index in range(len(tasks))]
        self.record.touch(results)
        return results

    def _all(
        self, function: Callable[[Task, bool], Result | None], tasks: Sequence[Task]
    ) -> list[Any]:
        found = [function(task, False) for task in tasks]
        if None in found:
            found = list(
                self._executor().map(_Compute(function), tasks, lambda position, result: None)
            )
        self.record.touch(found)
        return found

    def _one(self, function: Callable[[Task, bool], Result | None], task: Task) -> Any:
        return self._all(function, [task])[0]

    def _executor(self) -> Executor:
        if self._workers is None:
            self._workers = self._open_workers()
        return self._workers

    def _take(self, results: Sequence[ChunkResult]) -> None:
        """Move the chunks on and book what each step did to them."""
        self.chunks = tuple(result.chunk for result in results)
        ledgers: dict[tuple[str, bool], Ledger] = {}
        busy: dict[tuple[str, bool], bool] = defaultdict(bool)
        for result in results:
            for outcome in result.outcomes:
                name = outcome.step if outcome.chooses else f"{outcome.step} (measure)"
                ledger = ledgers.setdefault((outcome.step, outcome.chooses), Ledger(name))
                ledger.entry(outcome.source).merge(outcome.entry)
                ledger.units += 1
                ledger.computed += int(outcome.computed)
                ledger.seconds += outcome.seconds
                ledger.peak_bytes = max(ledger.peak_bytes, result.peak_bytes)
                add_facts(ledger, outcome)
                busy[outcome.step, outcome.chooses] |= not outcome.idle
        ledgers = {key: ledger for key, ledger in ledgers.items() if busy[key]}
        for ledger in ledgers.values():
            self._complete(ledger)
        for (step, chooses), ledger in ledgers.items():
            self._keep([ledger], follows=chooses and step != "read", silent=True)
        self.progress.end(list(ledgers.values()))

    def _complete(self, ledger: Ledger) -> None:
        """Say in a ledger what its chunks alone do not know."""

    def _keep(self, ledgers: list[Ledger], follows: bool = False, silent: bool = False) -> None:
        for ledger in ledgers:
            state = {"step": ledger.step, "chunks": [chunk.to_json() for chunk in self.chunks]}
            ledger.fingerprint = ledger.fingerprint or content_key(state)
            ledger.check()
            self._not_empty(ledger)
            if follows:
                self._follow(ledger)
            self.computed += ledger.computed
            self.ledgers.append(ledger)
            self.record.write_ledger(len(self.ledgers), ledger)
        if not silent:
            self.progress.end(ledgers)

    def _follow(self, ledger: Ledger) -> None:
        """What enters a step is what the one before it kept; a step that keeps nothing stops the
        run.
        """
        before = next(
            other for other in reversed(self.ledgers) if other.step in self.record.chained
        )
        for source, entry in before.sources.items():
            if source not in ledger.sources:  # this step leaves the source alone
                ledger.entry(source).entered.add(entry.kept.documents, entry.kept.bytes)
                ledger.entry(source).kept.add(entry.kept.documents, entry.kept.bytes)
        ledger.follows(before)
        self.record.chained.append(ledger.step)

    @contextlib.contextmanager
    def _at(self, part: Address) -> Iterator[None]:
        """Give a user's error that comes from a worker its place in the recipe; a full disk has
        none.
        """
        try:
            yield
        except DiskFullError:
            raise
        except UserError as error:
            if error.line is not None:
                raise
            raise error.relocated(self.loaded.place_in(part)) from error

    def _place_of(self, steps: Sequence[str]) -> Address:
        """Where the recipe speaks of the stage these steps belong to; of several stages, where it
        lists them.
        """
        stages = {name: index for index, (name, _) in enumerate(self.loaded.stages)}
        owners = [
            max(
                (name for name in stages if f"{step}-".startswith(f"{name}-")),
                key=len,
                default=None,
            )
            for step in steps
        ]
        places = {stages[name] for name in owners if name is not None}
        if len(places) != 1:
            return ("corpus", "stages")
        return self.loaded.stage_address(places.pop())

    def _not_empty(self, ledger: Ledger) -> None:
        """Raises: UserError when a step left nothing of what entered it, or nothing was read at
        all.
        """
        total = ledger.total()
        if ledger.step == "read" and not total.entered.documents:
            raise self.loaded.file.error(
                ("corpus", "sources"),
                "the sources hold no document at all",
                found=", ".join(source.name for source in self.loaded.recipe.corpus.sources),
                fix="look at the files that paths names: they are empty",
            )
        if total.kept.documents or not total.entered.documents:
            return
        reasons = _reasons(total)
        raise self.loaded.file.error(
            self._place_of([ledger.step]) if ledger.step != "read" else ("corpus", "sources"),
            f"the corpus is empty after step {ledger.step!r}",
            found=f"none of {total.entered.documents:,} documents was kept: {reasons}",
            fix="look at the quarantine and at the fields of the source"
            if ledger.step == "read"
            else "loosen this stage, or restrict it with sources: […]",
        )


def _reasons(entry: Entry) -> str:
    """Why records went, the most frequent reason first."""
    gone = [*entry.dropped.items(), *entry.quarantined.items()]
    return ", ".join(
        f"{reason} {count.documents:,}"
        for reason, count in sorted(gone, key=lambda item: -item[1].documents)
    )


@dataclass(frozen=True)
class _Compute:
    """A function of (task, compute) as a function of a task, picklable."""

    function: Callable[..., Any]

    def __call__(self, task: Any) -> Any:
        return self.function(task, True)


def text_bytes(chunk: Chunk) -> int:
    return (
        chunk.documents.bytes
        if chunk.documents is not None
        else sum((span.end or 0) - span.start for span in chunk.spans)
    )
