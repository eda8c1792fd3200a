"""Tables of rotary angles: the plain one by complex numbers, NTK and YaRN by their formulas written
down a second time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from tests.oracles.plain_minicpm import plain_rotary
from trainer.kernels.rope import rotated_qkv
from trainer.model import Model, ModelConfig, init
from trainer.model.rotary import dynamic_frequencies, frequencies, rotation
from trainer.shapes.presets import preset
from trainer.shapes.rotary import Rotary


def rotate(x: torch.Tensor, positions: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    """``x`` (B, T, N, K) turned, as the queries of a product."""
    heads, size = x.shape[2:]
    qkv = torch.cat([x, torch.zeros(*x.shape[:2], 2, size)], 2)
    return rotated_qkv(qkv, *rotation(positions, size, rotary), heads, 1)[0]


def yarn_by_hand(
    size: int, theta: float, factor: float, context: int, fast: float, slow: float
) -> tuple[np.ndarray, float]:
    """Section 3.2 of arXiv 2309.00071 with bounds rounded to whole channels, as transformers reads
    it, and the temperature of 3.3.
    """

    def channel_of(turns: float) -> float:
        return size * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = max(math.floor(channel_of(fast)), 0), min(math.ceil(channel_of(slow)), size - 1)
    found = []
    for channel in range(size // 2):
        plain = 1 / theta ** (2 * channel / size)
        gamma = 1 - min(max((channel - low) / (high - low if high != low else 0.001), 0), 1)
        found.append((1 - gamma) * plain / factor + gamma * plain)
    return np.array(found), 0.1 * math.log(factor) + 1


def test_rotary_positions_are_products_of_complex_numbers() -> None:
    x = torch.randn(1, 300, 3, 16, generator=torch.Generator().manual_seed(2))
    turned = rotate(x, torch.arange(1000, 1300)[None], Rotary(theta=10000.0))
    torch.testing.assert_close(
        turned[0], plain_rotary(x[0], 10000.0, first=1000), atol=1e-5, rtol=0
    )


@given(shift=st.integers(0, 4000), seed=st.integers(0, 100))
def test_scores_depend_on_the_distance_of_positions_alone(shift: int, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(1, 1, 1, 16, generator=source) for _ in range(2))

    def score(position: int) -> float:
        at = [torch.tensor([[here]]) for here in (position + 5, position)]
        return float((rotate(q, at[0], Rotary()) * rotate(k, at[1], Rotary())).sum())

    assert score(shift) == pytest.approx(score(0), abs=5e-3)


def test_any_positions_are_taken_token_by_token() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1], [7, 7, 4096, 3, 2]])
    cos, sin = rotation(positions, 8, Rotary(theta=100.0))
    assert cos.shape == sin.shape == (2, 5, 1, 4)
    for place in np.ndindex(2, 5):
        expected = float(positions[place]) * 100.0 ** -(np.arange(4) / 4)
        np.testing.assert_allclose(cos[place][0], np.cos(expected), atol=2e-4)
        np.testing.assert_allclose(sin[place][0], np.sin(expected), atol=2e-4)


@given(
    size=st.integers(2, 64).map(lambda half: 2 * half),
    factor=st.floats(1, 64),
    theta=st.sampled_from([1e4, 5e5]),
)
def test_ntk_keeps_the_fastest_frequency_and_divides_the_slowest_by_the_factor(
    size: int, factor: float, theta: float
) -> None:
    plain, found = (
        frequencies(Rotary(theta=theta), size),
        frequencies(Rotary(theta=theta, scaling="ntk", factor=factor), size),
    )
    assert float(found[0]) == 1.0
    assert float(found[-1]) == pytest.approx(float(plain[-1]) / factor)
    assert found.equal(frequencies(Rotary(theta=theta * factor ** (size / (size - 2))), size))


@given(
    size=st.integers(4, 64).map(lambda half: 2 * half),
    theta=st.sampled_from([1e4, 5e5]),
    factor=st.floats(1, 64),
    context=st.sampled_from([256, 4096, 131072]),
    betas=st.sampled_from([(32.0, 1.0), (16.0, 2.0)]),
)
def test_yarn_is_its_formula(
    size: int, theta: float, factor: float, context: int, betas: tuple[float, float]
) -> None:
    rotary = Rotary(
        theta=theta,
        scaling="yarn",
        factor=factor,
        original_context=context,
        beta_fast=betas[0],
        beta_slow=betas[1],
    )
    by_hand, temperature = yarn_by_hand(size, theta, factor, context, *betas)
    np.testing.assert_allclose(frequencies(rotary, size).numpy(), by_hand, rtol=1e-12)
    assert rotary.temperature == pytest.approx(temperature)


def test_yarn_keeps_what_turns_often_divides_what_turns_seldom_and_sharpens() -> None:
    rotary = Rotary(scaling="yarn", factor=4.0, original_context=4096)
    plain, found = frequencies(Rotary(), 64), frequencies(rotary, 64)
    turns = plain * 4096 / (2 * math.pi)
    assert found[turns > 40].equal(plain[turns > 40])
    torch.testing.assert_close(found[turns < 0.7], plain[turns < 0.7] / 4, rtol=1e-12, atol=0)
    assert bool((found[1:] < found[:-1]).all())
    cos, sin = rotation(torch.tensor([[3, 100]]), 64, rotary)
    torch.testing.assert_close(
        cos.square() + sin.square(), torch.full_like(cos, (0.1 * math.log(4) + 1) ** 2)
    )


@pytest.mark.parametrize(
    ("rotary", "expected"),
    [
        (
            Rotary(scaling="yarn", factor=4.0, original_context=4096),
            [
                1.0,
                0.05623412877321243,
                0.013679072260856628,
                0.0013378867879509926,
                3.333803761051968e-05,
            ],
        ),
        (
            Rotary(scaling="ntk", factor=4.0),
            [
                1.0,
                0.035957302898168564,
                0.009508279152214527,
                0.0012929275399073958,
                3.333803397254087e-05,
            ],
        ),
    ],
    ids=["yarn", "ntk"],
)
def test_frequencies_are_those_that_transformers_computes(
    rotary: Rotary, expected: list[float]
) -> None:
    """Its figures (fp32, 5.24.0) for a head of 64: ``yarn``, and ``dynamic`` with factor 1 at four
    times its context.
    """
    np.testing.assert_allclose(
        frequencies(rotary, 64)[[0, 10, 14, 20, 31]].numpy(), expected, rtol=2e-7
    )


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"scaling": "yarm"}, "rotary.scaling"),
        ({"theta": 0.0}, "rotary.theta"),
        ({"theta": math.inf}, "rotary.theta"),
        ({"theta": 1.0, "scaling": "ntk"}, "rotary.theta"),
        ({"factor": 0.5, "scaling": "ntk"}, "rotary.factor"),
        ({"factor": 2.0}, "rotary.factor"),
        ({"factor": 2.0, "scaling": "yarn"}, "rotary.original_context"),
        ({"original_context": 0}, "rotary.original_context"),
        ({"beta_slow": True}, "rotary.beta_slow"),
        ({"beta_fast": 1.0, "beta_slow": 2.0}, "rotary.beta_fast"),
    ],
)
def test_settings_that_make_no_table_are_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as caught:
        Rotary(**settings)
    assert caught.value.field == field
    assert caught.value.fix or caught.value.allowed


def test_ntk_needs_two_frequencies() -> None:
    with pytest.raises(UserError, match="two frequencies"):
        Rotary(scaling="ntk", factor=2.0).check_head(2)


CHANNELS = [1, 8, 16, 24, 31]


def test_dynamic_ntk_grows_with_the_row_and_is_plain_within_the_original_context() -> None:
    """At 16,384 tokens of 4,096 the factor is 4 * 4 - 3 = 13. Figures of transformers 5.24.0."""
    rotary = Rotary(scaling="dynamic", factor=4.0, original_context=4096)
    found = dynamic_frequencies(rotary, 64, torch.tensor([1, 4096, 16384]))
    assert found[0].equal(frequencies(Rotary(), 64))
    assert found[1].equal(found[0])
    expected = [6.903452e-1, 5.158587e-2, 2.661102e-3, 1.372752e-4, 1.025786e-5]
    np.testing.assert_allclose(found[2][CHANNELS].numpy(), expected, rtol=5e-7)
    long, short = torch.arange(16384)[None], torch.arange(100)[None]
    for positions, row in ((long, 2), (short, 0)):
        cos, _ = rotation(positions, 64, rotary)
        by_hand = (positions.float()[..., None] * found[row].float()).cos()
        torch.testing.assert_close(cos[:, :, 0], by_hand, atol=1e-6, rtol=0)


def test_yarn_of_a_head_of_64() -> None:
    """Figures of transformers 5.24.0."""
    rotary = Rotary(scaling="yarn", factor=4.0, original_context=4096)
    expected = [7.498942e-1, 1e-1, 6.538462e-3, 2.5e-4, 3.333804e-5]
    np.testing.assert_allclose(frequencies(rotary, 64)[CHANNELS].numpy(), expected, rtol=3e-7)
    assert rotary.temperature == pytest.approx(1.138629, rel=1e-6)


def test_ntk_by_a_factor_is_a_larger_theta() -> None:
    found = frequencies(Rotary(scaling="ntk", factor=4.0), 64)
    torch.testing.assert_close(found, frequencies(Rotary(theta=41829.366), 64), rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"rope_scaling": "yarm"}, "model.rope_scaling"),
        ({"rope_factor": 2.0}, "model.rope_factor"),
        ({"rope_scaling": "ntk", "rope_factor": 0.5}, "model.rope_factor"),
        ({"rope_scaling": "yarn", "rope_factor": 2.0}, "model.rope_original_context"),
        ({"rope_scaling": "dynamic", "rope_factor": 2.0}, "model.rope_original_context"),
        ({"rope_scaling": "ntk", "rope_factor": 2.0, "head_dim": 2}, "model.head_dim"),
    ],
)
def test_a_model_refuses_them_by_its_own_names(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as caught:
        preset("tiny", **settings)
    assert caught.value.field == field


def test_settings_of_rotary_positions_reach_the_model() -> None:
    scaled = {"rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_context": 32}
    config = preset("tiny", vocab_size=320, layers=1, **scaled)
    assert config.rotary == Rotary(scaling="yarn", factor=4.0, original_context=32)
    for stored in (config.as_dict(), config.recorded()):
        assert ModelConfig.from_dict(stored) == config
    plain = preset("tiny", vocab_size=320, layers=1)
    assert not plain.recorded().keys() & {*scaled, "qk_norm"}
    tokens, positions = torch.arange(60)[None] % 320, torch.arange(60)[None]
    found = []
    for shape in (plain, config):
        model = Model(shape)
        init(model, shape, seed=1)
        found.append(model(tokens, positions))
    assert not torch.allclose(*found, atol=1e-3)
