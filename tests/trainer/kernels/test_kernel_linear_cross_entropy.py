"""The loss of a linear head in chunks: value, per-token losses and both gradients against torch
with all logits at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import assert_as_good_as_torch, draw
from trainer.kernels import linear_cross_entropy as module
from trainer.kernels import rows_backend
from trainer.kernels.linear_cross_entropy import (
    _linear_cross_entropy,
    chunk_tokens,
    launch_linear_cross_entropy,
    linear_cross_entropy,
    torch_linear_cross_entropy,
)


@dataclass(frozen=True)
class Problem:
    """``hidden`` (N, d), ``head`` (P, d), ``targets`` and ``weights`` (N,)."""

    hidden: Tensor
    head: Tensor
    targets: Tensor
    weights: Tensor
    vocab: int
    scale: float = 1.0
    z_loss: float = 0.0

    def truth(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Loss, nll and the gradients of hidden and head, by autograd over the whole logits."""
        hidden, head = (
            tensor.detach().to(dtype).requires_grad_() for tensor in (self.hidden, self.head)
        )
        wide = torch.promote_types(dtype, torch.float32)
        counted = (self.targets >= 0) & (self.targets < self.vocab)
        z = (hidden @ head[: self.vocab].T).to(wide) * self.scale
        lse = torch.logsumexp(z, 1)
        nll = torch.where(
            counted, lse - z.gather(1, torch.where(counted, self.targets, 0)[:, None])[:, 0], 0.0
        )
        weights = torch.where(counted, self.weights.to(wide), 0.0)
        loss = (weights * (nll + self.z_loss * lse.square())).sum()
        loss.backward()
        return loss.detach(), nll.detach(), hidden.grad, head.grad.to(wide)


def problem(
    tokens: int,
    width: int,
    vocab: int,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    scale: float = 1.0,
    z_loss: float = 0.0,
) -> Problem:
    """Random, a fifth of the weights zero; the head padded to a multiple of 16."""
    generator = torch.Generator().manual_seed(seed + 7)
    head = draw(-(-vocab // 16) * 16, width, dtype=dtype, seed=seed + 1)
    weights = torch.rand(tokens, generator=generator) * (
        torch.rand(tokens, generator=generator) < 0.8
    )
    targets = torch.randint(0, vocab, (tokens,), generator=generator)
    return Problem(
        draw(tokens, width, dtype=dtype, seed=seed), head, targets, weights, vocab, scale, z_loss
    )


def assert_right(given: Problem, kernel: bool) -> None:
    run = launch_linear_cross_entropy if kernel else torch_linear_cross_entropy
    found = run(
        given.hidden,
        given.head,
        given.targets,
        given.weights,
        given.vocab,
        given.scale,
        given.z_loss,
        True,
    )
    for ours, plain, exact in zip(
        found, given.truth(given.hidden.dtype), given.truth(), strict=True
    ):
        assert_as_good_as_torch(ours, plain, exact)
    assert not found[3][given.vocab :].any()


BOTH = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("tokens", "vocab"),
    [(1, 5), (57, 101), pytest.param(300, 33, marks=pytest.mark.slow)],
)
def test_loss_and_gradients_are_right_over_several_chunks(
    tokens: int, vocab: int, dtype: torch.dtype, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_TOKENS", 128)
    monkeypatch.setattr(module, "CACHED_LOGITS", 16 * 112)
    assert_right(problem(tokens, 24, vocab, dtype, scale=0.5, z_loss=1e-3), kernel)


@settings(max_examples=15)
@given(
    tokens=st.integers(0, 40),
    width=st.integers(1, 20),
    vocab=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_any_shape_is_right(tokens: int, width: int, vocab: int, seed: int) -> None:
    for kernel in (True, False):
        assert_right(problem(tokens, width, vocab, seed=seed), kernel)


@BOTH
def test_a_batch_of_ignored_targets_has_loss_and_gradients_of_zero(kernel: bool) -> None:
    given = problem(9, 8, 20)
    ignored = Problem(given.hidden, given.head, torch.full((9,), -100), torch.ones(9), 20)
    run = launch_linear_cross_entropy if kernel else torch_linear_cross_entropy
    assert all(
        not tensor.any()
        for tensor in run(
            ignored.hidden, ignored.head, ignored.targets, ignored.weights, 20, 1.0, 0.0, True
        )
    )


def test_the_gradient_from_above_multiplies_both_gradients() -> None:
    given = problem(30, 12, 40)
    hidden, head = given.hidden.clone().requires_grad_(), given.head.clone().requires_grad_()
    loss, nll = linear_cross_entropy(hidden, head, given.targets, given.weights, 40)
    found = torch.autograd.grad(-0.25 * loss, [hidden, head])
    exact = given.truth()
    for ours, true in zip(found, exact[2:], strict=True):
        torch.testing.assert_close(ours.double(), -0.25 * true, atol=1e-5, rtol=1e-5)
    assert not nll.requires_grad


def test_a_gradient_from_above_that_bf16_cannot_hold_scales_the_hidden_gradient_exactly() -> None:
    given = problem(30, 12, 40, torch.bfloat16)
    hidden = given.hidden.clone().requires_grad_()
    loss, _ = linear_cross_entropy(hidden, given.head, given.targets, given.weights, 40)
    (whole,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    above = 1 + 2**-7 * 0.49  # rounds to 1 in bf16
    (scaled,) = torch.autograd.grad(loss * above, hidden)
    assert torch.equal(scaled, (whole.float() * above).bfloat16())
    assert not torch.equal(scaled, whole)


def test_the_heads_gradient_stays_fp32_where_the_tensor_takes_it() -> None:
    given = problem(30, 12, 40, torch.bfloat16)
    head = given.head.clone().requires_grad_()
    head.grad_dtype = torch.float32
    loss, _ = linear_cross_entropy(given.hidden, head, given.targets, given.weights, 40)
    loss.backward()
    assert head.grad.dtype == torch.float32
    assert bool((head.grad != head.grad.bfloat16().float()).any())


def test_without_gradients_nothing_is_kept_and_the_loss_is_the_same() -> None:
    given = problem(30, 12, 40)
    arguments = (given.hidden, given.head, given.targets, given.weights, 40, 1.0, 0.0)
    for run in (launch_linear_cross_entropy, torch_linear_cross_entropy):
        loss, nll, hidden_gradient, head_gradient = run(*arguments, False)
        full = run(*arguments, True)
        assert torch.equal(loss, full[0])
        assert torch.equal(nll, full[1])
        assert hidden_gradient.numel() == head_gradient.numel() == 0


def test_chunks_are_few_equal_and_whole_tiles() -> None:
    assert [chunk_tokens(tokens) for tokens in (1, 128, 4096, 4097, 16384, 20000)] == [
        128,
        128,
        4096,
        2176,
        4096,
        4096,
    ]
    assert all(
        chunk_tokens(tokens) <= 4096 and chunk_tokens(tokens) % 128 == 0
        for tokens in range(1, 20000, 37)
    )


@pytest.mark.slow
def test_the_same_bits_every_time() -> None:
    given = problem(300, 12, 40)
    arguments = (given.hidden, given.head, given.targets, given.weights, 40, 1.0, 1e-3, True)
    for run in (launch_linear_cross_entropy, torch_linear_cross_entropy):
        assert all(torch.equal(a, b) for a, b in zip(run(*arguments), run(*arguments), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_op_keeps_the_rules_of_custom_ops(dtype: torch.dtype, wanted: bool) -> None:
    given = problem(6, 8, 20, dtype)
    hidden, head = given.hidden.requires_grad_(wanted), given.head.requires_grad_(wanted)
    torch.library.opcheck(
        _linear_cross_entropy, (hidden, head, given.targets, given.weights, 20, 0.5, 1e-3, wanted)
    )


@pytest.mark.slow
def test_compiled_whole_it_gives_the_bits_of_eager_also_with_ignored_targets() -> None:
    given = problem(40, 12, 40)
    targets = given.targets.clone()
    targets[::3] = -100
    hidden, head = given.hidden.clone().requires_grad_(), given.head.clone().requires_grad_()

    def step(hidden: Tensor, head: Tensor) -> Tensor:
        return linear_cross_entropy(hidden * 2, head, targets, given.weights, 40)[0] / 7

    results = []
    for run in (step, torch.compile(step, fullgraph=True)):
        loss = run(hidden, head)
        results.append((loss.detach(), *torch.autograd.grad(loss, [hidden, head])))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_scale_of_zero_is_refused() -> None:
    given = problem(2, 4, 5)
    with pytest.raises(ValueError, match="logit_scale"):
        linear_cross_entropy(
            given.hidden, given.head, given.targets, given.weights, 5, logit_scale=0.0
        )


def test_where_cuda_rows_cannot_run_tritons_take_their_place_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = problem(9, 8, 20)
    arguments = (given.hidden, given.head, given.targets, given.weights, 20, 1.0, 0.0, True)
    expected = launch_linear_cross_entropy(*arguments)
    rows_backend.use("cuda")
    try:
        found = launch_linear_cross_entropy(*arguments)
    finally:
        rows_backend.use("triton")
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert "float32" in caplog.text
    with pytest.raises(ValueError, match="no backend"):
        rows_backend.use("rocm")
