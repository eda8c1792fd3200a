"""Lengths of phases: percents become whole tokens that add up, and sums that do not are told with
their numbers.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.spec.lengths import phase_tokens, run_tokens
from mixtures.spec.phase import PhaseSpec


def phases(*lengths: dict[str, Any]) -> list[PhaseSpec]:
    return [
        PhaseSpec.model_validate({"name": f"phase-{index}", "weights": {"web": 1.0}, **length})
        for index, length in enumerate(lengths)
    ]


def refused(tokens: int | None, *lengths: dict[str, Any]) -> UserError:
    with pytest.raises(UserError) as raised:
        run_tokens(phases(*lengths), tokens)
    return raised.value


def test_percents_are_of_the_runs_tokens() -> None:
    spec = phases({"percent": 90}, {"percent": 10})
    assert run_tokens(spec, 1_000_000_000) == 1_000_000_000
    assert phase_tokens(spec, 1_000_000_000) == (900_000_000, 100_000_000)


def test_percents_are_taken_as_they_are_written() -> None:
    assert phase_tokens(phases({"percent": 0.3}, {"percent": 33.3}), 1000) == (3, 333)


def test_phases_in_tokens_and_in_percent_mix_when_they_add_up() -> None:
    spec = phases({"tokens": 900}, {"percent": 10})
    assert run_tokens(spec, 1000) == 1000
    assert phase_tokens(spec, 1000, whole=True) == (900, 100)


def test_a_run_of_unknown_length_is_what_its_phases_in_tokens_imply() -> None:
    assert run_tokens(phases({"tokens": 900}, {"percent": 10}), None) == 1000
    assert run_tokens(phases({"tokens": 900}, {"tokens": 10}), None) == 910


def test_percents_that_do_not_sum_to_100_are_refused_with_those_that_would() -> None:
    error = refused(1000, {"percent": 90}, {"percent": 20})
    assert error.found == "percents that sum to 110"
    assert error.message == "the phases do not add up to 100 percent"
    assert "phase-0: 81.8181818, phase-1: 18.1818182" in str(error.fix)


def test_a_mix_that_does_not_add_up_is_refused_with_what_is_left() -> None:
    error = refused(1000, {"tokens": 900}, {"percent": 20})
    assert "sum to 20 and phases of 900 tokens" in str(error.found)
    assert "10 percent, what 900 of 1,000 tokens leave" in error.message
    assert "shorten the phases" in str(refused(1000, {"tokens": 1200}, {"percent": 20}).fix)


def test_phases_in_tokens_must_sum_to_the_run_where_it_is_given() -> None:
    error = refused(1000, {"tokens": 900})
    assert "the run's 1,000 tokens" in error.message
    assert (error.field, error.found, error.fix) == (
        "mixture.tokens",
        "phases of 900 tokens",
        "write tokens: 900",
    )


def test_percents_of_an_unknown_number_are_refused() -> None:
    assert "add the run's tokens" in str(refused(None, {"percent": 100}).fix)
    assert "less than 100" in str(refused(None, {"percent": 100}, {"tokens": 10}).message)


def test_a_phase_of_less_than_a_token_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        phase_tokens(phases({"percent": 0.001}, {"percent": 99.999}), 1000)
    assert raised.value.field == "mixture.phases.phase-0.percent"


@given(st.integers(10_000, 10**13), st.lists(st.integers(1, 1000), min_size=1, max_size=8))
def test_percents_of_a_run_sum_to_it_exactly_and_each_is_off_by_less_than_a_token(
    tokens: int, parts: list[int]
) -> None:
    percents = [100 * part / sum(parts) for part in parts]
    spec = phases(*({"percent": percent} for percent in percents))
    assert run_tokens(spec, tokens) == tokens
    lengths = phase_tokens(spec, tokens, whole=True)
    assert sum(lengths) == tokens
    for length, part in zip(lengths, parts, strict=True):
        assert abs(length - tokens * part / sum(parts)) < 1 + tokens * 1e-12


@given(st.integers(1, 10**9), st.integers(1, 99))
def test_an_implied_run_agrees_with_itself_when_it_is_written_down(said: int, percent: int) -> None:
    spec = phases({"tokens": said}, {"percent": percent})
    run = run_tokens(spec, None)
    assert run_tokens(spec, run) == run
    if run > said:
        assert sum(phase_tokens(spec, run, whole=True)) == run
