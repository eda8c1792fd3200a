"""Scaled residual with RMSNorm: kernel and reference against torch in fp64; missing gradients;
opcheck and compile.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import assert_as_good_as_torch, draw
from trainer.kernels.residual_norm import (
    _residual_norm,
    _residual_norm_backward,
    launch_residual_norm,
    launch_residual_norm_backward,
    residual_norm,
    torch_residual_norm,
    torch_residual_norm_backward,
)

EPS, SCALE = 1e-5, 0.3
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def inputs(
    rows: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, ...]:
    """Branch, residual, weight, and the gradients of stream and norm."""
    shapes = [(rows, width), (rows, width), (width,), (rows, width), (rows, width)]
    return tuple(draw(*shape, dtype=dtype, seed=seed + place) for place, shape in enumerate(shapes))


def plain(branch: Tensor, residual: Tensor, weight: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    stream = residual + scale * branch
    return stream, F.rms_norm(stream, weight.shape, weight, EPS)


def truth(tensors: tuple[Tensor, ...], scale: float, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Stream, norm and the three gradients, by torch's autograd in ``dtype``."""
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in tensors[:3]]
    outputs = plain(*leaves, scale)
    branch, residual, weight = torch.autograd.grad(
        outputs, leaves, [tensor.to(dtype) for tensor in tensors[3:]]
    )
    return *(output.detach() for output in outputs), residual, branch, weight


def assert_right(tensors: tuple[Tensor, ...], kernel: bool, scale: float = SCALE) -> None:
    forward = launch_residual_norm if kernel else torch_residual_norm
    backward = launch_residual_norm_backward if kernel else torch_residual_norm_backward
    branch, residual, weight, d_stream, dy = tensors
    stream, y, r = forward(branch, residual, weight, scale, EPS)
    d_residual, d_branch, dw = backward(d_stream, dy, stream, weight, r, scale)
    found = (stream, y, d_residual, d_residual if scale == 1.0 else d_branch, dw)
    assert (d_branch.numel() == 0) == (scale == 1.0 or not branch.numel())
    for ours, theirs, exact in zip(
        found,
        truth(tensors, scale, branch.dtype),
        truth(tensors, scale, torch.float64),
        strict=True,
    ):
        assert_as_good_as_torch(ours, theirs, exact)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 7, 8, 48, 96, 256])
def test_forward_and_backward_are_right(width: int, dtype: torch.dtype, kernel: bool) -> None:
    assert_right(inputs(5, width, dtype), kernel)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
def test_a_scale_of_one_has_one_gradient_for_branch_and_residual(kernel: bool) -> None:
    assert_right(inputs(6, 40), kernel, scale=1.0)


@settings(max_examples=20)
@given(
    rows=st.integers(0, 40),
    width=st.integers(1, 150),
    scale=st.sampled_from([-2.0, 0.0, 1e-3, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_scale_is_right(rows: int, width: int, scale: float, seed: int) -> None:
    assert_right(inputs(rows, width, seed=seed), kernel=True, scale=scale)


@pytest.mark.parametrize("forward", [launch_residual_norm, torch_residual_norm])
def test_the_norm_is_that_of_the_stream_as_stored(
    forward: Callable[..., tuple[Tensor, ...]],
) -> None:
    branch, residual, weight, _, _ = inputs(9, 48, torch.float16)
    stream, y, r = forward(branch, residual, weight, SCALE, EPS)
    exact = torch.rsqrt(stream.double().square().mean(-1) + EPS)
    torch.testing.assert_close(r.double(), exact, rtol=1e-6, atol=0)
    assert_as_good_as_torch(
        y,
        F.rms_norm(stream, (48,), weight, EPS),
        stream.double() * exact[:, None] * weight.double(),
    )


@pytest.mark.parametrize("backward", [launch_residual_norm_backward, torch_residual_norm_backward])
def test_without_a_gradient_of_the_stream_it_is_the_norms_alone(
    backward: Callable[..., tuple[Tensor, ...]],
) -> None:
    branch, residual, weight, _, dy = inputs(7, 48)
    stream, _, r = torch_residual_norm(branch, residual, weight, SCALE, EPS)
    without = backward(None, dy, stream, weight, r, SCALE)
    zero = backward(torch.zeros_like(dy), dy, stream, weight, r, SCALE)
    assert all(torch.equal(a, b) for a, b in zip(without, zero, strict=True))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "used", [(True, False), (False, True), (True, True)], ids=["stream", "norm", "both"]
)
def test_autograd_copes_with_an_output_that_goes_unused(
    used: tuple[bool, bool], compiled: bool
) -> None:
    leaves = [tensor.requires_grad_() for tensor in inputs(6, 16)[:3]]

    def step(*tensors: Tensor) -> Tensor:
        return sum(
            output.square().sum()
            for output, wanted in zip(residual_norm(*tensors, SCALE, EPS), used, strict=True)
            if wanted
        )

    def plain_step(*tensors: Tensor) -> Tensor:
        return sum(
            output.square().sum()
            for output, wanted in zip(plain(*tensors, SCALE), used, strict=True)
            if wanted
        )

    run = torch.compile(step, fullgraph=True, backend="aot_eager") if compiled else step
    found = torch.autograd.grad(run(*leaves), leaves, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(
        plain_step(*leaves), leaves, allow_unused=True, materialize_grads=True
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_kernel_gives_the_same_bits_every_time() -> None:
    branch, residual, weight, d_stream, dy = inputs(33, 48)
    runs = []
    for _ in range(2):
        stream, y, r = launch_residual_norm(branch, residual, weight, SCALE, EPS)
        runs.append(
            (stream, y, *launch_residual_norm_backward(d_stream, dy, stream, weight, r, SCALE))
        )
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [SCALE, 1.0])
def test_the_ops_keep_the_rules_of_custom_ops(dtype: torch.dtype, scale: float) -> None:
    branch, residual, weight, d_stream, dy = inputs(4, 16, dtype)
    torch.library.opcheck(
        _residual_norm,
        (*(tensor.clone().requires_grad_() for tensor in (branch, residual, weight)), scale, EPS),
    )
    stream, _, r = torch_residual_norm(branch, residual, weight, scale, EPS)
    for above in (d_stream, None):
        torch.library.opcheck(_residual_norm_backward, (above, dy, stream, weight, r, scale))


@pytest.mark.parametrize("scale", [SCALE, 1.0])
def test_gradients_are_those_of_finite_differences(scale: float) -> None:
    leaves = [tensor.double().requires_grad_() for tensor in inputs(4, 6)[:3]]
    torch.autograd.gradcheck(lambda *tensors: residual_norm(*tensors, scale, EPS), leaves)


@pytest.mark.slow
def test_compiled_whole_it_gives_the_bits_of_eager() -> None:
    leaves = [tensor.requires_grad_() for tensor in inputs(4, 32)[:3]]

    def step(branch: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
        stream, y = residual_norm(branch * 2, residual, weight, SCALE, EPS)
        return stream + y.square()

    results = []
    for run in (step, torch.compile(step, fullgraph=True)):
        out = run(*leaves)
        results.append((out.detach(), *torch.autograd.grad(out.sum(), leaves)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
