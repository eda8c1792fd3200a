"""The rotary turn: kernels and references against complex numbers; the packed gradient; in place,
eager and compiled.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import assert_as_good_as_torch, draw
from trainer.kernels.rope import (
    _pack_gradient,
    _rotate,
    launch_pack_gradient,
    launch_rotate,
    rotated_qkv,
    torch_pack_gradient,
    torch_rotate,
)
from trainer.model.rotary import Rotary, rotation

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
KERNEL_OR_REFERENCE = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])


def angles(rows: int, tokens: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of positions that start anew anywhere, as documents do."""
    positions = torch.randint(
        0, 5000, (rows, tokens), generator=torch.Generator().manual_seed(seed)
    )
    return rotation(positions, size, Rotary())


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """By the formula, in the dtype of ``x``."""
    first, second = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def assert_right(
    rows: int,
    tokens: int,
    heads: int,
    kv_heads: int,
    size: int,
    dtype: torch.dtype,
    kernel: bool,
    seed: int = 0,
) -> None:
    cos, sin = angles(rows, tokens, size, seed)
    qkv = draw(rows, tokens, heads + 2 * kv_heads, size, dtype=dtype, seed=seed)
    found = qkv.clone()
    (launch_rotate if kernel else torch_rotate)(found, cos, sin, heads + kv_heads)
    q_and_k, v = qkv[:, :, : heads + kv_heads], qkv[:, :, heads + kv_heads :]
    assert torch.equal(found[:, :, heads + kv_heads :], v)
    exact = turned(q_and_k.double(), cos, sin)
    assert_as_good_as_torch(found[:, :, : heads + kv_heads], turned(q_and_k, cos, sin), exact)

    above = [
        draw(rows, count, tokens, size, dtype=dtype, seed=seed + 1).transpose(1, 2)
        for count in (heads, kv_heads, kv_heads)
    ]
    packed = (launch_pack_gradient if kernel else torch_pack_gradient)(*above, cos, sin)
    plain, exact = (
        torch.cat([*(turned(part.to(kind), cos, -sin) for part in above[:2]), above[2]], 2)
        for kind in (dtype, torch.float64)
    )
    assert packed.is_contiguous()
    assert_as_good_as_torch(packed, plain, exact)


@KERNEL_OR_REFERENCE
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "size"), [(1, 1, 2), (4, 2, 6), (9, 3, 16), (12, 12, 64)]
)
def test_turn_and_packed_gradient_are_right(
    heads: int, kv_heads: int, size: int, dtype: torch.dtype, kernel: bool
) -> None:
    assert_right(2, 5, heads, kv_heads, size, dtype, kernel)


@settings(max_examples=15)
@given(
    rows=st.integers(0, 3),
    tokens=st.integers(0, 9),
    groups=st.integers(1, 3),
    kv_heads=st.integers(1, 9),
    half=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_shape_is_right(
    rows: int, tokens: int, groups: int, kv_heads: int, half: int, seed: int
) -> None:
    assert_right(
        rows, tokens, groups * kv_heads, kv_heads, 2 * half, torch.float32, kernel=True, seed=seed
    )


@KERNEL_OR_REFERENCE
def test_gradients_may_be_broadcast_or_strided(kernel: bool) -> None:
    cos, sin = angles(2, 3, 8)
    dq, dk, dv = (
        draw(2, 3, 4, 16)[..., ::2],
        draw(1, 1, 1, 8, seed=1).expand(2, 3, 2, 8),
        torch.ones(()).expand(2, 3, 2, 8),
    )
    pack = launch_pack_gradient if kernel else torch_pack_gradient
    assert torch.equal(
        pack(dq, dk, dv, cos, sin),
        pack(dq.contiguous(), dk.contiguous(), dv.contiguous(), cos, sin),
    )


def test_results_are_views_of_what_was_given() -> None:
    qkv, (cos, sin) = draw(2, 3, 8, 16), angles(2, 3, 16)
    made = qkv + 0
    q, k, v = rotated_qkv(made, cos, sin, 4, 2)
    assert {part.untyped_storage().data_ptr() for part in (q, k, v)} == {
        made.untyped_storage().data_ptr()
    }
    assert [part.shape[2] for part in (q, k, v)] == [4, 2, 2]
    torch.testing.assert_close(torch.cat([q, k], 2), turned(qkv[:, :, :6], cos, sin))
    assert torch.equal(v, qkv[:, :, 6:])


def test_a_leaf_and_a_strided_product_keep_their_values() -> None:
    cos, sin = angles(1, 3, 8)
    leaf, wide = draw(1, 3, 4, 8).requires_grad_(), draw(1, 3, 4, 16)
    rotated_qkv(leaf, cos, sin, 2, 1)[0].sum().backward()
    assert torch.equal(leaf.detach(), draw(1, 3, 4, 8))
    assert leaf.grad is not None
    rotated_qkv(wide[..., ::2], cos, sin, 2, 1)
    assert torch.equal(wide, draw(1, 3, 4, 16))


def test_overwriting_what_its_maker_needs_is_an_error_not_a_wrong_gradient() -> None:
    x, (cos, sin) = draw(1, 3, 4, 8).requires_grad_(), angles(1, 3, 8)
    q, _, _ = rotated_qkv(x.exp(), cos, sin, 2, 1)  # exp keeps its result
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        q.sum().backward()


def test_gradients_are_those_of_finite_differences() -> None:
    qkv, (cos, sin) = draw(1, 3, 4, 6).double().requires_grad_(), angles(1, 3, 6)
    torch.autograd.gradcheck(lambda x: rotated_qkv(x * 1, cos, sin, 2, 1), (qkv,))


def test_a_result_that_goes_unused_has_no_gradient_to_pack() -> None:
    qkv, (cos, sin) = draw(1, 3, 4, 8).requires_grad_(), angles(1, 3, 8)
    (gradient,) = torch.autograd.grad(rotated_qkv(qkv * 1, cos, sin, 2, 1)[2].sum(), qkv)
    assert torch.equal(gradient, torch.cat([torch.zeros(1, 3, 3, 8), torch.ones(1, 3, 1, 8)], 2))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_ops_keep_the_rules_of_custom_ops(dtype: torch.dtype) -> None:
    cos, sin = angles(2, 3, 8)
    torch.library.opcheck(_rotate, (draw(2, 3, 8, 8, dtype=dtype), cos, sin, 6))
    torch.library.opcheck(
        _pack_gradient,
        (*(draw(2, count, 3, 8, dtype=dtype).transpose(1, 2) for count in (4, 2, 2)), cos, sin),
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_whole_it_gives_the_bits_of_eager(backend: str) -> None:
    x, weight, (cos, sin) = draw(2, 3, 12), draw(64, 12, seed=1).requires_grad_(), angles(2, 3, 8)

    def step(weight: Tensor) -> tuple[Tensor, ...]:
        return rotated_qkv(torch.nn.functional.linear(x, weight).view(2, 3, 8, 8), cos, sin, 4, 2)

    results = []
    for run in (step, torch.compile(step, fullgraph=True, backend=backend)):
        outputs = run(weight)
        gradients = torch.autograd.grad(
            outputs, weight, [draw(*out.shape, seed=3) for out in outputs]
        )
        results.append((*(out.detach() for out in outputs), *gradients))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
