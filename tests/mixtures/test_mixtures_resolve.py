"""Resolving a mixture: sums are exact, sizes and temperatures have their limits, what was explicit
stays as it was.
"""

from __future__ import annotations

from math import fsum, inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.spec.phase import Phase
from mixtures.spec.resolve import (
    check_windows,
    names_of,
    preset_notes,
    resolve,
    resolve_phases,
    shares_by_size,
)
from mixtures.spec.spec import MixtureSpec

SHARDS = {
    "web": 8_000_000,
    "zh": 2_000_000,
    "code": 500_000,
    "wiki/high": 100_000,
    "wiki/low": 300_000,
    "sft": 50_000,
}


def weights(available: dict[str, int] = SHARDS, **phase: Any) -> dict[str, float]:
    (resolved,) = resolve(
        MixtureSpec.model_validate({"phases": [{"name": "only", "tokens": 1000, **phase}]}),
        available,
    )
    return resolved.weights


def refused(available: dict[str, int] = SHARDS, **phase: Any) -> UserError:
    with pytest.raises(UserError) as raised:
        weights(available, **phase)
    return raised.value


def test_a_phase_with_explicit_weights_passes_as_it_is() -> None:
    asked = {"web": 0.3333333, "zh": 0.3333333, "code": 0.3333333, "unbuilt": 0.0}
    assert list(weights(weights=asked).items()) == list(asked.items())


def test_a_resolved_phase_resolves_to_itself() -> None:
    phase = Phase(
        name="a",
        tokens=7,
        weights={"web": 0.5, "code": 0.5},
        decay=True,
        ramp_tokens=3,
        max_epochs={"web": 2},
    )
    assert resolve_phases([phase], SHARDS, 1000) == (phase,)


def test_names_and_what_a_phase_says_besides_shares_are_kept_in_order() -> None:
    spec = MixtureSpec.model_validate(
        {
            "tokens": 1001,
            "phases": [
                {"name": "stable", "percent": 90, "weights_from": ["web", "code"]},
                {
                    "name": "decay",
                    "percent": 10,
                    "decay": True,
                    "weights": {"sft": 1},
                    "max_epochs": {"sft": 4},
                    "ramp_tokens": 50,
                },
            ],
        }
    )
    stable, decay = resolve(spec, SHARDS)
    assert [(phase.name, phase.tokens) for phase in (stable, decay)] == [
        ("stable", 901),
        ("decay", 100),
    ]
    assert (decay.decay, decay.max_epochs, decay.ramp_tokens) == (True, {"sft": 4}, 50)
    assert names_of((stable, decay)) == ("code", "sft", "web")


def test_sources_are_weighed_by_their_tokens_unless_a_temperature_says_otherwise() -> None:
    assert weights(weights_from=["web", "zh"]) == pytest.approx({"web": 0.8, "zh": 0.2})
    assert weights(weights_from=["web", "zh"], temperature=2) == pytest.approx(
        {"web": 2 / 3, "zh": 1 / 3}
    )
    assert weights(weights_from=["web", "zh"], temperature="uniform") == {"web": 0.5, "zh": 0.5}


def test_fixed_weights_leave_the_rest_to_sizes() -> None:
    found = weights(weights={"sft": 0.25}, weights_from=["web", "zh"])
    assert found == pytest.approx({"sft": 0.25, "web": 0.6, "zh": 0.15})
    assert list(found) == ["sft", "web", "zh"]


def test_a_split_source_is_weighed_as_a_whole_and_then_divided() -> None:
    found = weights(weights_from=["zh", "wiki"], bands={"wiki": {"high": 3, "low": 1}})
    assert found["wiki/high"] == pytest.approx(found["wiki/low"])
    assert found["zh"] == pytest.approx(2_000_000 / 2_400_000)


def test_a_source_in_bands_without_factors_is_shown_as_if_it_were_whole() -> None:
    assert weights(weights={"web": 0.6, "wiki": 0.4}) == pytest.approx(
        {"web": 0.6, "wiki/high": 0.1, "wiki/low": 0.3}
    )


def test_a_band_may_have_a_weight_of_its_own() -> None:
    assert weights(weights={"web": 0.6, "wiki/high": 0.4}) == {"web": 0.6, "wiki/high": 0.4}


def test_a_preset_takes_what_the_weights_leave() -> None:
    found = weights(
        weights={"sft": 0.2},
        preset={"name": "minicpm-stable", "sources": {"c4": "web", "dolma": "web", "code": "code"}},
    )
    assert found == pytest.approx({"sft": 0.2, "web": 0.8 * 39 / 64, "code": 0.8 * 25 / 64})


def test_what_a_preset_leaves_out_is_told() -> None:
    preset = {"name": "minicpm-stable", "sources": {"c4": "web", "code": "code"}}
    spec = MixtureSpec.model_validate(
        {"phases": [{"name": "only", "tokens": 1000, "preset": preset}]}
    )
    (note,) = preset_notes(spec.phases)
    assert note.startswith(
        "only: minicpm-stable, 40 % of it mapped; left out: commoncrawl-chinese 25 %, dolma 24 %"
    )


@pytest.mark.parametrize(
    ("phase", "field", "nearest"),
    [
        ({"weights": {"coed": 1.0}}, "weights.coed", "code"),
        ({"weights_from": ["web", "zhh"]}, "weights_from", "zh"),
        (
            {"preset": {"name": "minicpm-stable", "sources": {"c4": "webb"}}},
            "preset.sources.c4",
            "web",
        ),
        (
            {"weights": {"wiki": 1}, "bands": {"wiki": {"hihg": 1, "low": 1}}},
            "bands.wiki.hihg",
            "high",
        ),
        ({"weights": {"wiki/hihg": 1}}, "weights.wiki/hihg", "wiki/high"),
    ],
)
def test_unknown_names_are_refused_with_field_and_nearest(
    phase: dict[str, Any], field: str, nearest: str
) -> None:
    error = refused(**phase)
    assert (error.field, error.nearest) == (f"mixture.phases.only.{field}", nearest)


def test_a_source_without_tokens_cannot_be_weighed_by_size() -> None:
    error = refused({"web": 10, "zh": 0}, weights_from=["web", "zh"], temperature="uniform")
    assert error.found == "zh"
    assert error.allowed == ["web: 10 tokens"]


def test_a_share_by_size_too_small_to_plan_with_is_refused_not_dropped() -> None:
    error = refused({"web": 10**12, "zh": 10}, weights_from=["web", "zh"])
    assert "too small" in error.message
    assert "temperature" in str(error.fix)


def test_a_ramp_longer_than_its_percentage_is_refused() -> None:
    spec = MixtureSpec.model_validate(
        {
            "tokens": 1000,
            "phases": [
                {"name": "stable", "percent": 90, "weights": {"web": 1}},
                {"name": "decay", "percent": 10, "weights": {"sft": 1}, "ramp_tokens": 101},
            ],
        }
    )
    with pytest.raises(UserError, match="part of its phase"):
        resolve(spec, SHARDS)


def test_reserves_hold_for_bands_that_only_the_shards_know() -> None:
    spec = MixtureSpec.model_validate(
        {
            "phases": [{"name": "only", "tokens": 1000, "weights": {"wiki": 1}}],
            "reserve": {"wiki/high": "decay"},
        }
    )
    with pytest.raises(UserError) as raised:
        resolve(spec, SHARDS)
    assert raised.value.field == "mixture.phases.only.weights.wiki/high"


def test_a_source_shown_before_what_it_is_reserved_for_is_refused_by_the_field_that_names_it() -> (
    None
):
    spec = MixtureSpec.model_validate(
        {
            "phases": [{"name": "only", "tokens": 1000, "weights_from": ["web", "sft"]}],
            "reserve": {"sft": "decay"},
        }
    )
    with pytest.raises(UserError) as raised:
        resolve(spec, SHARDS)
    assert raised.value.field == "mixture.phases.only.weights_from"


def test_a_source_shorter_than_the_sequence_length_is_refused_with_both_numbers() -> None:
    phases = (Phase(name="only", tokens=10, weights={"web": 0.5, "sft": 0.5}),)
    check_windows(phases, SHARDS, 50_000)
    with pytest.raises(UserError) as raised:
        check_windows(phases, SHARDS, 65_536)
    error = raised.value
    assert (error.field, error.found) == ("mixture.phases.only.weights.sft", "50,000 tokens")
    assert error.allowed == ["at least 65,536, the sequence length"]
    assert "50,000 or less" in str(error.fix)


SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10**13), min_size=1)


@given(SIZES, st.floats(1e-3, 1e6))
def test_shares_by_size_sum_to_1_and_keep_the_order_of_sizes(
    tokens: dict[str, int], temperature: float
) -> None:
    shares = shares_by_size(tokens, temperature)
    assert fsum(shares.values()) == pytest.approx(1)
    by_size = sorted(tokens, key=lambda name: tokens[name])
    for smaller, larger in zip(by_size, by_size[1:], strict=False):
        assert shares[smaller] <= shares[larger]


@given(SIZES)
def test_temperature_1_is_proportional_and_the_limit_is_uniform(tokens: dict[str, int]) -> None:
    total = sum(tokens.values())
    assert shares_by_size(tokens, 1) == pytest.approx(
        {name: count / total for name, count in tokens.items()}
    )
    assert shares_by_size(tokens, inf) == pytest.approx(dict.fromkeys(tokens, 1 / len(tokens)))
    assert shares_by_size(tokens, 1e12) == pytest.approx(shares_by_size(tokens, inf))


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(10**6, 10**9), min_size=2),
    st.floats(1, 100),
    st.floats(0, 0.9),
    st.data(),
)
def test_resolved_weights_sum_to_1_exactly_and_fixed_ones_keep_their_share(
    tokens: dict[str, int], temperature: float, fixed: float, data: st.DataObject
) -> None:
    first, *others = data.draw(st.permutations(sorted(tokens)))
    found = weights(tokens, weights={first: fixed}, weights_from=others, temperature=temperature)
    assert fsum(found.values()) == 1.0
    assert found[first] == pytest.approx(fixed)
    assert list(found) == [first, *others]


@given(st.integers(1000, 10**12), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_phases_in_percent_come_to_the_runs_tokens_in_order(tokens: int, parts: list[int]) -> None:
    phases = [
        {"name": str(index), "percent": 100 * part / sum(parts), "weights": {"web": 1}}
        for index, part in enumerate(parts)
    ]
    resolved = resolve(MixtureSpec.model_validate({"tokens": tokens, "phases": phases}), SHARDS)
    assert sum(phase.tokens for phase in resolved) == tokens
    assert [phase.name for phase in resolved] == [str(index) for index in range(len(parts))]
