"""Memory of a training against the tensors that one really has, and the steps whose checkpoints
stay against those that a training leaves.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifacts.paths import Store
from mixtures.plan.format import Plan
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import MODEL, plan, settings
from trainer.checkpoints.checkpoint import at_step, saved
from trainer.checkpoints.recorded import model_config
from trainer.costs.training_memory import checkpoint_bytes, marked_steps, training_memory
from trainer.kernels.linear_cross_entropy import torch_linear_cross_entropy
from trainer.loop.run import optimizer_of
from trainer.loop.training import milestones
from trainer.model import Model, init

CONFIG = MODEL.config(384)


def sizes(tensors: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_the_shape_decides_is_what_model_and_optimizer_hold(precision: str) -> None:
    model = Model(CONFIG)
    init(model, CONFIG, seed=1)
    optimizer = optimizer_of(model, settings(precision=precision))
    tokens = torch.zeros((1, 8), dtype=torch.int64)
    hidden = model(tokens, torch.arange(8)[None])
    model.loss(hidden, tokens, torch.ones((1, 8)))[0].backward()

    needed = training_memory(CONFIG, 8, precision, on_gpu=False)  # type: ignore[arg-type]
    assert needed.weights == sizes(model.parameters())
    assert needed.gradients == sizes(parameter.grad for parameter in model.parameters())
    assert needed.moments == sizes(
        moment for pair in optimizer.moments().values() for moment in pair
    )
    held = optimizer.weights().values()
    assert needed.masters == (sizes(held) if precision == "bf16" else 0)
    assert needed.total == needed.exact + needed.activations + needed.logits


def test_logits_are_those_of_a_slice() -> None:
    shapes = []

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, call, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
            found = call(*arguments, **(options or {}))
            if call is torch.ops.aten.mm.default:
                shapes.append(tuple(found.shape))
            return found

    tokens, head = 40_000, torch.zeros((CONFIG.padded_vocab, CONFIG.width))
    hidden, targets = torch.zeros((tokens, CONFIG.width)), torch.zeros(tokens, dtype=torch.int64)
    with Seen():
        torch_linear_cross_entropy(
            hidden, head, targets, torch.ones(tokens), CONFIG.vocab_size, 1.0, 0.0, False
        )
    rows, columns = max(shapes)
    gradient = 4 * CONFIG.padded_vocab * CONFIG.width
    needed = training_memory(CONFIG, tokens, "fp32", on_gpu=False)
    assert needed.logits == 4 * rows * columns + gradient


def test_a_checkpoint_takes_what_is_said(whole: Path) -> None:
    found = at_step(Store(whole), 12)
    folder = Path(found.folder)
    beside = sum((folder / name).stat().st_size for name in ("plan.json", "tokenizer.model"))
    size = sum(path.stat().st_size for path in folder.iterdir())
    said = checkpoint_bytes(model_config(found), beside)
    assert said < size < said + 20_000  # headers, state


def test_the_steps_that_are_marked_are_those_a_training_keeps(corpus: Corpus, whole: Path) -> None:
    made: Plan = plan(corpus)
    every = settings().checkpoint_every
    assert marked_steps(0, made.steps, every, milestones(made)) == saved(Store(whole))


@given(
    first=st.integers(0, 200),
    more=st.integers(0, 200),
    every=st.integers(1, 60),
    ends=st.sets(st.integers(0, 500), max_size=4),
)
def test_marked_steps_are_multiples_and_ends(
    first: int, more: int, every: int, ends: set[int]
) -> None:
    steps = range(first + 1, first + more + 1)
    expected = [step for step in steps if step % every == 0 or step in ends]
    assert marked_steps(first, first + more, every, ends) == expected
