"""What report and terminal say about training: the metrics' own numbers, hostile words as text,
nothing where nothing was trained.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from mixtures.inspect.accounting import documents_shown, realised
from pipelines.commands.terminal.progress import TerminalProgress, print_outcome
from pipelines.commands.terminal.training import training_places
from pipelines.report.endings import held_out_rows, unequal_endings
from pipelines.report.findings import Findings, collect
from pipelines.report.line_chart import Band, Curve, line_chart, nice_marks
from pipelines.report.loss_points import of_sources, smoothed, thinned, whole
from pipelines.report.numerals import (
    byte_size,
    count,
    operations,
    quantity,
    share,
    signed,
    uncertain,
)
from pipelines.report.page import render
from pipelines.report.recipe_stages import is_finished, last_step
from pipelines.report.training_metrics import (
    MAIN,
    Ending,
    Line,
    Trainings,
    phase_shares,
    read_trainings,
)
from pipelines.report.training_section import training_section
from pipelines.run.driver import RunOutcome
from pipelines.stages.step_names import is_training
from pipelines.training.watch import TrainingWatch
from tests.pipelines.report_corpus import IMAGE, SCRIPT, TURNED
from tests.pipelines.test_report_page import Page
from trainer.costs.compute_costs import exact_flops_per_token, flops_per_token
from trainer.loop.run import StepReport
from trainer.objectives.objective import Figures
from trainer.shapes.presets import preset

BRANCH = "without-instructions"


@pytest.fixture(scope="module")
def outcome(tiny: tuple[Path, RunOutcome]) -> RunOutcome:
    return tiny[1]


@pytest.fixture(scope="module")
def found(outcome: RunOutcome) -> Findings:
    return collect(outcome.store, outcome.record)


@pytest.fixture(scope="module")
def trainings(found: Findings) -> Trainings:
    assert found.trainings is not None
    return found.trainings


@pytest.fixture(scope="module")
def html(outcome: RunOutcome, found: Findings) -> str:
    return render(outcome.record, found)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html[html.index('<section id="training">') : html.index('<section id="cost">')])


def lines(outcome: RunOutcome, folder: str, series: str) -> list[dict[str, Any]]:
    path = Path(outcome.store.full(f"{folder}/metrics/{series}.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def measured(outcome: RunOutcome, folder: str, step: int) -> dict[str, dict[str, float]]:
    (line,) = [line for line in lines(outcome, folder, "validation") if line["step"] == step]
    sources: dict[str, dict[str, float]] = line["sources"]
    return sources


def spread(groups: list[list[float]]) -> float:
    """Half of a 95 % interval of the groups' mean by tokens, by another library's t."""
    tokens, losses = np.array(groups).T
    mean = np.average(losses, weights=tokens)
    variance = np.var(tokens * (losses - mean), ddof=0) * len(tokens) / (len(tokens) - 1)
    error = float(np.sqrt(variance * len(tokens)) / tokens.sum())
    return error * float(stats.t.ppf(0.975, len(tokens) - 1))


def test_held_out_losses_equal_the_metrics(outcome: RunOutcome, page: Page) -> None:
    training, branch = outcome.record["training"], outcome.record["branches"][BRANCH]
    before = measured(outcome, training["folder"], branch["from_step"])
    after, other = (measured(outcome, part["folder"], part["steps"]) for part in (training, branch))
    assert set(before) == set(after) == set(other)
    assert "sft" in before
    for source in before:
        a, b, c = (losses[source] for losses in (before, after, other))
        assert [group[0] for group in a["groups"]] == [group[0] for group in c["groups"]]
        cells = [uncertain(one["loss"], spread(one["groups"])) for one in (a, b, c)]
        changes = []
        for one, base in ((b, a), (c, b)):
            pairs = zip(one["groups"], base["groups"], strict=True)
            groups = [[tokens, loss - former] for (tokens, loss), (_, former) in pairs]
            changes.append(uncertain(one["loss"] - base["loss"], spread(groups), plus=True))
        bits = [one["bits_per_byte"] for one in (a, b, c)]
        assert page.row(source, 7) == [
            source,
            count(round(a["tokens"])),
            f"{cells[0]} | {bits[0]:.4f}",
            f"{cells[1]} | {bits[1]:.4f}",
            f"{changes[0]} | {signed(bits[1] - bits[0], 4)}",
            f"{cells[2]} | {bits[2]:.4f}",
            f"{changes[1]} | {signed(bits[2] - bits[1], 4)}",
        ]


def test_a_difference_is_surer_than_the_losses_it_is_of(trainings: Trainings) -> None:
    """Both sides are measured on the same documents."""
    rows = held_out_rows(trainings)
    widths = [(row["change"].half_width, row["after"].half_width) for row in rows]
    assert sum(change for change, _ in widths) < sum(loss for _, loss in widths) / 2


def test_the_windows_that_cut_conversations_are_said(found: Findings, html: str) -> None:
    (cut,) = found.cut
    assert (cut.source, cut.window) == ("sft", 128)
    assert cut.longer > 0.9 * cut.documents
    assert cut.sentence.replace("'", "&#39;") in html


def test_endings_that_share_no_source_are_said_not_to_compare(
    outcome: RunOutcome, found: Findings, trainings: Trainings, html: str
) -> None:
    assert "sources that every ending shows, since" in html
    (branch,) = trainings.branches
    last = branch.train[-1]["sources"]
    alone = tuple(
        {**line, "sources": {"alone": next(iter(last.values()))}} for line in branch.train
    )
    apart = dataclasses.replace(trainings, branches=(dataclasses.replace(branch, train=alone),))
    told = render(outcome.record, dataclasses.replace(found, trainings=apart))
    assert "sources that every ending shows, since" not in told
    assert "No source is shown by every ending, so these losses are over different mixtures" in told


def without_decay(trainings: Trainings) -> Trainings:
    """The same with a branch whose rate stays, and which showed a step less."""
    (branch,) = trainings.branches
    assert branch.plan is not None
    segments = [
        segment.model_copy(update={"decay": False}) if segment.decay else segment
        for segment in branch.plan.segments
    ]
    plan = branch.plan.model_copy(update={"segments": tuple(segments)})
    shorter = dataclasses.replace(branch, plan=plan, train=branch.train[:-1])
    return dataclasses.replace(trainings, branches=(shorter,))


def test_endings_that_are_not_equal_are_said_so(outcome: RunOutcome, trainings: Trainings) -> None:
    assert unequal_endings(trainings) == []
    (said,) = unequal_endings(without_decay(trainings))
    assert said == (
        f"{BRANCH} and main are not equal: 4,096 against 5,120 tokens after they part, the "
        f"learning rate of main decays, that of {BRANCH} does not, {BRANCH} is at step 24 of 25"
    )
    section = training_section(outcome.record, without_decay(trainings))
    assert section is not None
    assert section["unequal"] == [said]
    found = Findings(trainings=without_decay(trainings))
    assert said in render({**outcome.record, "tokenizer": None}, found)


def test_branches_are_measured_as_the_run_recorded_them(
    outcome: RunOutcome, trainings: Trainings
) -> None:
    recorded = outcome.record["branches"][BRANCH]["validation"]
    (branch,) = trainings.branches
    assert {name: loss.loss for name, loss in branch.held_out(branch.last_step).items()} == {
        name: value["loss"] for name, value in recorded.items()
    }


def test_shares_equal_the_recipe_the_plan_and_what_the_trainer_counted(
    outcome: RunOutcome, trainings: Trainings
) -> None:
    (branch,) = trainings.branches
    phases = {
        (part.ending, part.phase): part
        for ending in trainings.endings
        for part in phase_shares(ending)
    }
    assert list(phases) == [(MAIN, "stable"), (MAIN, "decay"), (BRANCH, "decay")]
    recipe = outcome.record["recipe"]
    asked = {(MAIN, phase["name"]): phase for phase in recipe["mixture"]["phases"]} | {
        (BRANCH, "decay"): recipe["branches"][0]["phases"][0]
    }
    for (ending, phase), part in phases.items():
        counted: dict[str, float] = {}
        for line in (trainings.main if ending == MAIN else branch).train:
            if part.first_step <= line["step"] <= part.last_step:
                for name, value in line["sources"].items():
                    counted[name] = counted.get(name, 0) + value["tokens"]
        assert {entry.source: entry.targets for entry in part.shares} == counted
        assert {entry.source: entry.planned for entry in part.shares} == pytest.approx(
            asked[ending, phase]["weights"]
        )
        assert sum(entry.planned_tokens for entry in part.shares) == pytest.approx(
            asked[ending, phase]["tokens"]
        )
        assert sum(entry.realised for entry in part.shares) == pytest.approx(1)
        for entry in part.shares:
            if entry.source == "sft":
                assert 0 < entry.targets < entry.tokens, (
                    "of conversations only the assistant's tokens are targets"
                )
            else:
                assert entry.targets == entry.tokens
            assert entry.realised == entry.tokens / part.tokens
    whole = outcome.record["training"]["sources"]
    for source in whole:
        shown = [
            entry
            for (ending, _), part in phases.items()
            if ending == MAIN
            for entry in part.shares
            if entry.source == source
        ]
        assert sum(entry.tokens for entry in shown) == whole[source]["tokens"]
        assert sum(entry.epochs for entry in shown) == pytest.approx(
            whole[source]["epochs"], abs=1e-4
        )


def test_share_rows_are_on_the_page(trainings: Trainings, page: Page) -> None:
    rows = [row for row in page.rows if len(row) == 8]
    for part in (part for ending in trainings.endings for part in phase_shares(ending)):
        for entry in part.shares:
            cells = [
                entry.source,
                share(entry.planned, 1),
                share(entry.realised, 1),
                count(round(entry.planned_tokens)),
                count(entry.tokens),
            ]
            assert any(
                row[:5] == cells and row[6] == share(entry.targets, entry.tokens) for row in rows
            ), cells


def test_cost_is_the_sum_of_the_updates(
    outcome: RunOutcome, trainings: Trainings, html: str
) -> None:
    page = Page(html[html.index('<section id="cost">') : html.index('<section id="recipe">')])
    model = {
        name: value for name, value in outcome.record["recipe"]["model"].items() if name != "preset"
    }
    config = preset("tiny", **{**model, "vocab_size": outcome.record["tokenizer"]["vocab_size"]})
    for ending, facts in zip(
        trainings.endings,
        (outcome.record["training"], outcome.record["branches"][BRANCH]),
        strict=True,
    ):
        spent = sum(line["seconds"] for line in lines(outcome, facts["folder"], "time"))
        updates = facts["steps"] - facts.get("from_step", 0)
        tokens = updates * outcome.record["recipe"]["train"]["batch_tokens"]
        folders = sorted(Path(outcome.store.full(facts["folder"])).glob("checkpoints/step-*"))
        row = next(
            row
            for row in page.rows
            if len(row) == 9 and row[0].split(" | ")[0] == ending.name and row[1] == count(updates)
        )
        assert row[2] == count(tokens)
        assert row[4] == count(round(tokens / spent))
        exact, paper = exact_flops_per_token(config, 128) * tokens, flops_per_token(config) * tokens
        assert row[5] == f"{operations(exact)} | 6 N D: {operations(paper)}"
        assert row[6] == operations(exact / spent)
        assert row[7] == byte_size(
            max(line["peak_bytes"] for line in lines(outcome, facts["folder"], "time"))
        )
        assert row[8].split(" | ")[0] == count(len(folders))
        assert str(folders[-1].relative_to(outcome.store.root)) in "".join(page.words)
        assert ending.checkpoint_bytes == sum(
            file.stat().st_size for folder in folders for file in folder.iterdir()
        )


def test_every_training_has_a_ledger_and_its_row_beside_the_steps_of_the_corpus(
    outcome: RunOutcome, html: str
) -> None:
    page = Page(html[html.index('<section id="cost">') : html.index('<section id="recipe">')])
    made = [ledger for ledger in outcome.record["ledgers"] if is_training(ledger["step"])]
    assert [ledger["step"] for ledger in made] == ["train", f"branch {BRANCH}"]
    for ledger in made:
        assert (ledger["units"], ledger["computed"], ledger["sources"]) == (1, 1, {})
        assert outcome.record["training"]["folder"] == f"training/{ledger['fingerprint']}"
        assert page.row(ledger["step"], 6)[-1] == byte_size(ledger["peak_bytes"])
        assert (
            json.loads(
                next(
                    Path(outcome.store.root, "ledgers").glob(
                        f"*-{ledger['step'].replace(' ', '-')}.json"
                    )
                ).read_text()
            )
            == ledger
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999, "999 FLOP"),
        (37.1e9, "37.1 GFLOP"),
        (8.4321e12, "8.43 TFLOP"),
        (9.9999e17, "1.00 EFLOP"),
    ],
)
def test_operations(value: float, text: str) -> None:
    assert operations(value) == text


def test_every_prompt_is_shown_with_what_was_said(outcome: RunOutcome, page: Page) -> None:
    words = "".join(page.words)
    assert outcome.record["samples"]
    for sample in outcome.record["samples"]:
        for when in ("before", "after"):
            assert sample["prompt"] + sample[when][:12].split("\n")[0].rstrip() in words


def test_a_sample_that_lost_sight_of_its_beginning_says_so(
    outcome: RunOutcome, trainings: Trainings
) -> None:
    record = {**outcome.record, "tokenizer": None}
    cut = [{**sample, "unseen": 12} for sample in record["samples"]]
    said = "longer than the model looks back: 12 tokens were out of its sight"
    assert render({**record, "samples": cut}, Findings(trainings=trainings)).count(said) == len(cut)
    assert "out of its sight" not in render(record, Findings(trainings=trainings))


def test_the_endings_leave_from_one_point(outcome: RunOutcome, trainings: Trainings) -> None:
    section = training_section(outcome.record, trainings)
    assert section is not None
    paths = re.findall(r'class="(line kept|dashed s2)" d="M([^L]+)L', str(section["decays"].svg))
    assert [style for style, _ in paths] == ["line kept", "dashed s2"]
    assert paths[0][1] == paths[1][1]
    assert section["compared"] == ["code", "web-en", "web-zh"], "sft is not in every ending"
    assert [label for _, label in section["decay_legend"]] == ["before the decay", MAIN, BRANCH]


def _hostile(outcome: RunOutcome, trainings: Trainings) -> str:
    plan = trainings.main.plan
    assert plan is not None
    named = plan.model_copy(
        update={
            "segments": tuple(
                part.model_copy(update={"name": SCRIPT + part.name}) for part in plan.segments
            )
        }
    )
    main = dataclasses.replace(trainings.main, plan=named)
    samples = [
        {
            "prompt": SCRIPT + TURNED,
            "before": IMAGE + "\n" * 40,
            "after": "</mark></section>" + " " * 40 + IMAGE,
        }
    ]
    record = {**outcome.record, "tokenizer": None, "samples": samples}
    return render(record, Findings(trainings=dataclasses.replace(trainings, main=main)))


def test_hostile_words_stay_text(outcome: RunOutcome, trainings: Trainings) -> None:
    html = _hostile(outcome, trainings)
    page = Page(html)
    assert not {"script", "img", "a:script", "iframe"} & {tag for tag, _ in page.elements}
    assert not [
        name for _, attributes in page.elements for name in attributes if name.startswith("on")
    ]
    assert sum(tag == "section" for tag, _ in page.elements) == html.count("</section>")
    words = "".join(page.words)
    assert f"{SCRIPT}stable" in words
    assert IMAGE in words
    assert "[40 × white space]" in words
    assert "</mark></section>" in words
    assert "\u202e" not in html
    assert "\\u202e" in words


def test_styles_hold_nothing_but_places(html: str) -> None:
    page = Page(html)
    allowed = set("lefttopwidth:;%-.0123456789")
    assert all(
        set(str(attributes["style"])) <= allowed
        for _, attributes in page.elements
        if "style" in attributes
    )


def test_without_training_nothing_speaks_of_it(outcome: RunOutcome, found: Findings) -> None:
    untrained = {
        **outcome.record,
        "training": None,
        "branches": {},
        "samples": [],
        "reached": "shards",
    }
    older = {
        key: value
        for key, value in untrained.items()
        if key not in ("training", "branches", "samples", "plan")
    }
    alone = dataclasses.replace(found, trainings=None)
    html = render(untrained, alone)
    assert html == render(older, alone)
    assert read_trainings(outcome.store, untrained) is None
    assert read_trainings(outcome.store, older) is None
    for word in ("#training", "Trained on", "svg.lines", "Run report"):
        assert word not in html
    assert "The run has reached the step “shards”." in html, "its recipe goes on to training"


def test_a_run_that_reached_its_end_does_not_say_where_it_is(
    html: str, outcome: RunOutcome
) -> None:
    assert "The run has reached the step" not in html
    recipe = outcome.record["recipe"]
    assert [
        last_step({"recipe": {**recipe, **less}})
        for less in ({}, {"mixture": None}, {"tokenizer": None})
    ] == [
        "train",
        "shards",
        "corpus",
    ]
    assert is_finished(outcome.record)


def test_a_run_whose_metrics_are_gone_still_has_a_report(
    outcome: RunOutcome, found: Findings
) -> None:
    moved = {
        **outcome.record,
        "training": {**outcome.record["training"], "folder": "training/moved"},
        "branches": {},
    }
    assert read_trainings(outcome.store, moved) is None


@pytest.mark.parametrize("branches", [False, True])
def test_a_run_that_does_not_decay_has_its_end_only(
    outcome: RunOutcome, trainings: Trainings, branches: bool
) -> None:
    level = dataclasses.replace(
        trainings,
        stable_steps=trainings.main.last_step,
        branches=trainings.branches if branches else (),
    )
    html = render({**outcome.record, "tokenizer": None}, Findings(trainings=level))
    assert "before the decay" not in html
    assert (f">{MAIN}<small>" if branches else ">at the end<small>") in html


def test_a_branch_whose_checkpoints_are_gone_is_still_measured(
    outcome: RunOutcome, trainings: Trainings
) -> None:
    bare = dataclasses.replace(trainings.branches[0], plan=None, checkpoints=(), checkpoint_bytes=0)
    html = render(
        {**outcome.record, "tokenizer": None},
        Findings(trainings=dataclasses.replace(trainings, branches=(bare,))),
    )
    assert f"{BRANCH}: decay" not in html
    assert Page(html).row("sft", 7)


def test_the_same_record_gives_the_same_section(outcome: RunOutcome, html: str) -> None:
    assert render(outcome.record, collect(outcome.store, outcome.record)) == html


# -- curves ---------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 500)), min_size=1, max_size=40),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_smoothing_is_the_weighted_mean_over_the_last_steps(
    values: list[tuple[float, int]], window: int
) -> None:
    smooth = smoothed(
        [(float(place), loss, float(weight)) for place, (loss, weight) in enumerate(values)], window
    )
    assert [tokens for tokens, _ in smooth] == list(range(len(values)))
    for place, (_, mean) in enumerate(smooth):
        last = values[max(0, place + 1 - window) : place + 1]
        assert mean == pytest.approx(
            sum(loss * weight for loss, weight in last) / sum(weight for _, weight in last),
            abs=1e-9,
        )


def lines_of(targets: list[int], older: bool) -> list[Line]:
    """Lines of steps with so many targets, as a run writes them; one without had loss 0 once."""
    return [
        {
            "step": step,
            "tokens": 10 * step,
            "targets": count,
            "loss": 2.0 + step if count else 0.0 if older else None,
            "sources": {"chat": {"tokens": count, "loss": 2.0 + step if count else None}},
        }
        for step, count in enumerate(targets, 1)
    ]


@given(st.lists(st.integers(0, 3), max_size=30), st.booleans(), st.integers(1, 8))
def test_a_step_without_targets_is_no_point_of_a_curve(
    targets: list[int], older: bool, window: int
) -> None:
    lines = lines_of(targets, older)
    for values in (whole(lines), of_sources(lines, {"chat"})):
        points = smoothed(values, window)
        assert [tokens for tokens, _ in points] == [
            line["tokens"] for line in lines if line["targets"]
        ]
        assert all(2 < loss < 2.1 + len(targets) for _, loss in [*points, *thinned(values)])


@pytest.mark.parametrize("older", [False, True])
def test_steps_without_targets_are_counted_and_draw_nothing(
    outcome: RunOutcome, trainings: Trainings, older: bool
) -> None:
    main = trainings.main
    silent = {"targets": 0, "loss": 0.0 if older else None, "sources": {}}
    train = [{**line, **silent} if line["step"] in (1, 2) else line for line in main.train[:-1]]
    train.append({**main.train[-1], **silent})
    quiet = dataclasses.replace(main, train=tuple(train))
    assert quiet.last_loss is None
    bare = {**outcome.record, "tokenizer": None}
    html = render(bare, Findings(trainings=dataclasses.replace(trainings, main=quiet)))
    section = html[html.index('<section id="training">') : html.index('<section id="cost">')]
    assert "The last step had no targets. 3 steps had no targets and made no update." in section
    assert re.search(r"\bnan\b", section) is None
    (place, *_) = training_places(dataclasses.replace(trainings, main=quiet))
    assert place[1].endswith(", the last step without targets")


def test_long_curves_are_thinned_to_means_that_end_where_they_end() -> None:
    smooth = smoothed([(float(place), float(place % 2), 1.0) for place in range(10_000)], 1)
    assert len(smooth) == 600
    assert smooth[-1][0] == 9999
    assert all(abs(mean - 0.5) < 0.04 for _, mean in smooth)


@given(st.floats(-1e6, 1e12), st.floats(1e-6, 1e12), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_marks_are_few_and_inside(low: float, span: float, wanted: int) -> None:
    marks = nice_marks(low, low + span, wanted)
    assert len(marks) <= 2 * wanted + 1
    assert marks == sorted(set(marks))
    assert (
        all(low - span * 1e-6 <= mark <= low + span * (1 + 1e-6) for mark in marks)
        or not span > abs(low) * 1e-9
    )


def test_places_follow_the_values() -> None:
    chart = line_chart(
        [Curve("a", [(0.0, 1.0), (50.0, 3.0)], "kept")],
        (0.0, 100.0),
        (1.0, 3.0),
        [Band("late", 50.0, 100.0, True)],
    )
    right = 100 / 1.015
    assert 'd="M0 1000L' in chart.svg
    assert f"L{10 * right / 2:.2f} 0" in chart.svg
    assert chart.bands == [(f"{right / 2:.2f}", f"{100 - right / 2:.2f}", "late")]
    assert dict(chart.x_marks)["0"] == "0"
    assert [text for _, text in chart.y_marks] == ["1", "1.5", "2", "2.5", "3"]


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (512, "512"), (999, "999"), (1024, "1.02 K"), (20_480, "20.5 K"), (999_600, "1 M"),
    (1_228_800, "1.23 M"), (307_200, "307 K"), (6e9, "6 B"), (3e15, "3,000 T"),
])  # fmt: skip
def test_quantities(value: float, text: str) -> None:
    assert quantity(value) == text


# -- terminal -------------------------------------------------------------------------------------


def console(width: int = 100) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def said(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_the_outcome_tells_of_the_training(outcome: RunOutcome, trainings: Trainings) -> None:
    on = console()
    print_outcome(on, outcome, recipe="somewhere/tiny.yaml")
    text = said(on)
    for ending in trainings.endings:
        last = lines(outcome, ending.folder, "train")[-1]["loss"]
        assert f"{ending.checkpoint}  " in text
        assert f"last loss {last:.4f}" in text
        assert Path(outcome.store.full(str(ending.checkpoint))).is_dir()
    (branch,) = trainings.branches
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    before = measured(outcome, trainings.main.folder, trainings.stable_steps)
    after, other = (
        measured(outcome, ending.folder, ending.last_step) for ending in (trainings.main, branch)
    )
    for source in before:
        a, b, c = (losses[source] for losses in (before, after, other))
        figures = [uncertain(x["loss"], spread(x["groups"])).split()[0] for x in (a, b, c)]
        (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == [source]][-1:]
        assert line[:4] == [source, count(round(a["tokens"])), *figures[:2]]
        assert line[6] == figures[2]
        assert float(line[4]) == pytest.approx(b["loss"] - a["loss"], abs=0.05)
        assert float(line[7]) == pytest.approx(c["loss"] - b["loss"], abs=0.05)
        assert line[5][0] == line[8][0] == "±"
    assert rows["nats/token"][-2:] == [BRANCH, "difference"]
    assert "go on to" not in text
    assert f"windtunnel generate {outcome.store.full(str(trainings.main.checkpoint))} TEXT" in text


def test_a_run_before_its_training_names_the_recipe_that_goes_on(outcome: RunOutcome) -> None:
    on = console()
    untrained = {
        **outcome.record,
        "training": None,
        "branches": {},
        "samples": [],
        "reached": "shards",
    }
    print_outcome(on, dataclasses.replace(outcome, record=untrained), recipe="some where/tiny.yaml")
    (line,) = [line for line in said(on).splitlines() if "go on to" in line]
    assert line.split("  ")[1] == "windtunnel run 'some where/tiny.yaml'"
    assert line.endswith("go on to training")


def test_branches_that_do_not_fit_are_said_to_be_in_the_report(
    outcome: RunOutcome, trainings: Trainings
) -> None:
    from pipelines.commands.terminal.training import held_out_table

    many: tuple[Ending, ...] = tuple(
        dataclasses.replace(trainings.branches[0], name=f"another-ending-{place}")
        for place in range(4)
    )
    for width in (60, 98, 140, 300):
        found = held_out_table(dataclasses.replace(trainings, branches=many), width)
        assert found is not None
        table, left_out = found
        assert (len(table.columns) - 5) // 2 + left_out == len(many)
        on = console(width)
        on.print(table)
        assert max(len(line.rstrip()) for line in said(on).splitlines()) <= width
        assert "…" not in said(on)


def report(step: int, steps: int, loss: float | None, lr: float) -> StepReport:
    """A step of 100 tokens that took two seconds."""
    return StepReport(
        step, steps, step * 100, loss, lr, 1.0, Figures(), step_tokens=100, seconds=2.0
    )


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_training_is_told_in_steps_without_a_line_per_note() -> None:
    clock, on = Clock(), console()
    with TerminalProgress(on, clock) as progress:
        watch = TrainingWatch(progress)
        for step in range(1, 31):
            watch("train", report(step, 30, 8.0 - step / 10, 0.01))
            clock.now += 2.0
            if step == 11:
                progress.beat()
        for step in range(21, 31):
            watch("branch plain", report(step, 30, 5.0, 0.001))
    assert said(on).splitlines() == [
        "train: 30 steps",
        "train: step 1 of 30, loss 7.900, learning rate 0.01000, 50 tokens/s",
        "train: step 11 of 30 after 22 s, loss 6.900, learning rate 0.01000, 50 tokens/s, about 42 s left",
        "train: done in 58 s, 30 steps, loss 5.000, 50 tokens/s",
        "branch plain: 10 steps (20 of 30 are there already)",
        "branch plain: step 21 of 30, loss 5.000, learning rate 0.00100, 50 tokens/s",
        "branch plain: done in 0.0 s, 30 steps, loss 5.000, 50 tokens/s",
    ]


def test_a_step_without_targets_is_told_as_one() -> None:
    on = console()
    with TerminalProgress(on, Clock()) as progress:
        watch = TrainingWatch(progress)
        for step, loss in ((1, None), (2, 5.0)):
            watch("train", report(step, 2, loss, 0.01))
    assert said(on).splitlines()[1:] == [
        "train: step 1 of 2, no targets, learning rate 0.01000, 50 tokens/s",
        "train: done in 0.0 s, 2 steps, loss 5.000, 50 tokens/s",
    ]


def test_a_training_asked_to_stop_early_ends_with_its_line() -> None:
    on = console()
    with TerminalProgress(on, Clock()) as progress:
        watch = TrainingWatch(progress, until_step=3)
        for step in (2, 3):
            watch("train", report(step, 30, 5.0, 0.01))
    assert said(on).splitlines()[0] == "train: 2 steps (1 of 3 are there already)"
    assert said(on).splitlines()[-1] == "train: done in 0.0 s, 3 steps, loss 5.000, 50 tokens/s"


def test_other_notes_during_a_training_have_their_line() -> None:
    on = console()
    with TerminalProgress(on, Clock()) as progress:
        progress.phase("train", 2, 0, 0)
        progress.note("something else")
    assert "note: something else" in said(on)


def test_on_a_terminal_a_training_ends_in_one_line_with_its_loss() -> None:
    on = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with TerminalProgress(on, Clock()) as progress:
        watch = TrainingWatch(progress)
        for step in range(1, 51):
            watch("train", report(step, 50, 4.25, 0.01))
    ended = [line.split() for line in said(on).splitlines() if "50 steps" in line]
    assert [words[-9:] for words in ended] == [
        ["train", "0.0", "s", "50", "steps,", "loss", "4.250,", "50", "tokens/s"]
    ]
    assert "note:" not in said(on)


def test_what_each_source_has_shown_by_the_end_of_each_phase_is_told_exactly(
    outcome: RunOutcome, found: Findings, trainings: Trainings, html: str
) -> None:
    folders = {
        name: outcome.store.full(entry["folder"])
        for name, entry in outcome.record["shards"].items()
    }
    assert [(end.ending, end.phase, end.step) for end in found.reached] == [
        ("main", "stable", 20),
        ("main", "decay", 25),
        (BRANCH, "decay", 25),
    ]
    plans = {ending.name: ending.plan for ending in trainings.endings}
    for end in found.reached:
        plan = plans[end.ending]
        assert plan is not None
        documents = documents_shown(plan, end.step, folders)
        wanted = [
            (part.source, part.tokens, part.epochs, documents[part.source])
            for part in realised(plan, end.step)
            if part.tokens
        ]
        assert [
            (row.source, row.tokens, row.epochs, row.documents) for row in end.sources
        ] == wanted
        assert sum(row.tokens for row in end.sources) == plan.tokens_before(end.step)
        assert all(0 < (row.documents or 0) <= row.available for row in end.sources)
    assert "Shown by the end of each phase" in html
    assert training_section(outcome.record, trainings) is not None
