"""Published laws, inference and repetition: their printed and recomputed figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from artifacts.errors import UserError
from trainer.experiments.laws.inference import cost, same_quality, within
from trainer.experiments.laws.law import Law
from trainer.experiments.laws.published import (
    BATCH_LAW,
    BESIROGLU,
    CHINCHILLA,
    CHINCHILLA_ROUNDED,
    MUENNIGHOFF,
    PAPER_SETS,
    SINGLE_MODEL,
)
from trainer.experiments.laws.repetition import (
    REPEATED_TOKENS,
    best_repeated,
    repeated_loss,
    worth,
)


def test_the_papers_ratios_from_its_printed_constants() -> None:
    ratios = [float(one.law.ratio(1e21)) for one in PAPER_SETS]
    assert ratios == pytest.approx([193.7, 176.9, 879.0, 91.2, 105.8, 183.9], abs=0.1)
    assert [one.printed_ratio for one in PAPER_SETS] == [
        194.93, 166.04, 833.95, 95.60, 112.79, 191.87,
    ]  # fmt: skip


def test_chinchillas_ratios_need_the_digits_of_its_exponents() -> None:
    assert CHINCHILLA_ROUNDED.ratio(1e21) == pytest.approx(50, abs=0.5)
    assert CHINCHILLA_ROUNDED.ratio(5.76e23) == pytest.approx(93, abs=0.5)
    assert CHINCHILLA.ratio(1e21) == pytest.approx(34, abs=0.5)
    assert CHINCHILLA.ratio(5.76e23) == pytest.approx(59, abs=0.5)
    assert BESIROGLU.ratio(1e21) == pytest.approx(21.6, abs=0.05)


@pytest.mark.parametrize(("loss", "tokens"), [(2.5, 3.978e6), (4.0, 211.8e3), (5.0, 52.6e3)])
def test_the_batch_law_and_its_inverse(loss: float, tokens: float) -> None:
    assert BATCH_LAW.tokens(loss) == pytest.approx(tokens, rel=1e-3)
    assert BATCH_LAW.loss(BATCH_LAW.tokens(loss)) == pytest.approx(loss, rel=1e-12)


def test_the_law_of_one_model_and_its_inverse() -> None:
    assert SINGLE_MODEL.loss(6.6e18) == pytest.approx(3.375, abs=5e-4)
    assert SINGLE_MODEL.operations(3.32) == pytest.approx(2.80e19, rel=2e-3)
    assert SINGLE_MODEL.loss(SINGLE_MODEL.operations(3.4)) == pytest.approx(3.4, rel=1e-12)
    with pytest.raises(UserError, match="does not reach"):
        SINGLE_MODEL.operations(3.274)


def test_the_closed_form_is_the_least_loss() -> None:
    for law in (CHINCHILLA, BESIROGLU, *(one.law for one in PAPER_SETS)):
        best = law.optimum(1e21)
        assert 6 * best.parameters * best.tokens == pytest.approx(1e21)
        sizes = best.parameters * np.geomspace(0.5, 2, 1001)
        losses = law.loss(sizes, 1e21 / 6 / sizes)
        assert sizes[losses.argmin()] == pytest.approx(best.parameters, rel=1e-3)
        assert law.off(1e21, 2.0) > 0 < law.off(1e21, 0.5)
        assert law.tokens_for(law.best_loss(1e21), best.parameters) == pytest.approx(best.tokens)


@pytest.mark.parametrize(
    ("law", "size", "saved"),
    [(CHINCHILLA, 7.12e9, 0.163), (CHINCHILLA_ROUNDED, 8.02e9, 0.101), (BESIROGLU, 6.10e9, 0.29)],
    ids=["unrounded", "rounded", "besiroglu"],
)
def test_inference_makes_the_cheapest_model_of_a_quality_smaller(
    law: Law, size: float, saved: float
) -> None:
    budget = 10 ** brentq(lambda power: law.optimum(10**power).parameters - 13e9, 18, 28)
    best = law.optimum(budget)
    found = same_quality(law, float(law.loss(*best)), 2e12)
    assert found.parameters == pytest.approx(size, rel=2e-3)
    assert 1 - found.operations / cost(*best, 2e12) == pytest.approx(saved, abs=1e-3)
    if law == CHINCHILLA:
        assert found.tokens == pytest.approx(1.295e12, rel=1e-3)
        assert cost(*best, 2e12) - found.operations == pytest.approx(1.63e22, rel=5e-3)


@pytest.mark.parametrize(
    ("served", "size", "tokens", "loss"),
    [(0.0, 5.160e9, 3.230e11, 2.13861), (1e12, 1.910e9, 5.391e11, 2.18717)],
)
def test_a_budget_that_pays_for_serving(
    served: float, size: float, tokens: float, loss: float
) -> None:
    found = within(CHINCHILLA_ROUNDED, 1e22, served)
    assert found[:3] == (
        pytest.approx(size, rel=5e-4),
        pytest.approx(tokens, rel=5e-4),
        pytest.approx(loss, abs=1e-5),
    )
    assert cost(found.parameters, found.tokens, served) == pytest.approx(1e22)


def test_repeated_tokens_are_worth_what_their_authors_print() -> None:
    epochs = np.array([2, 4, 8, 16, 40, 1e9])
    expected = [1.97, 3.73, 6.62, 10.6, 15.2, 16.39]
    assert worth(epochs, 1.0, REPEATED_TOKENS) == pytest.approx(expected, abs=0.04)
    first = repeated_loss(MUENNIGHOFF, 6.34e9, 242e9, 25e9)
    second = repeated_loss(MUENNIGHOFF, 8.67e9, 178e9, 25e9)
    assert first == pytest.approx(2.2256440889984477, rel=1e-12)
    assert second == pytest.approx(2.2269634075087867, rel=1e-12)


def test_the_best_of_limited_data() -> None:
    found = best_repeated(MUENNIGHOFF, 1e22, 25e9)
    assert found.parameters == pytest.approx(7.0262e9, rel=1e-4)
    assert found.tokens == pytest.approx(2.37209e11, rel=1e-4)
    assert found.epochs == pytest.approx(9.488, abs=1e-3)
    assert found.loss == pytest.approx(2.222129, abs=1e-6)
    plenty = best_repeated(MUENNIGHOFF, 1e22, 1e15)
    assert plenty.loss == pytest.approx(MUENNIGHOFF.best_loss(1e22), rel=1e-9)
    with pytest.raises(UserError, match="unique"):
        best_repeated(MUENNIGHOFF, 1e22, 0.0)


def test_a_loss_that_no_model_reaches_is_refused() -> None:
    with pytest.raises(UserError, match="no model reaches"):
        same_quality(BESIROGLU, 1.8, 1e12)
    assert np.isinf(BESIROGLU.tokens_for(2.0, 1e6))
