"""The summary at the top of a report: the funnel's numbers, and the decay compared as the table of
held-out losses has it.
"""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.decay_comparison import BETTER, OPEN, WORSE, SourceDifference, comparisons
from pipelines.report.endings import held_out_rows
from pipelines.report.findings import Findings, collect
from pipelines.report.held_out_loss import HeldOutLoss
from pipelines.report.interval_chart import Interval, interval_chart
from pipelines.report.numerals import count, share, uncertain
from pipelines.report.page import render
from pipelines.report.training_metrics import MAIN, Trainings, read_trainings
from pipelines.run.driver import RunOutcome
from tests.pipelines.report_corpus import SCRIPT
from tests.pipelines.test_report_page import Page

BRANCH = "without-instructions"
FIGURES = st.floats(-100, 100, allow_nan=False)


@pytest.fixture(scope="module")
def outcome(tiny: tuple[object, RunOutcome]) -> RunOutcome:
    return tiny[1]


@pytest.fixture(scope="module")
def trainings(outcome: RunOutcome) -> Trainings:
    trainings = read_trainings(outcome.store, outcome.record)
    assert trainings is not None
    return trainings


def summary(html: str) -> str:
    return html[html.index('<section id="summary">') : html.index('<section id="funnel">')]


def test_the_summary_comes_first_and_compares_the_decay(outcome: RunOutcome) -> None:
    html = render(outcome.record, collect(outcome.store, outcome.record))
    assert html.index('<section id="summary">') < html.index('<section id="funnel">')
    words = " ".join("".join(Page(summary(html)).words).split())
    kept = sum(
        entry["kept"]["documents"]
        for ledger in outcome.record["ledgers"]
        if ledger["step"] == "decontaminate"
        for entry in ledger["sources"].values()
    )
    read = next(ledger for ledger in outcome.record["ledgers"] if ledger["step"] == "read")
    entered = read["total"]["in"]["documents"]
    assert f"{count(kept)} of {count(entered)} records are kept ({share(kept, entered)})" in words
    assert "and 1 branch of it" in words
    assert f"{BRANCH}, minus {MAIN}" in words


def test_the_comparison_has_the_differences_of_the_table(trainings: Trainings) -> None:
    rows = {row["source"]: row for row in held_out_rows(trainings)}
    decay, branch = comparisons(trainings)
    assert {row.source: row.value for row in decay.rows} == {
        source: row["change"] for source, row in rows.items()
    }
    assert {row.source: row.value for row in branch.rows} == {
        source: row["branches"][0][1] for source, row in rows.items()
    }
    for comparison in (decay, branch):
        told = [int(number) for number in re.findall(r" on (\d+)", comparison.sentence)]
        verdicts = [row.verdict for row in comparison.rows]
        assert told == [
            verdicts.count(verdict) for verdict in (BETTER, WORSE, OPEN) if verdict in verdicts
        ]


@given(FIGURES, st.none() | st.floats(0, 100))
def test_a_verdict_needs_an_interval_without_zero(value: float, width: float | None) -> None:
    verdict = SourceDifference("a", HeldOutLoss(value, None, half_width=width)).verdict
    if verdict == OPEN:
        assert width is None or value - width <= 0 <= value + width
    else:
        assert width is not None
        assert (value + width < 0) if verdict == BETTER else (value - width > 0)


@given(st.lists(st.tuples(FIGURES, st.none() | st.floats(0, 10)), min_size=1, max_size=5))
def test_intervals_lie_inside_one_scale_in_their_order(
    values: list[tuple[float, float | None]],
) -> None:
    chart = interval_chart([Interval("x", value, width, "kept") for value, width in values])
    places = [
        float(place)
        for row in chart.rows
        for place in re.findall(r'class="dot kept" d="M([-\d.]+) ', row)
    ]
    assert len(places) == len(values)
    assert all(0 <= place <= 1000 for place in places)
    ordered = sorted(range(len(values)), key=lambda place: values[place][0])
    assert [places[place] for place in ordered] == sorted(places)
    assert all(0 <= float(place) <= 100 for place, _ in chart.marks)


def test_rows_show_figure_interval_and_verdict(trainings: Trainings, outcome: RunOutcome) -> None:
    html = summary(render({**outcome.record, "tokenizer": None}, Findings(trainings=trainings)))
    for comparison in comparisons(trainings):
        for row in comparison.rows:
            figure = uncertain(row.value.loss, row.value.half_width, plus=True)
            assert f'<span class="number">{figure}</span>' in html
            assert f">{row.verdict}</span>" in html


def test_a_hostile_name_stays_text(trainings: Trainings, outcome: RunOutcome) -> None:
    branch = dataclasses.replace(trainings.branches[0], name=SCRIPT)
    found = Findings(trainings=dataclasses.replace(trainings, branches=(branch,)))
    html = summary(render({**outcome.record, "tokenizer": None}, found))
    assert SCRIPT not in html
    assert f"{SCRIPT}, minus {MAIN}" in "".join(Page(html).words)


def test_without_a_training_nothing_is_compared(outcome: RunOutcome, trainings: Trainings) -> None:
    assert comparisons(None) == []
    level = dataclasses.replace(trainings, branches=(), stable_steps=trainings.main.last_step)
    assert comparisons(level) == []
