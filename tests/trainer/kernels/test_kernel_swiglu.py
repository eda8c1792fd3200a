"""SwiGLU: kernels and references against torch in fp64, alone and with the product behind it;
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
from trainer.kernels import swiglu as module
from trainer.kernels.swiglu import (
    _swiglu,
    _swiglu_backward,
    _swiglu_linear,
    _swiglu_linear_backward,
    launch_swiglu,
    launch_swiglu_backward,
    launch_swiglu_linear,
    launch_swiglu_linear_backward,
    swiglu,
    swiglu_linear,
    torch_swiglu,
    torch_swiglu_backward,
    torch_swiglu_linear,
    torch_swiglu_linear_backward,
)

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FORWARD = {True: launch_swiglu, False: torch_swiglu}
BACKWARD = {True: launch_swiglu_backward, False: torch_swiglu_backward}


def plain(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def assert_right(gate_up: Tensor, dh: Tensor, kernel: bool) -> None:
    remade = dh.clone()
    found = (
        FORWARD[kernel](gate_up),
        BACKWARD[kernel](dh, gate_up),
        BACKWARD[kernel](remade, gate_up, True),
        remade,
    )
    sides = []
    for dtype in (gate_up.dtype, torch.float64):
        leaf = gate_up.detach().to(dtype).requires_grad_()
        h = plain(leaf)
        (gradient,) = torch.autograd.grad(h, leaf, dh.to(dtype))
        sides.append((h.detach(), gradient, gradient, h.detach()))
    for ours, theirs, exact in zip(found, *sides, strict=True):
        assert_as_good_as_torch(ours, theirs, exact)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inner", [1, 7, 8, 96, 250])
def test_forward_and_backward_are_right(inner: int, dtype: torch.dtype, kernel: bool) -> None:
    assert_right(draw(5, 2 * inner, dtype=dtype), draw(5, inner, dtype=dtype, seed=1), kernel)


@settings(max_examples=20)
@given(
    rows=st.integers(0, 70),
    inner=st.integers(1, 90),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_scale_is_right(rows: int, inner: int, scale: float, seed: int) -> None:
    assert_right(
        draw(rows, 2 * inner, seed=seed, scale=scale), draw(rows, inner, seed=seed + 1), kernel=True
    )


def test_tiles_may_be_narrower_than_a_row_and_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 32)
    assert_right(draw(6, 2 * 50), draw(6, 50, seed=1), kernel=True)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
def test_huge_gates_saturate_without_nan(kernel: bool) -> None:
    gate = torch.tensor([-3e38, -1e4, -89.0, 0.0, 89.0, 1e4])
    gate_up = torch.cat([gate, torch.full((6,), 2.0)])[None]
    h, gradient = FORWARD[kernel](gate_up), BACKWARD[kernel](torch.ones(1, 6), gate_up)
    torch.testing.assert_close(
        h[0], torch.tensor([0.0, 0.0, 0.0, 0.0, 178.0, 2e4]), atol=1e-30, rtol=1e-6
    )
    torch.testing.assert_close(
        gradient[0, :6], torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 2.0]), atol=1e-30, rtol=1e-6
    )
    torch.testing.assert_close(
        gradient[0, 6:], torch.tensor([0.0, 0.0, 0.0, 0.0, 89.0, 1e4]), atol=1e-30, rtol=1e-6
    )


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("shape", [(9,), (2, 5), (0,)], ids=str)
def test_the_whole_branch_has_the_gradients_of_its_formula(
    shape: tuple[int, ...], kernel: bool
) -> None:
    gate_up, weight, dy = draw(*shape, 2 * 24), draw(10, 24, seed=1), draw(*shape, 10, seed=2)
    forward = launch_swiglu_linear if kernel else torch_swiglu_linear
    backward = launch_swiglu_linear_backward if kernel else torch_swiglu_linear_backward
    leaves = gate_up.double().requires_grad_(), weight.double().requires_grad_()
    out = F.linear(plain(leaves[0]), leaves[1])
    expected = (out.detach(), *torch.autograd.grad(out, leaves, dy.double()))
    for ours, exact in zip(
        (forward(gate_up, weight), *backward(dy, gate_up, weight)), expected, strict=True
    ):
        torch.testing.assert_close(ours.double(), exact, atol=1e-4, rtol=1e-5)


def test_the_branch_keeps_its_arguments_alone() -> None:
    gate_up, weight = draw(6, 32).requires_grad_(), draw(8, 16, seed=1).requires_grad_()
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        swiglu_linear(gate_up, weight)
    assert {tensor.data_ptr() for tensor in kept} == {gate_up.data_ptr(), weight.data_ptr()}


def test_the_kernel_gives_the_same_bits_every_time() -> None:
    gate_up, weight, dy = draw(33, 96), draw(10, 48, seed=1), draw(33, 10, seed=2)
    once, again = (
        (launch_swiglu(gate_up), *launch_swiglu_linear_backward(dy, gate_up, weight))
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_ops_keep_the_rules_of_custom_ops(dtype: torch.dtype) -> None:
    gate_up, weight, dh = (
        draw(3, 4, 32, dtype=dtype),
        draw(8, 16, dtype=dtype, seed=1),
        draw(3, 4, 16, dtype=dtype, seed=2),
    )
    torch.library.opcheck(_swiglu, (gate_up.clone().requires_grad_(),))
    torch.library.opcheck(_swiglu_backward, (dh, gate_up))
    torch.library.opcheck(
        _swiglu_linear, (gate_up.clone().requires_grad_(), weight.clone().requires_grad_())
    )
    torch.library.opcheck(
        _swiglu_linear_backward, (draw(3, 4, 8, dtype=dtype, seed=3), gate_up, weight)
    )


def test_gradients_are_those_of_finite_differences() -> None:
    gate_up, weight = (
        draw(4, 12).double().requires_grad_(),
        draw(3, 6, seed=1).double().requires_grad_(),
    )
    torch.autograd.gradcheck(swiglu, (gate_up,))
    torch.autograd.gradcheck(swiglu_linear, (gate_up, weight))


@pytest.mark.slow
def test_compiled_whole_it_gives_the_bits_of_eager() -> None:
    leaves = draw(4, 32).requires_grad_(), draw(8, 16, seed=1).requires_grad_()

    def step(gate_up: Tensor, weight: Tensor) -> Tensor:
        return swiglu_linear(gate_up * 2, weight).square() + swiglu(gate_up)[:, :8]

    results = []
    for run in (step, torch.compile(step, fullgraph=True)):
        out = run(*leaves)
        results.append((out.detach(), *torch.autograd.grad(out.sum(), leaves)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
