"""Probes: no bit of a training changes, and no interruption leaves a trace in their lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.loader.loader import Loader
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, DECAY, LENGTH, MODEL, STABLE, plan, run, traces
from tests.trainer.pair_objective import BalancedModel, Pairs
from trainer.checkpoints.checkpoint import at_step, saved
from trainer.loop.metrics import read_series
from trainer.model import Model, init
from trainer.objectives.gradient import PartGradient, pending_loss
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import Place
from trainer.probes.attached import Attached
from trainer.probes.coordinates import Coordinates
from trainer.probes.dynamics import Dynamics
from trainer.probes.noise_scale import NoiseScale
from trainer.probes.probe import Probe, WatchedStep

STEPS = STABLE + DECAY


class Counting(Probe):
    """Says how many steps it has seen, which it has to remember."""

    def __init__(self, name: str = "counting") -> None:
        self._name, self.count = name, 0

    @property
    def name(self) -> str:
        return self._name

    def line(self, step: WatchedStep) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count}

    def state(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.count = int(state["count"]) if state else 0


def all_probes() -> list[Probe]:
    return [NoiseScale(), Dynamics(first=2), Coordinates(after=[0, 3, 7]), Counting()]


def probed(folder: Path) -> dict[str, bytes]:
    """What probes wrote: lines, and what checkpoints that were asked for keep of them."""
    store = Store(folder)
    lines = {probe.name: store.read(f"metrics/probe-{probe.name}.jsonl") for probe in all_probes()}
    kept = {
        f"{step}/state": at_step(store, step).read("probes.safetensors")
        for step in saved(store)
        if at_step(store, step).state.asked
    }
    return {**lines, **kept}


def differing(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Names under which two differ."""
    return sorted(name for name in {**one, **other} if one.get(name) != other.get(name))


@pytest.fixture(scope="module")
def straight(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run with all probes. Nobody may change it."""
    folder = tmp_path_factory.mktemp("straight")
    run(corpus, folder, probes=all_probes())
    return folder


def test_a_training_with_probes_has_the_bits_of_one_without(straight: Path, whole: Path) -> None:
    assert traces(straight) == traces(whole)
    files = {file.name for file in (straight / "metrics").iterdir()}
    without = {file.name for file in (whole / "metrics").iterdir()}
    assert files - without == {f"probe-{probe.name}.jsonl" for probe in all_probes()}
    assert "probes.safetensors" not in {file.name for file in whole.rglob("*")}


@pytest.mark.slow
@settings(max_examples=5)
@given(st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=3))
def test_lines_of_probes_do_not_depend_on_where_a_training_stopped(
    corpus: Corpus, straight: Path, tmp_path_factory: pytest.TempPathFactory, stops: list[int]
) -> None:
    folder, reused = tmp_path_factory.mktemp("stopped"), all_probes()
    for stop in [*sorted(stops), STEPS]:
        # an object may also be given again: nothing of it stays
        probes = all_probes() if stop % 2 else reused
        run(corpus, folder, until_step=stop, probes=probes)
    assert differing(probed(folder), probed(straight)) == []


def test_lines_after_the_checkpoint_are_made_again(corpus: Corpus, tmp_path: Path) -> None:
    def killed(report: Any) -> None:
        if report.step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(corpus, tmp_path, probes=all_probes(), on_step=killed)
    assert read_series(tmp_path, "probe-counting")[-1] == {"step": 9, "count": 9}
    outcome = run(corpus, tmp_path, probes=all_probes())
    assert outcome.first_step == 8
    counts = read_series(tmp_path, "probe-counting")
    assert counts == [{"step": step, "count": step} for step in range(1, STEPS + 1)]


def test_a_branch_goes_on_with_what_the_probes_of_its_trunk_knew(
    corpus: Corpus, straight: Path, tmp_path: Path
) -> None:
    stable = at_step(straight, STABLE)
    run(corpus, tmp_path, start=stable, probes=[Counting(), Dynamics()])
    assert read_series(tmp_path, "probe-counting")[0] == {"step": STABLE + 1, "count": STABLE + 1}
    there = read_series(straight, "probe-dynamics")
    assert read_series(tmp_path, "probe-dynamics") == there[-DECAY:]


def test_a_probe_that_comes_later_begins_there(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path, until_step=5)
    run(corpus, tmp_path, until_step=7, probes=[Counting()])
    lines = read_series(tmp_path, "probe-counting")
    assert lines == [{"step": 6, "count": 1}, {"step": 7, "count": 2}]


@pytest.mark.parametrize(("names", "found"), [(["a", "a"], "a"), (["a", "../b"], "../b")])
def test_a_name_is_a_files_and_of_one_probe(names: list[str], found: str) -> None:
    with pytest.raises(UserError) as error:
        Attached(tuple(Counting(name) for name in names))
    assert (error.value.found, error.value.field) == (found, "probes")


def fresh_model(corpus: Corpus, kind: type[Model] = Model) -> Model:
    config = MODEL.config(corpus.tokenizer.vocab_size)
    model = kind(config)
    init(model, config, 1)
    return model


def gradients(model: Model) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("pairs", [False, True])
def test_the_sum_has_the_same_bits_whether_or_not_its_parts_are_seen(
    corpus: Corpus, pairs: bool
) -> None:
    batch = Loader(plan(corpus), corpus.folders).batch(STABLE)
    objective = Pairs() if pairs else NextToken.of(corpus.tokenizer)
    seen: list[PartGradient] = []
    found = []
    for watch in (None, seen.append):
        model = fresh_model(corpus, BalancedModel if pairs else Model)
        for _ in range(2):  # the second adds to the first
            pending = pending_loss(
                objective, model, batch, Place(STABLE), 3, backward=True, watch=watch
            )
        found.append((gradients(model), float(pending.minimised)))
    (plain, loss), (watched, same) = found
    assert loss == same
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert sum(part.rows for part in seen) == 2 * BATCH // LENGTH
    assert sum(part.normaliser for part in seen) == pytest.approx(2 * seen[0].whole)


def test_a_part_times_its_share_is_the_gradient_of_a_batch_of_its_rows(corpus: Corpus) -> None:
    batch = Loader(plan(corpus), corpus.folders).batch(STABLE)
    objective, model = NextToken.of(corpus.tokenizer), fresh_model(corpus)
    parts: list[dict[str, Tensor]] = []

    def watch(part: PartGradient) -> None:
        scale = part.whole / part.normaliser
        parts.append({name: scale * one for name, one in gradients(model).items()})

    place = Place(STABLE)
    pending_loss(objective, model, batch, place, 3, backward=True, watch=watch)
    for part, rows in zip(parts, ((0, 3), (3, 6), (6, 8)), strict=True):
        alone = fresh_model(corpus)
        pending_loss(objective, alone, batch.rows(*rows), place, 3, backward=True)
        for name, gradient in gradients(alone).items():
            torch.testing.assert_close(part[name], gradient, rtol=2e-5, atol=1e-6)


def test_settings_of_probes_stand_nowhere_in_a_run(straight: Path, whole: Path) -> None:
    one, other = (at_step(folder, STEPS).state for folder in (straight, whole))
    assert set(one.files) - set(other.files) == {"probes.safetensors"}
    assert one.model_copy(update={"files": other.files}) == other


def test_bf16_masters_keep_their_bits_too(corpus: Corpus, tmp_path: Path) -> None:
    chosen = loop_runs.settings(precision="bf16")
    for name, probes in (("plain", []), ("probed", all_probes())):
        run(corpus, tmp_path / name, settings=chosen, until_step=4, probes=probes)
    assert traces(tmp_path / "plain") == traces(tmp_path / "probed")
    lines = read_series(tmp_path / "probed", "probe-dynamics")
    assert all(line["same_batch"]["d2"] is not None for line in lines[1:])
