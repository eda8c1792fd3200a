"""The norm of many gradients: the kernels in the interpreter and the reference against exact
sums.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import draw
from trainer.kernels.gradient_norm import (
    CHUNK,
    _gradient_norm,
    euclidean_norm,
    gradient_norm,
    launch_gradient_norm,
    torch_gradient_norm,
)
from trainer.kernels.tensor_table import TensorTable

NORMS = [launch_gradient_norm, torch_gradient_norm]


def arguments(gradients: list[Tensor | None], limit: float = math.inf) -> tuple:
    table = TensorTable([torch.empty(4) if one is None else one for one in gradients])
    return gradients, table.addresses(gradients), table.blocks(CHUNK), table.even, limit


def exact(gradients: list[Tensor | None]) -> float:
    return math.sqrt(
        math.fsum(
            math.fsum(one.double().square().flatten().tolist())
            for one in gradients
            if one is not None
        )
    )


@pytest.mark.parametrize("norm", NORMS, ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_norm_is_that_of_all_gradients_together(norm: object, dtype: torch.dtype) -> None:
    gradients = [
        draw(3, 7, dtype=dtype),
        draw(CHUNK + 1000, dtype=torch.float32, seed=1),
        None,
        draw(1, dtype=dtype, seed=2),
        draw(64, 48, seed=3),
    ]
    found, coefficient, skip = norm(*arguments(gradients))
    assert (found.dtype, coefficient.dtype, skip.dtype) == (
        torch.float64,
        torch.float32,
        torch.int32,
    )
    assert float(found) == pytest.approx(
        exact(gradients), rel=1e-6 if norm is launch_gradient_norm else 1e-12
    )
    assert (float(coefficient), int(skip)) == (1.0, 0)


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(0, 5000), max_size=5),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
    limit=st.sampled_from([1.0, 1e-3, 1e9]),
    seed=st.integers(0, 99),
)
def test_any_sizes_and_scales_are_right(
    sizes: list[int], dtype: torch.dtype, scale: float, limit: float, seed: int
) -> None:
    gradients = [
        draw(size, seed=seed + index, scale=scale, dtype=dtype) for index, size in enumerate(sizes)
    ]
    found, coefficient, skip = launch_gradient_norm(*arguments(list(gradients), limit))
    true = exact(list(gradients))
    assert float(found) == pytest.approx(true, rel=1e-6)
    assert float(coefficient) == pytest.approx(min(1.0, limit / true if true else 1.0), rel=1e-6)
    assert int(skip) == 0


@pytest.mark.parametrize("norm", NORMS, ids=["kernel", "reference"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_raises_the_flag_and_scales_nothing(
    norm: object, value: float
) -> None:
    gradients = [draw(40), draw(300, seed=1)]
    gradients[1][299] = value
    found, coefficient, skip = norm(*arguments(gradients, 1.0))
    assert not math.isfinite(float(found))
    assert (float(coefficient), int(skip)) == (1.0, 1)


@pytest.mark.parametrize("norm", NORMS, ids=["kernel", "reference"])
def test_without_gradients_the_norm_is_zero(norm: object) -> None:
    for gradients in ([None, None], []):
        found, coefficient, skip = norm(*arguments(list(gradients), 1.0))
        assert (float(found), float(coefficient), int(skip)) == (0.0, 1.0, 0)


def test_the_kernels_give_the_same_bits_every_time() -> None:
    gradients = [draw(CHUNK * 2 + 16), draw(999, seed=1, dtype=torch.bfloat16)]
    once, again = (launch_gradient_norm(*arguments(gradients, 1.0)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


@pytest.mark.slow
def test_the_op_keeps_the_rules_of_custom_ops() -> None:
    torch.library.opcheck(_gradient_norm, arguments([draw(3, 5), None], 1.0))


def test_the_function_looks_tables_up() -> None:
    gradients = [draw(30), draw(50, seed=1)]
    table = TensorTable(gradients)
    found, coefficient, skip = gradient_norm(table, gradients, 2.0)
    assert torch.equal(found, euclidean_norm(gradients))
    assert float(coefficient) == pytest.approx(2.0 / float(found), rel=1e-6)
    assert float(gradient_norm(table, gradients, None)[1]) == 1.0
    assert int(skip) == 0
