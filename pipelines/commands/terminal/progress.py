"""What a run looks like in a terminal: a live view with one line per finished phase, plain lines
elsewhere.

with TerminalProgress(console) as progress:
    outcome = run_recipe(loaded, progress=progress)
print_outcome(console, outcome)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from artifacts.ledger import Ledger
from pipelines.commands.terminal.outcome import funnel_table, print_outcome
from pipelines.commands.terminal.shown import ShownConsole, show_streams
from pipelines.report.numerals import byte_size, count, duration

BEAT_SECONDS = 10.0  # without a terminal, a running phase says this often that it lives
TITLE_WIDTH = 30
_PLAIN_TITLES = {
    "read": "read",
    "unique keys": "look for equal keys",
    "tokenizer": "train the tokenizer",
    "encode": "encode",
    "split": "cut sources into bands",
    "shards": "write shards",
}


class TerminalProgress:
    """Shows a run's progress on a console (standard error by default); a context manager.

    On a terminal the running phase has a bar, bytes per second and the time left. Elsewhere each
    phase has a line when it starts and one when it ends, and a line every ten seconds in between. A
    training also has one after its first step, and its lines say loss, learning rate and speed.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or ShownConsole(stderr=True)
        self._clock = clock
        self._phase: _Phase | None = None
        self._bar: Bar | None = None
        self._heart: _Heart | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    # -- the Progress protocol ------------------------------------------------------------------

    def phase(self, title: str, tasks: int, found: int, size: int) -> None:
        """A phase begins: ``tasks`` in all, of which ``found`` need no work; ``size`` bytes to
        do.
        """
        self._stop()
        self._phase = _Phase(title, tasks, found, size, self._clock())
        if self.console.is_terminal:
            self._bar = _live_bar(self.console)
            self._bar.start()
            show_streams()  # again, around what rich puts in their place while the view lives
            done, total = (found, tasks) if self._phase.trains else (0, max(1, tasks - found))
            title = _cut(self._phase.title, TITLE_WIDTH)
            self._bar.add_task(
                title, completed=done, total=total, phase=self._phase, now=self._clock
            )
        else:
            self.console.print(
                f"{self._phase.title}: {self._phase.work()}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )
            self._heart = _Heart(self.beat)

    def advance(self, tasks: int, size: int) -> None:
        """Tasks ended, that many bytes further."""
        with self._lock:
            if self._phase is not None:
                self._phase.done_tasks += tasks
                self._phase.done_bytes += size
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], tasks)

    def beat(self) -> None:
        """A line on how far the running phase is; nothing between phases."""
        with self._lock:
            phase = self._phase
            text = None if phase is None else f"{phase.title}: {phase.sofar(self._clock())}"
        if text is not None:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def end(self, ledgers: list[Ledger]) -> None:
        """The phase ended; these steps were completed by it."""
        phase = self._phase
        self._stop()
        if phase is not None:
            self._finished(phase, ledgers)

    def stands(self, text: str) -> None:
        """How the running phase stands; said at once the first time, then with its other lines."""
        with self._lock:
            phase = self._phase
            first = phase is not None and not phase.stands
            if phase is not None:
                phase.stands = text
        if first and not self.console.is_terminal:
            self.beat()

    def note(self, text: str) -> None:
        """Something worth a line."""
        self.console.print(Text(f"  note: {text}", style="yellow"), soft_wrap=True)

    # -- what it is made of ---------------------------------------------------------------------

    def _finished(self, phase: _Phase, ledgers: list[Ledger]) -> None:
        seconds = duration(self._clock() - phase.started)
        if not self.console.is_terminal:
            said = ", ".join(
                filter(None, [f"{phase.title}: done in {seconds}", phase.result(ledgers)])
            )
            self.console.print(said, soft_wrap=True, highlight=False, markup=False)
            return
        room = max(20, self.console.width - TITLE_WIDTH - 14)
        line = Text.assemble(
            f"  {_cut(phase.title, TITLE_WIDTH):<{TITLE_WIDTH}}", (f" {seconds:>9}  ", "dim")
        )
        line.append(_cut(phase.result(ledgers), room))
        self.console.print(line, no_wrap=True, overflow="ellipsis")

    def _stop(self) -> None:
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        with self._lock:
            self._phase = None


class _Phase:
    """The running phase and how far it is. The tasks of a training are its steps, and it begins
    when the first of them is done.
    """

    def __init__(self, title: str, tasks: int, found: int, size: int, started: float) -> None:
        self.title = plain_title(title)
        self.trains = title == "train" or title.startswith("branch ")
        self.tasks = tasks
        self.found = found
        self.size = size
        self.started = started
        self.done_tasks = 0
        self.done_bytes = 0
        self.stands = ""  # how it stands, as last said; of a training loss, learning rate and speed

    def work(self) -> str:
        todo = self.tasks - self.found
        if not todo:
            return "everything is there"
        there = (
            f" ({count(self.found)} of {count(self.tasks)} are there already)" if self.found else ""
        )
        size = f", {byte_size(self.size)}" if self.size else ""
        unit = "step" if self.trains else "task"
        return f"{count(todo)} {unit if todo == 1 else f'{unit}s'}{size}{there}"

    def sofar(self, now: float) -> str:
        if self.trains:
            text = f"step {count(self.found + self.done_tasks)} of {count(self.tasks)}"
            # the clock starts when the first is done
            text += f" after {duration(now - self.started)}" if self.done_tasks > 1 else ""
        else:
            text = (
                f"{count(self.done_tasks)} of {count(self.tasks - self.found)} tasks "
                f"after {duration(now - self.started)}"
            )
        left = self.seconds_left(now)
        return (
            text
            + (f", {byte_size(self.rate(now))}/s" if self.done_bytes else "")
            + (f", {self.stands}" if self.stands else "")
            + ("" if left is None else f", about {duration(left)} left")
        )

    def rate(self, now: float) -> float:
        """Bytes per second so far."""
        return self.done_bytes / max(now - self.started, 1e-9)

    def seconds_left(self, now: float) -> float | None:
        """By bytes where they are known, else by tasks; None before anything ended."""
        before = 1 if self.trains else 0  # the step that was done when the phase began
        done, whole = (
            (self.done_bytes, self.size)
            if self.size
            else (self.done_tasks - before, self.tasks - self.found - before)
        )
        return None if done <= 0 else (now - self.started) * max(whole - done, 0) / done

    @property
    def gist(self) -> list[str]:
        """The first and the last fact of how it stands: of a training loss and speed."""
        facts = self.stands.split(", ") if self.stands else []
        return facts if len(facts) < 2 else [facts[0], facts[-1]]

    def result(self, ledgers: list[Ledger]) -> str:
        """What the phase did: to the documents, or of a training its steps and where it stands."""
        if not self.trains:
            return _result(ledgers)
        return ", ".join([f"{count(self.found + self.done_tasks)} steps", *self.gist])


class _Heart:
    """Calls a function every :data:`BEAT_SECONDS` until stopped."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._stopped = threading.Event()
        self._beat = beat
        self._thread = threading.Thread(target=self._run, daemon=True, name="progress")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            self._beat()


class _Speed(ProgressColumn):
    """Bytes per second and time left of the running phase; the time gone where neither is known."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        phase: _Phase = task.fields["phase"]
        now = task.fields["now"]()
        left = phase.seconds_left(now)
        parts = [f"{byte_size(phase.rate(now))}/s"] if phase.done_bytes else []
        parts += phase.gist
        parts.append(duration(now - phase.started) if left is None else f"{duration(left)} left")
        return Text("   ".join(parts), style="dim")


def _live_bar(console: Console) -> Bar:
    title = TextColumn("{task.description}", markup=False)
    tasks = TextColumn("{task.completed:,.0f}/{task.total:,.0f}", justify="right")
    return Bar(
        SpinnerColumn("line", style="dim"),
        title,
        BarColumn(24),
        tasks,
        _Speed(),
        console=console,
        transient=True,
    )


def plain_title(title: str) -> str:
    """A phase's title in plain words: ``minhash_dedup`` as ``minhash dedup``, ``x-index`` as
    ``index for x``.
    """
    if title in _PLAIN_TITLES:
        return _PLAIN_TITLES[title]
    words = [part.replace("_", " ") for part in title.split(", ")]
    words = [
        f"index for {part.removesuffix('-index')}" if part.endswith("-index") else part
        for part in words
    ]
    return ", ".join(words) if len(words) <= 2 else f"measure and choose ({', '.join(words)})"


def _result(ledgers: list[Ledger]) -> str:
    """What a phase did to the documents, in words."""
    chosen = [
        ledger for ledger in ledgers if ledger.sources and not ledger.step.endswith(" (measure)")
    ]
    parts = []
    if chosen:
        totals = [ledger.total() for ledger in chosen]
        parts.append(f"{count(totals[-1].kept.documents)} documents")
        dropped = sum(entry.documents for total in totals for entry in total.dropped.values())
        quarantined = sum(
            entry.documents for total in totals for entry in total.quarantined.values()
        )
        parts += [f"{count(dropped)} dropped"] if dropped else []
        parts += [f"{count(quarantined)} quarantined"] if quarantined else []
    if ledgers and not any(ledger.computed for ledger in ledgers):
        parts.append("was there already")
    return ", ".join(parts)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip(" ,") + "…"


__all__ = ["TerminalProgress", "funnel_table", "plain_title", "print_outcome"]
