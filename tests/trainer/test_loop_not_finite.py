"""A step whose loss is not finite ends a call and takes nothing over; a plan that skips it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mixtures.freeze.freeze import Plan
from mixtures.freeze.skips import skipped
from mixtures.loader.loader import Loader
from mixtures.spec.spec import Phase
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, MODEL, plan, run, settings
from trainer.checkpoints.checkpoint import at_step, latest
from trainer.devices.precision import DTYPES
from trainer.loop.metrics import read_series
from trainer.loop.run import NotFiniteError
from trainer.loop.start import FromWeights
from trainer.model import Model, init
from trainer.objectives.next_token import NextToken, batch_loss
from trainer.objectives.objective import PartLoss
from trainer.optimizer.rule import UpdateCount

UNTIED = MODEL.model_copy(update={"tied": False})


def phases(*sources: str) -> list[Phase]:
    return [
        Phase(name=f"p{number}", tokens=BATCH, weights={name: 1.0})
        for number, name in enumerate(sources)
    ]


def poisoned(corpus: Corpus, frozen: Plan) -> FromWeights:
    """Initial weights with one row of the embedding, of a token of code alone, that overflows."""
    model = Model(UNTIED.config(corpus.tokenizer.vocab_size))
    init(model, model.config, 1)
    loader = Loader(frozen, corpus.folders)
    seen = [set(loader.batch(step).tokens.ravel().tolist()) for step in range(frozen.steps)]
    (odd, *_) = sorted(seen[2] - seen[0] - seen[1] - seen[3] - seen[4])
    with torch.no_grad():
        model.embedding[odd] = 3e38
    weights = {name: value.detach() for name, value in model.named_parameters()}
    return FromWeights.of_tensors(weights, "with a row that overflows")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_plan_that_skips_the_step_goes_on_to_its_end(
    corpus: Corpus, tmp_path: Path, precision: str
) -> None:
    frozen = plan(corpus, *phases("web", "web", "code", "web", "web"))
    options: dict[str, Any] = {
        "settings": settings(precision=precision, device="cpu"),
        "model": UNTIED,
        "validation": None,
        "start": poisoned(corpus, frozen),
    }
    with pytest.raises(NotFiniteError, match="not finite at step 3") as error:
        run(corpus, tmp_path / "run", plan=frozen, **options)
    facts = error.value
    assert (facts.step, facts.before, facts.left, facts.peak) == (3, 2 * BATCH, 3, 0.02)
    assert [line["step"] for line in read_series(tmp_path / "run")] == [1, 2]

    without = skipped(frozen, facts.step - 1, 1)
    outcome = run(corpus, tmp_path / "run", plan=without, **options)
    assert (outcome.first_step, outcome.step) == (2, 5)
    lines = read_series(tmp_path / "run")
    assert [line["loss"] is None for line in lines] == [False, False, True, False, False]
    found = latest(tmp_path / "run")
    assert found is not None
    assert found.state.optimizer == UpdateCount(updates=4)
    before, after = (at_step(tmp_path / "run", step).weights() for step in (2, 3))
    assert all(torch.equal(before[name], after[name]) for name in before)

    run(corpus, tmp_path / "straight", plan=without, **options)
    straight = latest(tmp_path / "straight")
    assert straight is not None
    for name in ("weights.safetensors", "moments.safetensors"):
        assert straight.read(name) == found.read(name)


class Overflowing(Model):
    """Adds a loss of its own that overflows and has no gradient."""

    def auxiliary_losses(self) -> dict[str, torch.Tensor]:
        return {"balance": torch.tensor(torch.inf)}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_a_model_adds_ends_the_call_where_it_is_not_finite(
    corpus: Corpus, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.loop.run.Model", Overflowing)
    chosen = settings(precision=precision, device="cpu")
    with pytest.raises(NotFiniteError, match="not finite at step 1") as error:
        run(corpus, tmp_path, settings=chosen, validation=None)
    assert "balance inf" in str(error.value.found)
    assert read_series(tmp_path) == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_batch_without_a_target_keeps_nothing_for_a_gradient(
    corpus: Corpus, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = skipped(plan(corpus, *phases("web", "web")), 0, 1)
    loader, model = Loader(frozen, corpus.folders), Model(MODEL.config(corpus.tokenizer.vocab_size))
    init(model, model.config, 1)
    model = model.to(DTYPES[precision])
    enabled = []

    def noted(self: NextToken, *arguments: Any) -> PartLoss:
        enabled.append(torch.is_grad_enabled())
        return loss(self, *arguments)

    loss = NextToken.loss
    monkeypatch.setattr(NextToken, "loss", noted)
    for step in (0, 1):
        batch_loss(model, loader.batch(step), 8, backward=True)
    assert enabled == [False, True]
