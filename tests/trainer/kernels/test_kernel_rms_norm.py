"""RMSNorm: the kernel in the interpreter and the reference against torch in fp64; the op under
opcheck and compile.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import assert_as_good_as_torch, draw
from trainer.kernels.rms_norm import (
    _rms_norm,
    _rms_norm_backward,
    launch_rms_norm,
    launch_rms_norm_backward,
    rms_norm,
    torch_rms_norm,
    torch_rms_norm_backward,
)

EPS = 1e-5
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
WIDTHS = [1, 2, 7, 8, 48, 96, 256, 300]


def truth(
    x: Tensor, weight: Tensor, dy: Tensor, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    x, weight = (tensor.detach().to(dtype).requires_grad_() for tensor in (x, weight))
    y = F.rms_norm(x, weight.shape, weight, EPS)
    y.backward(dy.to(dtype))
    return y.detach(), x.grad, weight.grad


def assert_right(x: Tensor, weight: Tensor, dy: Tensor, kernel: bool) -> None:
    forward, backward = (
        (launch_rms_norm, launch_rms_norm_backward)
        if kernel
        else (torch_rms_norm, torch_rms_norm_backward)
    )
    y, r = forward(x, weight, EPS)
    found = (y, *backward(dy, x, weight, r))
    for ours, plain, exact in zip(
        found, truth(x, weight, dy, x.dtype), truth(x, weight, dy), strict=True
    ):
        assert_as_good_as_torch(ours, plain, exact)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", WIDTHS)
def test_forward_and_backward_are_right(width: int, dtype: torch.dtype, kernel: bool) -> None:
    x, weight, dy = (
        draw(5, width, dtype=dtype),
        draw(width, dtype=dtype, seed=1),
        draw(5, width, dtype=dtype, seed=2),
    )
    assert_right(x, weight, dy, kernel)


@settings(max_examples=25)
@given(
    rows=st.integers(0, 40),
    width=st.integers(1, 200),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_scale_is_right(rows: int, width: int, scale: float, seed: int) -> None:
    x, weight, dy = (
        draw(rows, width, seed=seed, scale=scale),
        draw(width, seed=seed + 1),
        draw(rows, width, seed=seed + 2),
    )
    assert_right(x, weight, dy, kernel=True)


def test_rows_of_any_batch_shape_and_stride_are_taken() -> None:
    x = draw(2, 3, 24)[:, :, ::2]
    weight, dy = draw(12, seed=1), draw(2, 3, 12, seed=2)
    assert_right(x, weight, dy, kernel=True)


def test_kernel_and_reference_give_the_same_reciprocal_root() -> None:
    x, weight = draw(9, 48), draw(48, seed=1)
    torch.testing.assert_close(
        launch_rms_norm(x, weight, EPS)[1], torch_rms_norm(x, weight, EPS)[1]
    )


def test_the_kernel_gives_the_same_bits_every_time() -> None:
    x, weight, dy = draw(33, 48), draw(48, seed=1), draw(33, 48, seed=2)
    r = launch_rms_norm(x, weight, EPS)[1]
    once, again = (launch_rms_norm_backward(dy, x, weight, r) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_ops_keep_the_rules_of_custom_ops(dtype: torch.dtype) -> None:
    x, weight = (
        draw(3, 4, 16, dtype=dtype).requires_grad_(),
        draw(16, dtype=dtype, seed=1).requires_grad_(),
    )
    torch.library.opcheck(_rms_norm, (x, weight, EPS))
    r = torch_rms_norm(x, weight, EPS)[1].detach()
    torch.library.opcheck(
        _rms_norm_backward, (draw(3, 4, 16, dtype=dtype), x.detach(), weight.detach(), r)
    )


def test_gradients_are_those_of_finite_differences() -> None:
    x, weight = draw(4, 6).double().requires_grad_(), draw(6, seed=1).double().requires_grad_()
    torch.autograd.gradcheck(lambda a, b: rms_norm(a, b, EPS), (x, weight))


@pytest.mark.slow
def test_compiled_whole_it_gives_the_bits_of_eager() -> None:
    x, weight = draw(4, 32).requires_grad_(), draw(32, seed=1).requires_grad_()

    def step(x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x * 2, weight, EPS).square()

    results = []
    for run in (step, torch.compile(step, fullgraph=True)):
        x.grad = weight.grad = None
        y = run(x, weight)
        y.sum().backward()
        results.append((y.detach(), x.grad, weight.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
