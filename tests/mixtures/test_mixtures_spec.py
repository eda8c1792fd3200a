"""What a recipe may say about its mixture, and what it hears when it says something else."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UserError
from mixtures.spec.spec import MixtureSpec, Phase


def spec(*phases: dict[str, Any], **rest: Any) -> MixtureSpec:
    return MixtureSpec.model_validate({"phases": list(phases), **rest})


STABLE = {"name": "stable", "tokens": 1000, "weights": {"web": 0.7, "code": 0.3}}
DECAY = {"name": "decay", "decay": True, "tokens": 500, "weights": {"web": 0.5, "chat": 0.5}}


def test_sources_are_those_with_a_weight_somewhere() -> None:
    unused = {**STABLE, "weights": {"web": 1.0, "code": 0.0}}
    assert spec(unused, DECAY).sources == ("chat", "web")


def test_weights_that_do_not_sum_to_one_are_refused_with_the_normalised_ones() -> None:
    with pytest.raises(UserError) as raised:
        spec({**STABLE, "weights": {"web": 0.6, "code": 0.2}})
    assert raised.value.field == "mixture.phases.stable.weights"
    assert raised.value.found == "a sum of 0.8"
    assert "web: 0.75, code: 0.25" in str(raised.value.fix)


def test_a_second_decay_is_refused_with_the_one_that_began() -> None:
    second = {**DECAY, "name": "cooling"}
    with pytest.raises(UserError, match="the decay begins once") as raised:
        spec(STABLE, DECAY, second)
    assert raised.value.field == "mixture.phases.cooling.decay"
    assert raised.value.found == "a second decay; phase decay has begun it"
    assert spec(STABLE, DECAY, {**second, "decay": False}).phases[2].name == "cooling"


def test_a_sum_within_a_millionth_of_one_passes() -> None:
    third = {"a": 0.3333333, "b": 0.3333333, "c": 0.3333333}
    assert spec({**STABLE, "weights": third}).sources == ("a", "b", "c")


@pytest.mark.parametrize("weights", [{}, {"web": 0.0}])
def test_a_phase_without_any_weight_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(UserError, match="sum to 1"):
        spec({**STABLE, "weights": weights})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tokens": 0}, "tokens"),
        ({"weights": {"web": -0.5, "code": 1.5}}, "weights"),
        ({"weights": {"web": float("nan")}}, "weights"),
        ({"max_epochs": {"web": 0}}, "max_epochs"),
        ({"share": 1}, "share"),
        ({"name": ""}, "name"),
    ],
)
def test_values_out_of_range_are_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Phase.model_validate({**STABLE, **change})


def test_a_cap_on_a_source_without_weight_names_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        spec({**STABLE, "max_epochs": {"cod": 2}})
    assert raised.value.nearest == "code"
    with pytest.raises(UserError) as raised:
        spec(STABLE, max_epochs={"wbe": 2})
    assert raised.value.field == "mixture.max_epochs"


def test_a_ramp_needs_a_phase_before_and_fits_into_its_own() -> None:
    with pytest.raises(UserError, match="no weights to ramp from"):
        spec({**STABLE, "ramp_tokens": 10})
    with pytest.raises(UserError, match="part of its phase"):
        spec(STABLE, {**DECAY, "ramp_tokens": 501})
    assert spec(STABLE, {**DECAY, "ramp_tokens": 500}).phases[1].ramp_tokens == 500


def test_two_phases_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="one name"):
        spec(STABLE, STABLE)


# -- lengths ------------------------------------------------------------------------------------


def test_the_length_of_a_phase_is_said_once() -> None:
    for length, found in (
        ({}, "neither"),
        ({"tokens": 10, "percent": 5}, "tokens: 10, percent: 5"),
    ):
        with pytest.raises(UserError) as raised:
            spec({"name": "stable", "weights": {"web": 1}, **length})
        assert (raised.value.field, raised.value.found) == ("mixture.phases.stable", found)


def test_percents_are_checked_when_the_mixture_is_read() -> None:
    phases = [{"name": name, "percent": 60, "weights": {"web": 1}} for name in ("one", "two")]
    with pytest.raises(UserError, match="percents that sum to 120"):
        spec(*phases, tokens=1000)


# -- shares -------------------------------------------------------------------------------------

SIZED = {"name": "stable", "tokens": 1000, "weights_from": ["web", "code"]}


def test_sources_are_also_those_weighed_by_size_by_preset_and_by_band() -> None:
    preset = {"name": "minicpm-decay", "sources": {"c4": "web", "unlabelled": "chat"}}
    decay = {
        "name": "decay",
        "tokens": 10,
        "preset": preset,
        "weights": {"wiki": 0.1},
        "bands": {"wiki": {"high": 2, "low": 0}},
    }
    assert spec(SIZED, decay).sources == ("chat", "code", "web", "wiki/high")


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"weights": {"chat": 1.0}}, "weights", "leave nothing for weights_from"),
        ({"weights": {"web": 0.5}}, "weights_from", "two shares"),
        ({"weights_from": ["web", "web"]}, "weights_from", "two shares"),
        (
            {"weights_from": None, "temperature": 2, "weights": {"web": 1}},
            "temperature",
            "without sources",
        ),
        ({"preset": {"name": "minicpm-stable", "sources": {"c4": "zh"}}}, "preset", "two ways"),
        ({"bands": {"cod": {"high": 1}}}, "bands", "no weight here"),
        ({"bands": {"code": {"high": 0}}}, "bands.code", "sum to zero"),
    ],
)
def test_shares_that_contradict_each_other_are_refused_by_field(
    change: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        spec({**SIZED, **change})
    assert raised.value.field == f"mixture.phases.stable.{field}"
    assert raised.value.fix


def test_an_unknown_preset_is_refused_and_an_unknown_entry_has_a_nearest() -> None:
    with pytest.raises(ValueError, match="minicpm-stable"):
        spec({"name": "a", "tokens": 1, "preset": {"name": "minicpm", "sources": {"c4": "web"}}})
    with pytest.raises(UserError) as raised:
        spec(
            {
                "name": "a",
                "tokens": 1,
                "preset": {"name": "minicpm-stable", "sources": {"c5": "web"}},
            }
        )
    assert (raised.value.field, raised.value.nearest) == (
        "mixture.phases.a.preset.sources.c5",
        "c4",
    )


@pytest.mark.parametrize("temperature", [0, -1, "unifrom", float("inf")])
def test_a_temperature_is_above_0_and_finite_or_uniform(temperature: object) -> None:
    with pytest.raises(ValueError, match="temperature"):
        spec({**SIZED, "temperature": temperature})


def test_a_phase_of_a_plan_leaves_nothing_to_resolve() -> None:
    with pytest.raises(UserError, match="has tokens and weights"):
        Phase.model_validate(
            {"name": "a", "tokens": 10, "weights": {"web": 0.5}, "weights_from": ["code"]}
        )


# -- rules --------------------------------------------------------------------------------------


def test_held_out_sources_are_refused_when_the_mixture_is_read() -> None:
    with pytest.raises(UserError, match="held out"):
        spec(STABLE, DECAY, hold_out=["chat"])


def test_a_reserve_may_name_a_branch_that_only_the_recipe_knows() -> None:
    assert spec(STABLE, reserve={"expert": "with-expert"}).rules.reserve == {
        "expert": "with-expert"
    }


def test_a_minimum_of_a_source_that_is_never_shown_names_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        spec(STABLE, min_tokens={"cod": 10})
    assert (raised.value.field, raised.value.nearest) == ("mixture.min_tokens", "code")


def test_caps_may_name_a_source_its_bands_or_a_source_reserved_for_a_branch() -> None:
    wiki = {
        "name": "a",
        "tokens": 1,
        "weights": {"wiki": 1},
        "bands": {"wiki": {"high": 1, "low": 1}},
        "max_epochs": {"wiki/high": 2},
    }
    assert (
        spec(
            wiki, max_epochs={"wiki": 3, "expert": 1}, reserve={"expert": "with-expert"}
        ).rules.max_epochs["expert"]
        == 1
    )
