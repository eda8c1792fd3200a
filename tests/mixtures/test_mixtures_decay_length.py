"""The length of a decay: tokens, or a share of all tokens at its end."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.spec.decay_length import DecayLength


@given(st.integers(1, 9999), st.integers(0, 1 << 45))
def test_a_share_is_of_all_tokens_at_the_end_and_no_token_more(
    hundredths: int, before: int
) -> None:
    length = DecayLength.parse(f"{hundredths / 100:.2f}%")
    share = Fraction(hundredths, 10_000)
    tokens = length.tokens_after(before)
    assert tokens >= max(1, share * (before + tokens))
    assert tokens == 1 or tokens - 1 < share * (before + tokens - 1)


def test_the_paper_counts_the_decay_with_the_run() -> None:
    assert DecayLength.parse("10%").tokens_after(36 * 10**9) == 4 * 10**9  # WSD(40N, 4N)
    assert DecayLength.parse(" 2.5 % ").tokens_after(39) == 1
    for text in ("300_000", "300,000", "300000"):
        assert DecayLength.parse(text).tokens_after(7) == 300_000


@pytest.mark.parametrize(
    "text", ["", "%", "0", "-5", "0%", "100%", "120%", "nan%", "1/0%", "10 percent", "1e6", "0.1"]
)
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not the length of a decay") as refused:
        DecayLength.parse(text)
    assert refused.value.field == "decay"
