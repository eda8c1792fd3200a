"""Edit a plan from a step on: the steps before stay as they are, what comes later is said anew.

    edited = append(plan, 120, phases_of_a_file, sources)  # mixtures.freeze.freeze.branch
    edited = append(plan, 120, rest(plan, 120, Change(drop=("web-zh",))), sources)

``step`` is a boundary of the plan: how many steps stay. Errors speak of the first that does not,
counted from 1. A :class:`Change` alters what a plan says anyway: the phase that holds the step, for
the rest of it, and the phases behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from artifacts.commands import Command
from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, branch
from mixtures.freeze.pinning import Sources
from mixtures.freeze.plan_phases import PlannedPhase, check_rules_held, planned_phases
from mixtures.freeze.skips import skipped, skips_kept
from mixtures.spec.phase import MOST_TOKENS, Phase, PhaseSpec

DECAY = "decay"


@dataclass(frozen=True)
class Change:
    """What is to be different from a step on.

    ``lengthen``: tokens more, by phase. ``drop`` and ``weights``: of sources in the phase that
    holds the step, for the rest of it; sources that are not named keep their proportions.
    ``decay``: tokens of a decay that begins here instead of all that was to come. ``skip``: steps
    that make no update.
    """

    lengthen: Mapping[str, int] = field(default_factory=dict)
    drop: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    decay: int | None = None
    skip: int | None = None

    @property
    def says_phases(self) -> bool:
        """Whether it says anew what is shown."""
        return bool(self.lengthen or self.drop or self.weights or self.decay)


def changed(plan: Plan, step: int, change: Change, sources: Sources) -> Plan:
    """The plan up to ``step``, then what it says anyway with a change; steps that it skips stay
    skipped.

    Raises: UserError as :func:`append`, :func:`rest` and
    :func:`~mixtures.freeze.skips.skipped`.
    """
    if change.skip is not None and not change.says_phases:
        return skipped(plan, step, change.skip)
    made = skips_kept(plan, append(plan, step, rest(plan, step, change), sources), step)
    if change.skip is None:
        return made
    return skipped(made, step, change.skip, of=plan)


def append(plan: Plan, step: int, phases: Sequence[PhaseSpec], sources: Sources) -> Plan:
    """The plan up to ``step``, then ``phases``.

    Raises: UserError as :func:`mixtures.freeze.freeze.branch`, and when a rule that the plan
    carries is broken.
    """
    made = branch(plan, step, phases, sources)
    check_rules_held(made)
    return made


def rest(plan: Plan, step: int, change: Change) -> tuple[Phase, ...]:
    """What the plan shows from ``step`` on, with a change. Raises: UserError when the change does
    not fit what is left.
    """
    plan.segment_at(step)
    _check_seeds(plan, step)
    parts = planned_phases(plan)
    here = next(
        (number for number, part in enumerate(parts) if step < part.last_step), len(parts) - 1
    )
    current = parts[here]
    weights = changed_weights(current.phase, change)
    if change.decay is not None:
        return (_decay(plan, step, current, weights, change),)
    phases = [_rest_of(current, step), *(_whole(part) for part in parts[here + 1 :])]
    if weights != current.phase.weights:
        if phases[0] is None:
            raise UserError(
                "nothing is left of the phase whose weights are to change",
                parameter="step",
                found=f"step {step + 1}, after the plan's end",
                fix="lengthen the phase as well, or name an earlier step",
            )
        phases[0] = phases[0].model_copy(update={"weights": weights})
    return _lengthened(current, phases, change.lengthen)


def changed_weights(phase: Phase, change: Change) -> dict[str, float]:
    """The weights of a phase with sources dropped and set; the others share what is left as before.

    Raises: UserError for sources the phase does not show, and weights that leave no whole.
    """
    weights = {name: weight for name, weight in phase.weights.items() if weight > 0}
    for name in change.drop:
        if name not in weights or name in change.weights:
            what = (
                "dropped and given a weight"
                if name in change.weights
                else f"not shown in phase {phase.name}"
            )
            raise UserError(
                f"a source that is {what}",
                parameter=("change", "drop"),
                found=name,
                allowed=sorted(weights),
                fix="drop a source that is shown",
            )
    others = {
        name: weight
        for name, weight in weights.items()
        if name not in change.drop and name not in change.weights
    }
    for name, weight in change.weights.items():
        if not 0 <= weight <= 1:
            raise UserError(
                "a weight is a share of the tokens",
                parameter=("change", "weights", name),
                found=weight,
                allowed=["0 to 1"],
            )
    left, total = 1 - fsum(change.weights.values()), fsum(others.values())
    if (total and left <= 0) or (not total and abs(left) > 1e-9):
        what = f"{left:.6g} for {', '.join(others) or 'no other source'}"
        raise UserError(
            "the weights do not come to a whole",
            parameter=("change", "weights" if change.weights else "drop"),
            found=f"{what} of phase {phase.name}",
            fix="lower the weights given, drop what is to go, or name fewer sources"
            if total
            else "give weights that sum to 1",
        )
    if not change.drop and not change.weights:
        return dict(phase.weights)
    scaled = {name: weight * left / total for name, weight in others.items()}
    return {name: weight for name, weight in {**scaled, **change.weights}.items() if weight > 0}


def _decay(
    plan: Plan, step: int, current: PlannedPhase, weights: dict[str, float], change: Change
) -> Phase:
    begun = plan.decay_step
    if begun is not None and begun < step:
        raise UserError(
            "the decay has begun already",
            parameter=("change", "decay"),
            found=f"step {step + 1}",
            allowed=[f"up to step {begun + 1}, the first of the decay"],
            fix=(
                "lengthen the phase that decays, or go on from an earlier checkpoint: ",
                Command("branch CHECKPOINT --mixture FILE --run RUN"),
            ),
        )
    if change.lengthen:
        raise UserError(
            "a decay that begins here takes the place of all later phases",
            parameter=("change", "lengthen"),
            found=", ".join(change.lengthen),
            fix="say the decay's tokens alone",
        )
    return _resized(current.phase, change.decay or 0, 0).model_copy(
        update={"name": DECAY, "decay": True, "weights": weights, "max_epochs": {}}
    )


def _check_seeds(plan: Plan, step: int) -> None:
    """Raises: UserError where windows are passed over from a later step on: as many as belong to
    the ending that stands there, which would be another.
    """
    passing = next((one for one in plan.segments if one.passed and one.first_step >= step), None)
    if passing is not None:
        raise UserError(
            "the plan of one seed of a decay is changed inside that decay only",
            parameter="step",
            found=f"step {step + 1}; phase {passing.name} begins at step "
            f"{passing.first_step + 1} with windows that it passes over for other seeds",
            allowed=[f"from step {passing.first_step + 2} on"],
            fix=(
                "give phases of your own, or branch again: ",
                Command("branch CHECKPOINT --mixture FILE --run RUN"),
            ),
        )


def _rest_of(part: PlannedPhase, step: int) -> Phase | None:
    """A phase from ``step`` on, None where it is over."""
    done = max(0, step - part.first_step)
    batch = part.phase.batch_tokens or 1
    steps = part.last_step - max(step, part.first_step)
    tokens = max(part.phase.tokens - done * batch, (steps - 1) * batch + 1)
    return (
        _resized(part.phase, tokens, max(0, part.ramp_steps - done) * batch) if steps > 0 else None
    )


def _whole(part: PlannedPhase) -> Phase | None:
    return _rest_of(part, part.first_step)


def _resized(phase: Phase, tokens: int, ramp: int) -> Phase:
    """The same phase in another length. Raises: UserError when that is none."""
    facts = phase.model_dump() | {"tokens": tokens, "ramp_tokens": min(ramp, tokens)}
    if not 1 <= tokens <= MOST_TOKENS:
        raise UserError(
            "not as many tokens as a phase may have",
            field=phase.address,
            found=tokens,
            allowed=[f"1 to {MOST_TOKENS:,}"],
        )
    return Phase.model_validate(facts)


def _lengthened(
    current: PlannedPhase, phases: list[Phase | None], more: Mapping[str, int]
) -> tuple[Phase, ...]:
    """The phases that are left, each with the tokens more that it is given."""
    names = [current.phase.name, *(phase.name for phase in phases[1:] if phase is not None)]
    for name, tokens in more.items():
        if name not in names or tokens < 1:
            raise UserError(
                f"no phase {name} from here on"
                if name not in names
                else "a phase is lengthened by tokens",
                parameter=("change", "lengthen"),
                found=f"{name}={tokens}",
                allowed=names if name not in names else ["1 or more"],
                fix="name a phase that is not over"
                if name not in names
                else "say how many tokens more",
            )
        place = names.index(name)
        phase = phases[place]
        phases[place] = (
            _resized(current.phase, tokens, 0)
            if phase is None
            else _resized(phase, phase.tokens + tokens, phase.ramp_tokens)
        )
    left = tuple(phase for phase in phases if phase is not None)
    if not left:
        raise UserError(
            "nothing comes after the plan's end",
            parameter="step",
            fix="say what is to come: lengthen a phase, begin a decay, or give phases of your own",
        )
    return left
