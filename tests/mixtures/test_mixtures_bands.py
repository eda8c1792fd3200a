"""Bands of a source: names, rules they inherit, and how a weight is divided among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.spec.bands import names_meant, rule_of, source_of, split, tokens_of

SHARDS = {"web/high": 1000, "web/low": 3000, "code": 500}


def test_a_name_means_itself_or_else_its_bands() -> None:
    assert names_meant("web", SHARDS) == ("web/high", "web/low")
    assert names_meant("web", [*SHARDS, "web"]) == ("web",)
    assert names_meant("we", SHARDS) == ()
    assert (source_of("web/high"), source_of("code")) == ("web", "code")
    assert (tokens_of("web", SHARDS, ""), tokens_of("web/low", SHARDS, "")) == (4000, 3000)


def test_a_rule_for_a_source_holds_for_bands_without_their_own() -> None:
    rules = {"web": 2, "web/high": 5}
    assert rule_of(rules, "web/low") == ("web", 2)
    assert rule_of(rules, "web/high") == ("web/high", 5)
    assert rule_of(rules, "code") is None


def test_a_factor_shows_each_token_so_many_times_as_often() -> None:
    parts = split("web", 0.6, {"high": 3, "low": 1}, SHARDS, "bands.web")
    assert parts == pytest.approx({"web/high": 0.3, "web/low": 0.3})


def test_without_factors_bands_share_as_if_the_source_were_not_split() -> None:
    assert split("web", 0.6, None, SHARDS, "weights.web") == pytest.approx(
        {"web/high": 0.15, "web/low": 0.45}
    )
    assert split("code", 0.4, None, SHARDS, "weights.code") == {"code": 0.4}


def test_a_factor_of_0_leaves_a_band_out() -> None:
    assert split("web", 0.6, {"high": 1, "low": 0}, SHARDS, "bands.web") == {"web/high": 0.6}


def test_an_unknown_band_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        split("web", 1, {"hihg": 1, "low": 1}, SHARDS, "bands.web")
    assert (raised.value.field, raised.value.nearest) == ("bands.web.hihg", "high")


def test_a_source_without_bands_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(UserError) as raised:
        split("code", 1, {"high": 1}, SHARDS, "bands.code")
    assert raised.value.allowed == ["web"]


def test_a_band_without_a_factor_is_not_lost_in_silence() -> None:
    with pytest.raises(UserError) as raised:
        split("web", 1, {"high": 1}, SHARDS, "bands.web")
    assert "none for low" in str(raised.value.found)
    assert "low: 1" in str(raised.value.fix)


def test_bands_whose_weights_sum_to_zero_are_refused() -> None:
    with pytest.raises(UserError, match="sum to zero"):
        split("web", 1, {"high": 1, "low": 0}, {"web/high": 0, "web/low": 10}, "bands.web")


def test_a_source_without_shards_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        tokens_of("coed", SHARDS, "weights.coed")
    assert raised.value.nearest == "code"


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**12), min_size=1),
    st.floats(1e-3, 1),
    st.data(),
)
def test_bands_sum_to_the_weight_and_rates_per_token_are_as_the_factors(
    tokens: dict[str, int], weight: float, data: st.DataObject
) -> None:
    factors = {band: data.draw(st.floats(0.01, 100), label=band) for band in tokens}
    shards = {f"web/{band}": count for band, count in tokens.items()}
    parts = split("web", weight, factors, shards, "bands.web")
    assert sum(parts.values()) == pytest.approx(weight)
    rates = [
        parts[name] / shards[name] / factors[source]
        for name, source in zip(shards, tokens, strict=True)
    ]
    assert rates == pytest.approx([rates[0]] * len(rates))
