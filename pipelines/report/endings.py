"""The endings of a run side by side: their held-out losses, and in what they are not equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixtures.plan.format import Plan
from pipelines.report.held_out_loss import HeldOutLoss
from pipelines.report.numerals import count
from pipelines.report.training_metrics import Ending, Trainings

Losses = Mapping[str, HeldOutLoss]


def held_out_rows(trainings: Trainings) -> list[dict[str, Any]]:
    """A row per held-out source: before the decay, after it with the change, and each branch with
    its difference to the run; ``tokens`` are the targets measured.
    """
    main = trainings.main
    before = main.held_out(trainings.stable_steps) if trainings.decays else {}
    after = main.held_out(main.last_step)
    branches = [ending.held_out(ending.last_step) for ending in trainings.branches]
    names = dict.fromkeys([*before, *after, *(name for losses in branches for name in losses)])
    return [
        {
            "source": name,
            "tokens": _tokens(name, before, after, *branches),
            "before": before.get(name),
            "after": after.get(name),
            "change": _difference(after.get(name), before.get(name)),
            "branches": [
                (losses.get(name), _difference(losses.get(name), after.get(name)))
                for losses in branches
            ],
        }
        for name in sorted(names)
    ]


def unequal_endings(trainings: Trainings) -> list[str]:
    """In what each branch is not equal to the run beside which it stands, a sentence for each."""
    return [
        f"{ending.name} and {trainings.main.name} are not equal: {', '.join(differences)}"
        for ending in trainings.branches
        if (differences := _differences(ending, trainings))
    ]


def _differences(ending: Ending, trainings: Trainings) -> list[str]:
    main, parting = trainings.main, ending.from_step
    found = []
    tokens = [_tokens_after(one, parting) for one in (ending, main)]
    if tokens[0] != tokens[1]:
        found.append(f"{count(tokens[0])} against {count(tokens[1])} tokens after they part")
    decays = [_decays(one.plan, parting) for one in (ending, main)]
    if None not in decays and decays[0] != decays[1]:
        names = (ending.name, main.name) if decays[0] else (main.name, ending.name)
        found.append(f"the learning rate of {names[0]} decays, that of {names[1]} does not")
    for one in (ending, main):
        if one.plan is not None and one.last_step < one.plan.steps:
            found.append(f"{one.name} is at step {count(one.last_step)} of {count(one.plan.steps)}")
    return found


def _tokens_after(ending: Ending, step: int) -> int:
    """Tokens that an ending's updates showed after a step."""
    return ending.tokens_at(ending.last_step) - ending.tokens_at(step)


def _decays(plan: Plan | None, step: int) -> bool | None:
    """Whether a decay begins after a step; None where the plan is gone."""
    if plan is None:
        return None
    return any(segment.decay and segment.last_step > step for segment in plan.segments)


def _difference(value: HeldOutLoss | None, base: HeldOutLoss | None) -> HeldOutLoss | None:
    return None if value is None or base is None else value.minus(base)


def _tokens(name: str, *losses: Losses) -> list[int]:
    """The numbers of targets that the source's losses were measured on; one where all are alike."""
    found = [each[name].tokens for each in losses if name in each]
    return sorted({round(tokens) for tokens in found if tokens is not None})
