"""The terminal: plain lines without one, a line per phase on one, a table that fits, an outcome
that says it all.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from artifacts.ledger import Ledger
from pipelines.commands.terminal.progress import (
    TerminalProgress,
    funnel_table,
    plain_title,
    print_outcome,
)
from pipelines.report.funnel import read_funnel
from pipelines.report.page import write_report
from pipelines.run.driver import RunOutcome
from tests.pipelines.report_corpus import run, write_corpus


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def console(width: int = 100, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)


def said(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def outcome(recipe: Path, runs: Path) -> RunOutcome:
    return run(recipe, runs)


def _ledger(step: str, entered: int, dropped: int, computed: int = 1) -> Ledger:
    ledger = Ledger(step, units=1, computed=computed)
    entry = ledger.entry("web")
    entry.entered.add(entered, 0)
    entry.kept.add(entered - dropped, 0)
    if dropped:
        entry.drop("short", dropped, 0)
    return ledger


def test_without_a_terminal_a_phase_has_two_lines() -> None:
    clock, on = Clock(), console()
    with TerminalProgress(on, clock) as progress:
        progress.phase("minhash_dedup", 4, 1, 3_000_000)
        clock.now = 65.0
        progress.advance(3, 3_000_000)
        progress.end([_ledger("minhash_dedup", 1200, 34)])
    assert said(on).splitlines() == [
        "minhash dedup: 3 tasks, 3.00 MB (1 of 4 are there already)",
        "minhash dedup: done in 1 min 05 s, 1,166 documents, 34 dropped",
    ]


def test_a_beat_tells_how_far_a_phase_is() -> None:
    clock, on = Clock(), console()
    with TerminalProgress(on, clock) as progress:
        progress.beat()
        progress.phase("encode", 4, 0, 8_000_000)
        clock.now = 10.0
        progress.advance(1, 2_000_000)
        progress.beat()
    assert said(on).splitlines() == [
        "encode: 4 tasks, 8.00 MB",
        "encode: 1 of 4 tasks after 10 s, 200 KB/s, about 30 s left",
    ]


@pytest.mark.parametrize("size", [0, 1_000, 8_000_000])
def test_more_bytes_than_there_were_to_do_leave_no_negative_time(size: int) -> None:
    """A file that shrinks or grows while it is read."""
    clock, on = Clock(), console()
    with TerminalProgress(on, clock) as progress:
        progress.phase("read", 2, 0, size)
        clock.now = 10.0
        progress.advance(1, 9_000_000)
        progress.beat()
        progress.advance(2, 9_000_000)
        progress.beat()
    assert "-" not in said(on)
    assert said(on).splitlines()[-1].startswith("read: 3 of 2 tasks after 10 s, 1.80 MB/s, about 0")


def test_what_was_there_is_said_to_be_there() -> None:
    on = console()
    with TerminalProgress(on, Clock()) as progress:
        progress.phase("read", 2, 2, 0)
        progress.end([_ledger("read", 10, 0, computed=0)])
    assert said(on).splitlines() == [
        "read: everything is there",
        "read: done in 0.0 s, 10 documents, was there already",
    ]


def test_on_a_terminal_a_finished_phase_has_one_line_and_no_bar_remains() -> None:
    clock, on = Clock(), console(terminal=True)
    with TerminalProgress(on, clock) as progress:
        progress.phase("exact_dedup", 1, 0, 1000)
        clock.now = 2.0
        progress.advance(1, 1000)
        progress.end([_ledger("exact_dedup", 50, 5)])
        progress.note("something")
    lines = [line for line in said(on).splitlines() if "45 documents, 5 dropped" in line]
    assert len(lines) == 1
    assert "exact dedup" in lines[0]
    assert "2.0 s" in lines[0]
    assert "note: something" in said(on)
    assert "\x1b[?25h" in said(on)  # the cursor is back


def _fail_inside_a_phase(on: Console) -> None:
    with TerminalProgress(on, Clock()) as progress:
        progress.phase("read", 1, 0, 0)
        raise RuntimeError


def test_an_error_inside_leaves_the_terminal_in_order() -> None:
    on = console(terminal=True)
    with pytest.raises(RuntimeError):
        _fail_inside_a_phase(on)
    assert said(on).rindex("\x1b[?25h") > said(on).rindex("\x1b[?25l")


def test_markup_in_titles_and_notes_stays_text() -> None:
    on = console()
    with TerminalProgress(on, Clock()) as progress:
        progress.phase("[red]x[/red]", 1, 0, 0)
        progress.note("[bold]y[/bold]")
        progress.end([])
    assert "[red]x[/red]: 1 task" in said(on)
    assert "note: [bold]y[/bold]" in said(on)


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("minhash_dedup", "minhash dedup"),
        ("decontaminate-index", "index for decontaminate"),
        ("unique keys", "look for equal keys"),
        ("size, newlines, language", "measure and choose (size, newlines, language)"),
    ],
)
def test_titles_are_plain_words(title: str, plain: str) -> None:
    assert plain_title(title) == plain


def test_a_whole_run_speaks_of_every_phase(recipe: Path, tmp_path: Path) -> None:
    on = console()
    with TerminalProgress(on) as progress:
        run(recipe, tmp_path, progress=progress)
    starts = [line for line in said(on).splitlines() if ": done in " in line]
    assert [line.split(":")[0].split(" (")[0] for line in starts] == [
        "read",
        "look for equal keys",
        "index for decontaminate",
        "measure and choose",
        "exact dedup",
        "minhash dedup",
        "decontaminate",
        "train the tokenizer",
        "encode",
        "write shards",
    ]


def _table(record: dict[str, object], width: int) -> list[str]:
    on = console(width)
    on.print(funnel_table(record, width))
    return said(on).splitlines()


def test_funnel_has_a_column_per_step_and_exact_numbers(outcome: RunOutcome) -> None:
    funnel = read_funnel(outcome.record)
    lines = _table(outcome.record, 100)
    assert max(len(line.rstrip()) for line in lines) <= 100
    left = [f"{dropped}" if dropped else "-" for dropped in funnel.total.dropped[2:]]
    cells = [
        "all",
        str(funnel.total.entered),
        f"{sum(funnel.total.quarantined)}q",
        *left,
        str(funnel.total.kept),
        f"{funnel.total.tokens:,}",
    ]
    assert lines[-1].split() == cells


@pytest.mark.parametrize("width", [40, 60, 80, 99, 100, 140])
def test_funnel_fits_any_width(outcome: RunOutcome, width: int) -> None:
    lines = _table(outcome.record, width)
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "…" not in "".join(lines)
    last = next(line for line in lines if line.startswith("all"))
    assert f"{read_funnel(outcome.record).total.kept:,}" in last.split()


@pytest.mark.parametrize("width", [60, 80, 98])
def test_a_long_name_leaves_the_figures_their_room(outcome: RunOutcome, width: int) -> None:
    long = "web-with-a-rather-long-name.that-goes-on-and-on-and-never-ends-and-holds-a-version-1.5"
    record = json.loads(orjson.dumps(outcome.record).replace(b'"web"', f'"{long}"'.encode()))
    lines = _table(record, width)
    assert max(len(line.rstrip()) for line in lines) <= width
    named = next(line for line in lines if line.startswith("web-with-a"))
    assert "…ersion-1.5" in named
    row = read_funnel(record).rows[0]
    assert row.source == long
    assert {f"{row.entered:,}", f"{row.kept:,}", f"{row.tokens:,}"} <= set(named.split())


def test_wide_recipes_are_folded_into_reasons(outcome: RunOutcome) -> None:
    lines = _table(outcome.record, 72)
    assert "most frequent reasons" in lines[0]
    assert "gopher_short_doc" in "".join(lines)


def test_outcome_says_where_things_lie_and_how_to_go_on(outcome: RunOutcome) -> None:
    on = console()
    print_outcome(on, outcome, write_report(outcome.store, outcome.record), 12.3)
    text = said(on)
    assert outcome.store.full("report.html") in text
    for source, facts in outcome.record["shards"].items():
        assert facts["folder"] in text
        assert any(
            source in line and f"{facts['tokens']:,} tokens" in line for line in text.splitlines()
        )
    assert f"windtunnel report {outcome.store.root}" in text, (
        "a run that does not lie under runs/ is named by its folder"
    )
    assert f"{outcome.computed:,} units of work in 12 s" in text


def test_a_run_with_nothing_to_do_says_so(recipe: Path, runs: Path, outcome: RunOutcome) -> None:
    on = console()
    again = run(recipe, runs)
    assert again.computed == 0
    print_outcome(on, again, seconds=1.0)
    assert "nothing was recomputed" in said(on)


def test_an_unfinished_run_names_the_command_that_goes_on(recipe: Path, tmp_path: Path) -> None:
    on = console()
    print_outcome(on, run(recipe, tmp_path, until="corpus"), recipe="my.yaml")
    assert "windtunnel run my.yaml" in said(on)


def test_a_file_gets_the_whole_table_whatever_width_it_is_taken_for(outcome: RunOutcome) -> None:
    on = console(60)
    print_outcome(on, outcome)
    assert "heuristics" in said(on)
