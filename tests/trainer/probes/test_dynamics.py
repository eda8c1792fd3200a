"""What gradients and weights do from step to step: closed forms, autograd's Hessian, and a training
computed once more from its checkpoints.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixtures.loader.loader import Batch, Loader
from tests.oracles.plain_minicpm import PlainShape, plain_logits, plain_weights
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import STABLE, plan, run
from tests.trainer.test_trainer_against_plain import twin
from trainer.checkpoints.checkpoint import at_step
from trainer.checkpoints.weights import model_of
from trainer.loop.metrics import read_series
from trainer.model import Model, parameter_groups
from trainer.objectives.gradient import pending_loss
from trainer.objectives.next_token import NextToken, batch_loss
from trainer.optimizer.adamw import AdamW
from trainer.probes.curvature import Bend
from trainer.probes.dynamics import Dynamics
from trainer.probes.noise_scale import NoiseScale
from trainer.probes.probe import WatchedStep

SHAPE = PlainShape(vocabulary=61, width=16, layers=1, heads=2, kv_heads=1, inner=24, head=8, base=8)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_of_a_quadratic_the_second_derivative_is_exact(seed: int, size: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    root, shift, x, v = (
        torch.randn(shape, generator=draw, dtype=torch.float64)
        for shape in ((6, 6), (6,), (6,), (6,))
    )
    hessian, v = root @ root.T, v * size

    def parts(vector: Tensor) -> dict[str, Tensor]:
        return {"one": vector[:2].view(2, 1), "two": vector[2:]}

    gradients = [hessian @ at - shift for at in (x, x + v)]
    found = Bend.along((parts(x), parts(x + v)), (parts(gradients[0]), parts(gradients[1])))
    assert found is not None
    expected = float(v @ hessian @ v / (v @ v))
    assert found.d2 == pytest.approx(expected, rel=1e-6)
    slope = float(gradients[1] @ v / v.norm())
    assert found.d1 == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert found.curvature == pytest.approx(abs(expected) / (1 + slope**2) ** 1.5, rel=1e-5)


def test_a_gradient_that_is_missing_is_zero_and_no_change_bends_nothing() -> None:
    x, moved, g = torch.zeros(2), torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])
    found = Bend.along(({"a": x}, {"a": moved}), ({}, {"a": g}))
    assert found == Bend(11 / 5, 11 / 25)
    assert Bend.along(({"a": x}, {"a": moved}), ({"a": g}, {})) == Bend(0.0, -11 / 25)
    assert Bend.along(({"a": x}, {"a": x}), ({"a": g}, {"a": g})) is None


def one_batch(seed: int, rows: int = 3, length: int = 12) -> Batch:
    """Rows of one document each."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, SHAPE.vocabulary, (rows, length)).astype(np.int32)
    places = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    return Batch(
        tokens=tokens,
        targets=draw.integers(0, SHAPE.vocabulary, tokens.shape).astype(np.int32),
        weights=np.ones(tokens.shape, np.float32),
        positions=places,
        documents=np.zeros(tokens.shape, np.int32),
        lengths=np.arange(0, tokens.size + 1, length, dtype=np.int32),
        source=np.zeros(rows, np.int32),
        pieces=np.zeros((0, 5), np.int64),
    )


def plain_tensors(model: Model) -> dict[str, Tensor]:
    """A model's weights as the plain model has them, with a graph of their own."""
    found = {"embedding": model.embedding[: SHAPE.vocabulary], "norm": model.final_norm.weight}
    for number, layer in enumerate(model.layers):
        keys = [SHAPE.heads * SHAPE.head, *[SHAPE.kv_heads * SHAPE.head] * 2]
        parts = dict(zip("qkv", layer.attention.qkv.weight.split(keys), strict=True))
        parts["gate"], parts["up"] = layer.feed_forward.gate_up.weight.chunk(2)
        parts |= {"o": layer.attention.out.weight, "down": layer.feed_forward.down.weight}
        parts["norm1"] = layer.attention_norm.weight
        parts["norm2"] = layer.feed_forward_norm.weight
        found |= {f"{number}.{name}": tensor for name, tensor in parts.items()}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def slope_and_bend(weights: dict[str, Tensor], v: dict[str, Tensor], batch: Batch) -> Any:
    """g'v and v'Hv of the plain model's mean loss, by autograd, in fp64."""
    live = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    nats = torch.zeros((), dtype=torch.float64)
    for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
        scores = plain_logits(SHAPE, live, torch.from_numpy(tokens).long())
        chosen = torch.log_softmax(scores, -1)[
            torch.arange(len(targets)), torch.from_numpy(targets).long()
        ]
        nats = nats - chosen.sum()
    grads = torch.autograd.grad(nats / batch.tokens.size, [*live.values()], create_graph=True)
    slope = sum((g * v[name]).sum() for name, g in zip(live, grads, strict=True))
    products = torch.autograd.grad(slope, [*live.values()])
    bend = sum(float((h * v[name]).sum()) for name, h in zip(live, products, strict=True))
    return float(slope.detach()), bend


def test_the_second_gradient_gives_autograds_hessian_along_the_update() -> None:
    model = twin(SHAPE, plain_weights(SHAPE, seed=5)).double()
    optimizer = AdamW(parameter_groups(model, model.config, 0.003, 0.1))
    objective, probe = NextToken(np.zeros(0, np.int64)), Dynamics()
    batches = [one_batch(seed) for seed in (1, 2)]
    lines, weights = [], [plain_tensors(model)]
    for number, batch in enumerate(batches, 1):
        step = WatchedStep(number, batch, 0.003, 2, model, optimizer, objective)
        pending_loss(objective, model, batch, step.place, 2, backward=True)
        probe.gradient(step)
        optimizer.step(0.003)
        optimizer.zero_grad()
        lines.append(probe.line(step))
        weights.append(plain_tensors(model))
    before, after = weights[:2]
    v = {name: after[name] - before[name] for name in before}
    length = math.sqrt(sum(float((part**2).sum()) for part in v.values()))
    # the mean of v'Hv over the update, by Simpson's rule
    along = [
        slope_and_bend({name: before[name] + at * v[name] for name in v}, v, batches[0])
        for at in (0.0, 0.5, 1.0)
    ]
    bend = (along[0][1] + 4 * along[1][1] + along[2][1]) / 6 / length**2
    found = lines[1]["same_batch"]
    assert found["d1"] == pytest.approx(along[2][0] / length, rel=1e-5)
    assert found["d2"] == pytest.approx(bend, rel=1e-4)
    # the Hessian changes along the update: the ends alone would not do
    assert abs(along[0][1] / along[2][1] - 1) > 1e-3
    assert lines[0]["change"]["norm"] == pytest.approx(length, rel=1e-9)
    # across batches: the slope on the second less that on the first
    across = slope_and_bend(after, v, batches[1])[0] - along[0][0]
    assert lines[1]["d2"] == pytest.approx(across / length**2, rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.fixture(scope="module")
def every_step(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint of every step, and both probes of its gradients."""
    folder = tmp_path_factory.mktemp("every")
    chosen = loop_runs.settings(checkpoint_every=1)
    run(corpus, folder, settings=chosen, until_step=5, probes=[Dynamics(last=5), NoiseScale()])
    return folder


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def test_lines_are_what_checkpoints_and_batches_give(corpus: Corpus, every_step: Path) -> None:
    lines = read_series(every_step, "probe-dynamics")
    loader = Loader(plan(corpus), corpus.folders)
    for number in range(3, 6):
        line = lines[number - 1]
        models = [model_of(at_step(every_step, number + shift)) for shift in (-2, -1, -1, 0)]
        # the gradient before, of its own batch further on, and of the next batch
        for model, batch in zip(models, (-2, -2, -1), strict=False):
            batch_loss(model, loader.batch(number + batch), 3, backward=True)
        g, same, after = (flat(p.grad for p in model.parameters()) for model in models[:3])
        x, _, moved, last = (flat(model.parameters()) for model in models)
        v = moved - x
        assert line["grad_norm"] == pytest.approx(float(after.norm()), rel=1e-9)
        cosine = float(g @ after / g.norm() / after.norm())
        assert line["cosine"] == pytest.approx(cosine, abs=1e-9)
        for found, other in ((line, after), (line["same_batch"], same)):
            d1 = float(other @ v / v.norm())
            d2 = float((other - g) @ v / (v @ v))
            assert found["d1"] == pytest.approx(d1, rel=1e-6, abs=1e-9)
            assert found["d2"] == pytest.approx(d2, rel=1e-6, abs=1e-9)
            assert found["curvature"] == pytest.approx(abs(d2) / (1 + d1**2) ** 1.5, rel=1e-6)
        assert line["change"]["norm"] == pytest.approx(float((last - moved).norm()), rel=1e-9)
        assert line["change"]["max"] == float((last - moved).abs().max())
        tensors = line["change"]["tensors"]
        assert max(part["max"] for part in tensors.values()) == line["change"]["max"]
        squares = sum(part["norm"] ** 2 for part in tensors.values())
        assert squares**0.5 == pytest.approx(line["change"]["norm"], rel=1e-9)
        assert "layers.1.attention.q" in tensors


def test_rates_and_norms_are_those_of_the_training(every_step: Path) -> None:
    lines, steps = read_series(every_step, "probe-dynamics"), read_series(every_step)
    for line, step in zip(lines, steps, strict=True):
        assert line["lr"] == step["lr"]
        assert line["grad_norm"] == pytest.approx(step["grad_norm"], rel=1e-9)
    nothing = {"d1": None, "d2": None, "curvature": None}
    assert lines[0]["cosine"] is None
    assert lines[0].items() >= nothing.items()
    assert lines[0]["same_batch"] == nothing


def test_the_line_of_the_cosine_comes_from_the_noise_scale(every_step: Path) -> None:
    lines = read_series(every_step, "probe-dynamics")
    noises = read_series(every_step, "probe-noise_scale")
    for line, noise in zip(lines, noises, strict=True):
        scale = noise["groups"]["all"]["scale_sequences"]
        assert scale is not None
        assert line["independent_cosine"] == pytest.approx(1 / (1 + scale / noise["sequences"]))


def test_after_the_last_step_nothing_is_kept(every_step: Path) -> None:
    kept = at_step(every_step, 4).probes()
    model = model_of(at_step(every_step, 4))
    names = {name for name, _ in model.named_parameters()}
    own = {name.removeprefix("dynamics/") for name in kept if name.startswith("dynamics/")}
    tensors = {name for name in own if not name.startswith("noise.")}
    assert tensors == {f"{part}.{name}" for part in ("gradient", "weights") for name in names} | {
        "same_batch"
    }
    assert all("noise." in name for name in at_step(every_step, 5).probes())


def test_one_micro_batch_has_no_noise_scale_and_all_else(corpus: Corpus, tmp_path: Path) -> None:
    chosen = loop_runs.settings(micro_batch_tokens=loop_runs.BATCH)
    run(corpus, tmp_path, settings=chosen, until_step=2, probes=[Dynamics()])
    line = read_series(tmp_path, "probe-dynamics")[1]
    assert line["independent_cosine"] is None
    assert line["cosine"] is not None
    assert line["same_batch"]["d2"] is not None


def test_a_step_with_nothing_to_learn_has_no_gradient_to_compare(corpus: Corpus) -> None:
    model = twin(SHAPE, plain_weights(SHAPE, seed=5))
    optimizer = AdamW(parameter_groups(model, model.config, 0.003, 0.1))
    objective, probe = NextToken(np.zeros(0, np.int64)), Dynamics()
    lines = []
    for number in (1, 2, 3):
        batch = one_batch(number)
        batch.weights[:] = float(number != 2)
        step = WatchedStep(number, batch, 0.003, 2, model, optimizer, objective)
        pending_loss(objective, model, batch, step.place, 2, backward=True)
        probe.gradient(step)
        optimizer.step(0.003)
        optimizer.zero_grad()
        lines.append(probe.line(step))
    assert [line["cosine"] for line in lines] == [None, None, None]
    assert [line["change"]["max"] > 0 for line in lines] == [True, False, True]
    assert lines[1]["grad_norm"] == 0
    assert lines[2]["d2"] is None
    assert lines[2]["same_batch"]["d2"] is None


def test_a_decay_alone_can_be_measured(corpus: Corpus, whole: Path, tmp_path: Path) -> None:
    stable = at_step(whole, STABLE)
    run(corpus, tmp_path, start=stable, probes=[Dynamics(first=STABLE + 1)])
    lines = read_series(tmp_path, "probe-dynamics")
    assert [line["step"] for line in lines] == [9, 10, 11, 12]
    assert [line["cosine"] is None for line in lines] == [True, False, False, False]
    changes = [line["change"]["norm"] for line in lines]
    assert changes == sorted(changes, reverse=True)
