"""Which steps an optimizer counts as updates, the same on both of its paths, and what a count that
is not recorded stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.model.parameterisation import ParameterGroup
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.rule import OPTIMIZER_RULE, UpdateCount

PATHS = [None, torch.bfloat16]
SIZES = (3, 5)

Step = tuple[bool, bool]  # which of two tensors has a gradient


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tensors this small run fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def started(compute: torch.dtype | None) -> AdamW:
    parameters = tuple(nn.Parameter(torch.ones(size)) for size in SIZES)
    group = ParameterGroup("two", ("a", "b"), parameters, 1.0, 0.01, 0.1)
    return AdamW([group], compute=compute)


def step(optimizer: AdamW, number: int, given_to: Step) -> None:
    draw = torch.Generator().manual_seed(number)
    for parameter, has in zip(optimizer.named.values(), given_to, strict=True):
        gradient = torch.randn(parameter.shape, generator=draw)
        kept_in = getattr(parameter, "grad_dtype", parameter.dtype)
        parameter.grad = gradient.to(kept_in) if has else None
    optimizer.clip(1.0)
    optimizer.step(0.01)
    optimizer.zero_grad()


def resumed(optimizer: AdamW, compute: torch.dtype | None) -> AdamW:
    other = started(compute)
    other.load({name: value.detach().clone() for name, value in optimizer.weights().items()})
    moments = {name: (m.clone(), v.clone()) for name, (m, v) in optimizer.moments().items()}
    other.restore(moments, optimizer.count)
    return other


def bits(optimizer: AdamW) -> list[bytes]:
    moments = [moment for pair in optimizer.moments().values() for moment in pair]
    tensors = [*optimizer.weights().values(), *moments]
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


def trained(compute: torch.dtype | None, steps: Sequence[Step]) -> AdamW:
    optimizer = started(compute)
    for number, given_to in enumerate(steps):
        step(optimizer, number, given_to)
    return optimizer


@pytest.mark.parametrize("compute", PATHS, ids=["fp32", "bf16"])
def test_a_step_without_a_gradient_is_no_update(compute: torch.dtype | None) -> None:
    optimizer = trained(compute, [(True, True), (False, False), (True, True), (False, False)])
    assert optimizer.count == UpdateCount(rule=OPTIMIZER_RULE, updates=2)
    before = bits(optimizer)
    step(optimizer, 9, (False, False))
    assert (bits(optimizer), optimizer.updates) == (before, 2)


@pytest.mark.parametrize("compute", PATHS, ids=["fp32", "bf16"])
@given(steps=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_an_optimizer_restored_after_any_step_goes_on_with_the_same_bits(
    compute: torch.dtype | None, steps: list[Step]
) -> None:
    straight, stopped = trained(compute, steps), started(compute)
    for number, given_to in enumerate(steps):
        stopped = resumed(stopped, compute)
        step(stopped, number, given_to)
    assert bits(stopped) == bits(straight)
    assert stopped.count == straight.count
    assert straight.updates == sum(any(given_to) for given_to in steps)


@given(steps=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_both_paths_count_alike(steps: list[Step]) -> None:
    fp32, masters = (trained(compute, steps) for compute in PATHS)
    assert fp32.count == masters.count
    for name, weight in fp32.weights().items():
        # gradients that torch keeps in bf16 are rounded
        atol = 1e-5 if hasattr(weight, "grad_dtype") else 2e-3
        torch.testing.assert_close(masters.weights()[name], weight.detach(), rtol=0, atol=atol)


@pytest.mark.parametrize(("compute", "counted"), [(None, 5), (torch.bfloat16, 6)])
def test_a_training_of_the_first_rule_goes_on_under_it(
    compute: torch.dtype | None, counted: int
) -> None:
    optimizer = trained(compute, [(True, True), (False, False), (True, True)])
    moments = {name: (m.clone(), v.clone()) for name, (m, v) in optimizer.moments().items()}
    optimizer.restore(moments, UpdateCount(rule=1, updates=3))
    for number, given_to in enumerate([(True, True), (False, False), (True, True)], 3):
        step(optimizer, number, given_to)
    assert optimizer.count == UpdateCount(rule=1, updates=counted)
