"""Linear layers in 8-bit floats: the arithmetic against torch's scaled product, gradients, the op's
rules, and who may use it.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from artifacts.errors import UserError
from tests.trainer.kernels.judge import draw
from trainer.kernels.float8 import (
    E4M3,
    E5M2,
    _backward,
    _float8_linear,
    _float8_linear_backward,
    _forward,
    device_product,
    emulated_product,
    float8_linear,
    launch_round,
    quantised,
    scale_of,
    torch_round,
    whole,
)
from trainer.loop.settings import TrainSettings
from trainer.model import Model, ModelConfig, init
from trainer.model.float8 import check_shapes, emulate_float8, use_float8

CONFIG = ModelConfig(vocab_size=70, width=64, layers=2, heads=4, kv_heads=2, ff=160, head_dim=16)


@given(
    rows=st.integers(1, 40),
    scale=st.sampled_from([0.0, 1e-20, 1e-6, 1.0, 1e30]),
    dtype=st.sampled_from([E4M3, E5M2]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_rounding_keeps_the_largest_value_and_is_half_a_step_off(
    rows: int, scale: float, dtype: torch.dtype, seed: int
) -> None:
    x = draw(rows, 16, seed=seed) * scale
    q, inverse = quantised(x, dtype)
    back = q.float() * inverse
    step = 2.0**-4 if dtype == E4M3 else 2.0**-3
    smallest = torch.finfo(dtype).smallest_normal * inverse
    assert bool(torch.isfinite(back).all())
    assert bool(((back - x).abs() <= step * torch.maximum(x.abs(), smallest) * 1.01).all())
    if scale >= 1e-6:
        torch.testing.assert_close(back.abs().max(), x.abs().max(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_is_not_hidden(bad: float) -> None:
    x = draw(16, 32)
    x[3, 5] = bad
    assert not bool(torch.isfinite(float8_linear(x, draw(48, 32, seed=1))).any())


@pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=str)
@pytest.mark.parametrize("wide", [torch.float32, torch.bfloat16], ids=str)
def test_the_kernel_rounds_as_torch_does(dtype: torch.dtype, wide: torch.dtype) -> None:
    x = draw(5, 431, dtype=wide)
    scale = scale_of(x, dtype)
    found, wanted = launch_round(x, scale, dtype).float(), torch_round(x, scale, dtype).float()
    # the interpreter loses the carry into the next power of two
    sure = torch.frexp(wanted)[0].abs() != 0.5
    assert sure.float().mean() > 0.7
    assert torch.equal(found[sure], wanted[sure])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_products_are_those_of_torchs_scaled_product(dtype: torch.dtype) -> None:
    x, weight, dy = (
        draw(3, 16, 96, dtype=dtype),
        draw(64, 96, dtype=dtype, seed=1),
        draw(3, 16, 64, dtype=dtype, seed=2),
    )
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 2**-7, "atol": 1e-2}
    )
    ours, oracle = (_forward(x, weight, product) for product in (emulated_product, device_product))
    torch.testing.assert_close(ours[0], oracle[0], **tolerance)
    pairs = zip(
        *(
            _backward(dy, *ours[1:], dtype, product)
            for product in (emulated_product, device_product)
        ),
        strict=True,
    )
    for found, wanted in pairs:
        assert found.dtype == dtype
        torch.testing.assert_close(found, wanted, **tolerance)


def test_results_and_gradients_are_near_those_of_fp32_and_better_than_those_of_fewer_bits() -> None:
    x, weight, upward = draw(200, 96), draw(64, 96, seed=1), draw(200, 64, seed=2)
    exact = results(F.linear, x, weight, upward)
    for found, wanted in zip(results(float8_linear, x, weight, upward), exact, strict=True):
        error = (found - wanted).norm() / wanted.norm()
        assert 0.005 < error < 0.07  # e4m3 rounds by at most 1/16, e5m2 by 1/8, both evenly


def results(function, x: Tensor, weight: Tensor, upward: Tensor) -> tuple[Tensor, ...]:
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = function(x, weight)
    return (y.detach(), *torch.autograd.grad(y, (x, weight), upward))


def test_no_rows_give_no_rows_and_a_gradient_of_zero() -> None:
    weight = draw(48, 32).requires_grad_()
    y = float8_linear(draw(0, 3, 32), weight)
    y.sum().backward()
    assert y.shape == (0, 3, 48)
    assert torch.equal(weight.grad, torch.zeros(48, 32))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_ops_keep_the_rules_of_custom_ops(dtype: torch.dtype) -> None:
    x, weight = (
        draw(2, 8, 32, dtype=dtype).requires_grad_(),
        draw(16, 32, dtype=dtype, seed=1).requires_grad_(),
    )
    torch.library.opcheck(_float8_linear, (x, weight))
    kept = [part.detach() for part in _float8_linear(x, weight)[1:]]
    torch.library.opcheck(_float8_linear_backward, (draw(2, 8, 16, dtype=dtype), *kept, dtype))


@pytest.mark.slow
def test_compiled_whole_it_gives_the_bits_of_eager_and_the_same_again() -> None:
    x, weight, upward = draw(4, 32), draw(48, 32, seed=1), draw(4, 48, seed=2)
    once, again, compiled = (
        results(run, x, weight, upward)
        for run in (float8_linear, float8_linear, torch.compile(float8_linear, fullgraph=True))
    )
    for first, second, third in zip(once, again, compiled, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, third)


def test_a_model_learns_with_it_and_the_head_stays_as_it_was() -> None:
    tokens = torch.arange(24)[None] % 7
    losses = []
    for emulated in (False, True):
        model = Model(CONFIG)
        init(model, CONFIG, seed=1)
        if emulated:
            emulate_float8(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        for _ in range(20):
            loss = (
                model.loss(
                    model(tokens, torch.arange(24)[None]), (tokens + 1) % 7, torch.ones(1, 24)
                )[0]
                / 24
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] < 1.5
    assert losses[1] != losses[0]
    assert abs(losses[1] - losses[0]) < 0.1


def test_a_cpu_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"compute capability 8\.9") as error:
        use_float8(Model(CONFIG), torch.device("cpu"))
    assert error.value.field == "train.float8"


def test_a_size_that_is_no_multiple_of_16_is_refused_by_name() -> None:
    check_shapes(Model(CONFIG))
    with pytest.raises(UserError, match="multiples of 16") as error:
        check_shapes(
            Model(
                ModelConfig(
                    vocab_size=70, width=64, layers=1, heads=4, kv_heads=2, ff=168, head_dim=16
                )
            )
        )
    assert "layers.0.feed_forward.down: 64 x 168" in str(error.value)


def test_it_is_off_unless_asked_for_and_fixed_for_a_run() -> None:
    assert TrainSettings().fixed()["float8"] is False
    assert TrainSettings(float8=True).fixed()["float8"] is True


@pytest.mark.parametrize("tokens", [1, 15, 16, 20])
def test_rows_are_filled_up_with_zeros_to_what_tensor_cores_sum_over(tokens: int) -> None:
    rows = draw(tokens, 32).to(E4M3)
    filled = whole(rows)
    assert len(filled) % 16 == 0
    assert torch.equal(filled[:tokens].float(), rows.float())
    assert not filled[tokens:].float().any()
