"""The critical batch by branches, by the curve of tokens, and by the noise scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from trainer.experiments.fits.critical_batch import (
    branched_rate,
    critical_by_branches,
    fit_token_curve,
    noise_scale_in_tokens,
)

BATCHES = [1024.0 * 2**place for place in range(6)]


def branches(worse: dict[float, float], seeds: int = 4) -> dict[float, dict[object, float]]:
    draw = np.random.default_rng(1)
    luck = draw.normal(0, 0.05, seeds)
    return {
        multiple: {seed: 3 + luck[seed] + by + draw.normal(0, 0.001) for seed in range(seeds)}
        for multiple, by in {1.0: 0.0, **worse}.items()
    }


def test_the_critical_batch_lies_between_the_last_that_recovers_and_the_first_that_does_not() -> (
    None
):
    found = critical_by_branches(2048, branches({2: 0.001, 4: 0.004, 8: 0.08, 16: 0.2}))
    assert (found.recovered, found.worse) == (4, 8)
    assert (found.low, found.high) == (8192, 16384)
    assert found.next_multiple is None
    assert found.to_json()["verdicts"]["8"]["verdict"] == "refuted"


def test_where_all_recover_a_larger_one_is_asked_for() -> None:
    found = critical_by_branches(2048, branches({2: 0.0, 4: 0.001}))
    assert (found.recovered, found.worse, found.high) == (4, None, None)
    assert found.next_multiple == 8


def test_a_multiple_that_cannot_be_told_ends_what_is_recovered() -> None:
    found = critical_by_branches(2048, branches({2: 0.02, 4: 0.0}))
    assert found.recovered is None
    assert found.low == 2048


def test_one_seed_cannot_tell() -> None:
    found = critical_by_branches(2048, branches({2: 0.0}, seeds=1))
    assert found.verdicts[2].conclusion == "cannot tell"
    assert found.verdicts[2].claim.reason == "one seed shows no noise"


@given(st.floats(500, 1e5), st.floats(1e4, 1e9), st.floats(0.01, 100))
def test_an_exact_curve_is_recovered_in_any_unit(
    critical: float, least: float, unit: float
) -> None:
    tokens = [unit * least * (1 + batch / critical) for batch in BATCHES]
    found = fit_token_curve([unit * batch for batch in BATCHES], tokens)
    assert found.critical == pytest.approx(unit * critical, rel=1e-4)
    assert found.least == pytest.approx(unit * least, rel=1e-4)
    assert found.tokens(unit * 1024) == pytest.approx(tokens[0], rel=1e-5)
    assert found.determined


def test_the_two_forms_of_the_law_are_one() -> None:
    """(S/Smin - 1)(E/Emin - 1) = 1 with S = E/B and Bc = Emin/Smin."""
    found = fit_token_curve(BATCHES, [1e6 * (1 + batch / 4000) for batch in BATCHES])
    least_steps = found.least / found.critical
    for batch in BATCHES:
        tokens = found.tokens(batch)
        assert (tokens / batch / least_steps - 1) * (tokens / found.least - 1) == pytest.approx(1)


@pytest.mark.slow
def test_the_interval_of_the_critical_batch_holds_it_as_often_as_it_says() -> None:
    draw, held, repetitions = np.random.default_rng(2), 0, 200
    batches = np.repeat(BATCHES, 3)
    for _ in range(repetitions):
        tokens = 1e6 * (1 + batches / 6000) * np.exp(draw.normal(0, 0.03, len(batches)))
        found = fit_token_curve(batches.tolist(), tokens.tolist())
        assert found.interval is not None
        held += found.interval[0] <= 6000 <= found.interval[1]
    assert 0.90 <= held / repetitions <= 0.99


@pytest.mark.parametrize(
    ("tokens", "said"),
    [([1e6] * 6, "lies above all"), ([3.0 * batch for batch in BATCHES], "lies below all")],
)
def test_a_critical_batch_outside_the_batches_is_not_determined(
    tokens: list[float], said: str
) -> None:
    found = fit_token_curve(BATCHES, tokens)
    assert not found.determined
    assert said in str(found.reason)
    assert found.to_json()["low"] is None


def test_two_batches_have_no_interval() -> None:
    found = fit_token_curve([1000, 4000], [1.25e6, 2e6])
    assert found.critical == pytest.approx(4000, rel=1e-6)
    assert found.interval is None


def test_the_noise_scale_is_a_ratio_of_means_in_tokens() -> None:
    """g ~ N(G, 0.9 I / b) in 1,000 dimensions, |G|^2 = 4: S 900, G2 4, ratio 225."""
    draw, small, micro = np.random.default_rng(3), 4, 8
    truth = np.full(1000, math.sqrt(4 / 1000))
    noise, signal = [], []
    for _ in range(200):
        parts = truth + draw.normal(0, math.sqrt(0.9 / small), (micro, 1000))
        of_parts, of_whole = (parts**2).sum(1).mean(), (parts.mean(0) ** 2).sum()
        whole = small * micro
        signal.append((whole * of_whole - small * of_parts) / (whole - small))
        noise.append((of_parts - of_whole) / (1 / small - 1 / whole))
    found = noise_scale_in_tokens(noise, signal, 128)
    assert found == pytest.approx(225 * 128, rel=0.05)
    assert noise_scale_in_tokens([1.0], [-0.1], 128) is None


def test_a_branch_has_the_root_of_its_multiple_in_its_rate() -> None:
    assert branched_rate(0.01, 4) == 0.02
    with pytest.raises(UserError, match="above 0"):
        branched_rate(0.01, 0)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(UserError, match="held against"):
        critical_by_branches(2048, {2.0: {1: 3.0}})
    with pytest.raises(UserError, match="held against"):
        critical_by_branches(2048, {1.0: {1: 3.0}})
    with pytest.raises(UserError, match="same seed"):
        critical_by_branches(2048, {1.0: {1: 3.0, 2: 3.1}, 2.0: {1: 3.0, 3: 3.0}})
    for batches, tokens in (([1, 1], [2, 2]), ([], []), ([1, 2], [1, 0]), ([1, 2], [1])):
        with pytest.raises(UserError, match="two batches"):
            fit_token_curve(batches, tokens)
    with pytest.raises(UserError, match="finite"):
        fit_token_curve([1, 2], [1, math.nan])
    with pytest.raises(UserError, match="noise scale needs"):
        noise_scale_in_tokens([], [], 128)
