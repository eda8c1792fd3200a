"""The cost ledger: published shares to the digit, and runs that were made."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from trainer.experiments.fits.cost_ledger import Branch, Trunk, branching, ledger_of

TOTALS = st.lists(st.integers(1, 10**12), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("totals", "percent"), [([10, 15, 20, 30, 40, 60], 40.9), ([1, 2, 4, 8, 16], 56.5)]
)
def test_the_published_shares(totals: list[int], percent: float) -> None:
    found = branching(totals)
    assert round(100 * found.ratio, 1) == percent
    assert found.ratio == pytest.approx((0.9 * max(totals) + 0.1 * sum(totals)) / sum(totals))


@given(TOTALS, st.floats(0, 1), st.floats(1, 1e12))
def test_branches_never_cost_more_and_one_end_costs_the_same(
    totals: list[int], decay: float, cost: float
) -> None:
    found = branching(totals, decay, cost)
    assert found.branched <= found.separate * (1 + 1e-12)
    assert branching(totals[:1], decay, cost).ratio == pytest.approx(1)
    assert found.ratio == pytest.approx(branching(totals, decay).ratio)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8))
def test_runs_that_were_made_agree_with_the_formula(tenths: list[int]) -> None:
    totals = [10 * tenth for tenth in tenths]
    branches = tuple(Branch(9 * tenth, tenth) for tenth in tenths)
    made = ledger_of([Trunk(9 * max(tenths), branches, 3.0)])
    assert (made.branched, made.separate) == pytest.approx(
        tuple(3 * value for value in branching(totals).to_json().values())[:2], rel=1e-15
    )


def test_trunk_tokens_are_counted_once_for_every_branch_and_size() -> None:
    decays = (Branch(80, 20), Branch(80, 20), Branch(40, 10))
    small, large = Trunk(100, decays, 1.0), Trunk(80, decays[:1], 10.0)
    found = ledger_of([small, large])
    assert found.branched == 100 + 50 + 10 * (80 + 20)
    assert found.separate == 100 + 100 + 50 + 10 * 100


@pytest.mark.parametrize(
    ("totals", "decay"), [([], 0.1), ([0], 0.1), ([math.nan], 0.1), ([1, -2], 0.1), ([1], 1.5)]
)
def test_totals_that_cannot_be_are_refused(totals: list[float], decay: float) -> None:
    with pytest.raises(UserError):
        branching(totals, decay)


def test_branches_outside_their_trunk_are_refused() -> None:
    with pytest.raises(UserError, match="within its trunk"):
        ledger_of([Trunk(10, (Branch(11, 1),))])
    with pytest.raises(UserError, match="no trunk has a branch"):
        ledger_of([Trunk(10, ())])
