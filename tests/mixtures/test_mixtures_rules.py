"""Rules that outlive the freeze: reserves, held-out sources, minimums."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UserError
from mixtures.spec.phase import Phase
from mixtures.spec.rules import MixtureRules, check_hold_out, check_min_tokens, check_reserve


def phase(
    name: str, *, decay: bool = False, ramp: int = 0, tokens: int = 1000, **weights: float
) -> Phase:
    return Phase(
        name=name,
        tokens=tokens,
        decay=decay,
        ramp_tokens=ramp,
        weights={key.replace("_", "/"): value for key, value in weights.items()},
    )


STABLE, DECAY = phase("stable", web=1.0), phase("decay", decay=True, web=0.5, sft=0.5)
FOR_DECAY = MixtureRules(reserve={"sft": "decay"})


def refused(
    *phases: Phase,
    rules: MixtureRules = FOR_DECAY,
    decayed: bool = False,
    branch: str | None = None,
    **rest: Any,
) -> UserError:
    with pytest.raises(UserError) as raised:
        check_reserve(phases, rules, decayed, branch, **rest)
    return raised.value


def test_a_source_reserved_for_the_decay_may_be_shown_from_there_on() -> None:
    check_reserve([STABLE, DECAY, phase("after", sft=1.0)], FOR_DECAY, False, None)


def test_a_source_reserved_for_the_decay_is_refused_before_it() -> None:
    error = refused(phase("stable", web=0.9, sft=0.1), DECAY)
    assert error.field == "mixture.phases.stable.weights.sft"
    assert "0.1" in str(error.found)
    assert "mark the phase decay: true" in str(error.fix)


def test_the_name_of_a_phase_does_not_make_it_a_decay() -> None:
    assert refused(phase("decay", sft=1.0)).field == "mixture.phases.decay.weights.sft"


def test_what_has_decayed_before_counts() -> None:
    check_reserve([phase("more", sft=1.0)], FOR_DECAY, True, None)


def test_a_source_reserved_for_a_phase_is_shown_in_no_other() -> None:
    rules = MixtureRules(reserve={"sft": "middle"})
    check_reserve([STABLE, phase("middle", sft=1.0)], rules, False, None)
    assert refused(STABLE, DECAY, rules=rules).field == "mixture.phases.decay.weights.sft"


def test_a_source_reserved_for_a_branch_is_shown_in_all_its_phases_and_in_no_other_branch() -> None:
    rules = MixtureRules(reserve={"sft": "with-sft"})
    check_reserve([DECAY], rules, False, "with-sft")
    assert "branch without" in str(refused(DECAY, rules=rules, branch="without").fix)
    refused(DECAY, rules=rules)


def test_a_ramp_away_from_a_reserved_source_still_shows_it() -> None:
    rules = MixtureRules(reserve={"sft": "middle"})
    ramp = phase("end", ramp=100, web=1.0)
    assert (
        refused(phase("middle", sft=1.0), ramp, rules=rules).field
        == "mixture.phases.end.ramp_tokens"
    )
    assert refused(ramp, rules=rules, before={"sft": 0.5}).field == "mixture.phases.end.ramp_tokens"
    check_reserve([ramp], rules, False, None, before={"web": 1.0, "sft": 0.0})


def test_a_reserve_of_a_source_holds_for_its_bands() -> None:
    assert refused(phase("stable", sft_high=1.0)).field == "mixture.phases.stable.weights.sft/high"


def test_a_held_out_source_is_never_shown_nor_are_its_bands() -> None:
    rules = MixtureRules(hold_out=("sft",))
    check_hold_out([STABLE, phase("zero", web=1.0, sft=0.0)], rules)
    for shown in (DECAY, phase("decay", sft_low=1.0)):
        with pytest.raises(UserError, match="measured, never shown"):
            check_hold_out([shown], rules)


def test_a_minimum_that_is_met_passes_with_bands_counted_together() -> None:
    check_min_tokens({"web": 100}, {"web/a": 60, "web/b": 40}, [STABLE])


def test_a_minimum_that_is_missed_is_refused_with_the_weight_that_would_do() -> None:
    phases = [phase("stable", web=0.9, code=0.1), phase("decay", web=0.5, code=0.5, tokens=100)]
    with pytest.raises(UserError) as raised:
        check_min_tokens({"code": 400}, {"web": 950, "code": 150}, phases)
    error = raised.value
    assert (error.field, error.found, error.allowed) == (
        "mixture.min_tokens.code",
        "150 tokens over the run",
        ["at least 400 tokens"],
    )
    assert error.fix == "in phase stable raise the weight of code from 0.1 to 0.3520"


def test_a_minimum_beyond_the_run_says_so() -> None:
    with pytest.raises(UserError, match="not even a weight of 1"):
        check_min_tokens({"web": 5000}, {"web": 1000}, [STABLE])
