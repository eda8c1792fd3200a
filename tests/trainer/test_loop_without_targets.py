"""Steps without a target make no update, whatever stops and branches a training, on both paths of
the optimizer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from artifacts.fingerprints import canonical_json
from mixtures.freeze.freeze import Plan
from mixtures.spec.spec import Phase
from pipelines.commands.terminal.comparison import branch_rows
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus, web, write_shards
from tests.trainer.loop_runs import BATCH, plan
from tests.trainer.test_loop_recorded import rewritten
from trainer.checkpoints.checkpoint import Checkpoint, at_step, latest
from trainer.loop.branch import branch, branch_plan
from trainer.loop.metrics import flat, read_series
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.loop.training import TrainOutcome
from trainer.optimizer.rule import OPTIMIZER_RULE, UpdateCount

SILENT, LOUD = False, True
MODEL = ModelSettings(width=16, layers=1, heads=1, kv_heads=1, head_dim=16, ff=16)


@pytest.fixture(scope="module")
def half_silent(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The corpus, and a source of which no token is a target."""
    texts = pa.array(web(5, 200), pa.large_string())
    tokens = corpus.tokenizer.encode(texts, eos=True)
    spans = pa.list_(pa.struct([("start", pa.uint32()), ("end", pa.uint32())]))
    folder = tmp_path_factory.mktemp("silent") / "silent"
    write_shards(folder, "silent", tokens, pa.array([[]] * len(tokens), spans), corpus.tokenizer)
    return dataclasses.replace(corpus, folders={**corpus.folders, "silent": folder})


def settings(precision: str) -> TrainSettings:
    return loop_runs.settings(
        precision=precision, device="cpu", schedule={"peak": 0.02, "warmup": 2},
        checkpoint_every=1000, validate_every=1000,
    )  # fmt: skip


def phases(steps: Sequence[bool]) -> list[Phase]:
    """A phase of a step each, that has targets or none."""
    return [
        Phase(name=f"p{number}", tokens=BATCH, weights={"web" if loud else "silent": 1.0})
        for number, loud in enumerate(steps)
    ]


def run(corpus: Corpus, folder: Path, frozen: Plan, precision: str, **more: Any) -> TrainOutcome:
    options = {"model": MODEL, "validation": None, **more}
    return loop_runs.run(corpus, folder, plan=frozen, settings=settings(precision), **options)


def state(found: Checkpoint | None) -> tuple[bytes, bytes, UpdateCount | None]:
    assert found is not None
    names = ("weights.safetensors", "moments.safetensors")
    return *(found.read(name) for name in names), found.state.optimizer


def check_stops_and_branches(
    corpus: Corpus,
    folder: Path,
    precision: str,
    steps: Sequence[bool],
    tail: Sequence[bool],
    leaves: int,
    stops: Sequence[int],
) -> None:
    """A run stopped at ``stops`` and left by a branch after ``leaves`` steps against one that never
    stopped, of the branch's plan.
    """
    frozen = plan(corpus, *phases(steps))
    for stop in [*sorted(stop for stop in stops if stop < leaves), leaves]:
        run(corpus, folder / "run", frozen, precision, until_step=stop)
    start = at_step(folder / "run", leaves)
    branched = branch_plan(start, phases(tail), corpus.folders)
    run(corpus, folder / "whole", branched, precision)
    for stop in [*sorted(stop for stop in stops if leaves < stop < branched.steps), None]:
        run(corpus, folder / "branch", branched, precision, start=start, until_step=stop)
    expected = state(latest(folder / "whole"))
    assert state(latest(folder / "branch")) == expected
    made = sum([*steps[:leaves], *tail])
    assert expected[2] == UpdateCount(rule=OPTIMIZER_RULE, updates=made)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_without_targets_stops_and_a_branch_leave_no_trace(
    half_silent: Corpus, tmp_path: Path, precision: str
) -> None:
    steps, tail = [LOUD, SILENT, LOUD, SILENT], [SILENT, LOUD, LOUD]
    check_stops_and_branches(half_silent, tmp_path, precision, steps, tail, 4, [2, 5])


@pytest.mark.slow
@examples(max_examples=200)
@given(
    precision=st.sampled_from(["fp32", "bf16"]),
    steps=st.lists(st.booleans(), min_size=1, max_size=5),
    tail=st.lists(st.booleans(), min_size=1, max_size=3),
    leaves=st.integers(1, 5),
    stops=st.sets(st.integers(1, 7), max_size=3),
)
def test_any_steps_without_targets_stops_and_branches_leave_no_trace(
    half_silent: Corpus,
    tmp_path_factory: pytest.TempPathFactory,
    precision: str,
    steps: list[bool],
    tail: list[bool],
    leaves: int,
    stops: set[int],
) -> None:
    folder, leaves = tmp_path_factory.mktemp("case"), min(leaves, len(steps))
    check_stops_and_branches(half_silent, folder, precision, steps, tail, leaves, sorted(stops))


@pytest.mark.parametrize(("precision", "counted"), [("fp32", 4), ("bf16", 5)])
def test_a_checkpoint_that_records_no_count_goes_on_under_the_first_rule(
    half_silent: Corpus, tmp_path: Path, precision: str, counted: int
) -> None:
    frozen = plan(half_silent, *phases([LOUD, SILENT, LOUD, SILENT, LOUD]))
    for name in ("straight", "stopped"):
        found = run(half_silent, tmp_path / name, frozen, precision, until_step=3).checkpoint
        assert found.state.optimizer == UpdateCount(updates=2)
        older = rewritten(found, optimizer=None)
        assert (older.state.optimizer, b"optimizer" in older.state.to_json()) == (None, False)
    run(half_silent, tmp_path / "stopped", frozen, precision, until_step=4)
    for name in ("straight", "stopped"):
        run(half_silent, tmp_path / name, frozen, precision)
    expected = state(latest(tmp_path / "straight"))
    assert expected[2] == UpdateCount(rule=1, updates=counted)
    assert state(latest(tmp_path / "stopped")) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_without_targets_says_so_in_metrics_and_outcome(
    half_silent: Corpus, tmp_path: Path, precision: str
) -> None:
    frozen = plan(half_silent, *phases([LOUD, SILENT]))
    outcome = run(half_silent, tmp_path, frozen, precision)
    loud, silent = read_series(tmp_path)
    assert loud["loss"] > 0
    nothing = {"tokens": 0.0, "loss": None, "bits_per_byte": None}
    assert (silent["loss"], silent["bits_per_byte"], silent["targets"]) == (None, None, 0)
    assert (silent["sources"], silent["grad_norm"]) == ({"silent": nothing}, 0.0)
    assert (outcome.step, outcome.loss) == (2, None)
    assert flat({**silent, "sources": {"silent": {"loss": math.nan, "tokens": 0}}}) == [
        ("tokens", 2.0 * BATCH), ("lr", silent["lr"]), ("grad_norm", 0.0), ("targets", 0.0),
        ("sources/silent/tokens", 0.0),
    ]  # fmt: skip


def test_a_held_out_source_without_targets_has_no_loss_and_no_change(
    half_silent: Corpus, tmp_path: Path
) -> None:
    start = run(half_silent, tmp_path / "run", plan(half_silent, *phases([LOUD])), "fp32")
    held = {"silent": half_silent.folders["silent"], "web": half_silent.held_out["web"]}
    comparison = branch(
        start.checkpoint, {"more": phases([LOUD])}, half_silent.folders, tmp_path, validation=held
    )
    rows = {(row["branch"], row["source"]): row for row in comparison.rows()}
    assert canonical_json(list(rows.values()))
    for name in ("start", "more"):
        row = rows[name, "silent"]
        assert (row["loss"], row["bits_per_byte"], row["change"]) == (None, None, None)
        assert rows[name, "web"]["loss"] > 0
    silent = [line[2:] for line in branch_rows(comparison)[1] if line[1] == "silent"]
    assert silent == [("-", "-", "-", "-")] * 2
