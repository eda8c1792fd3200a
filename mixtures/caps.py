"""Caps on epochs: refuse a plan that shows a source more often than the recipe allows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from mixtures.interleave import tokens_shown
from mixtures.plan_format import Plan
from mixtures.spec import Phase


def check_caps(plan: Plan, first_segment: int, phase: Phase) -> None:
    """Check the plan's last phase, which begins with ``first_segment``, and the run up to its end.

    The last epoch of a cap may be part of an epoch; within a phase the cap counts tokens shown in the phase over the
    tokens of an epoch.
    Raises: UserError that says which cap binds, what is wanted and available, and what would fit.
    """
    end = tokens_shown(plan, plan.steps)
    begin = tokens_shown(plan, plan.segments[first_segment].first_step)
    available = epoch_tokens(plan)
    for index, source in enumerate(plan.sources):
        own, run = phase.max_epochs.get(source.name), plan.max_epochs.get(source.name)
        wanted, epoch = int(end[index] - begin[index]), int(available[index])
        if own is not None and wanted > allowed_tokens(epoch, own):
            _refuse(source.name, phase, wanted, epoch, own, f"mixture.phases.{phase.name}.max_epochs.{source.name}", 0)
        if run is not None and wanted and int(end[index]) > allowed_tokens(epoch, run):
            _refuse(source.name, phase, int(end[index]), epoch, run, f"mixture.max_epochs.{source.name}", int(begin[index]))


def epoch_tokens(plan: Plan) -> NDArray[np.int64]:
    """Tokens of an epoch of each source, (sources,): the fewest that any window length of the plan makes of it."""
    tokens = np.zeros(len(plan.sources), np.int64)
    for context in plan.contexts:
        own = np.array([source.windows * context.sequence_length for source in context.sources])
        tokens = np.where(own > 0, np.where(tokens > 0, np.minimum(tokens, own), own), tokens)
    return tokens


def allowed_tokens(epoch: int, epochs: float) -> int:
    """Whole tokens in a number of epochs."""
    return int(Fraction(epochs) * epoch)


def _refuse(name: str, phase: Phase, wanted: int, epoch: int, cap: float, field: str, before: int) -> None:
    room = max(0, allowed_tokens(epoch, cap) - before)
    weight = phase.weights.get(name, 0.0)
    raise UserError(
        f"the plan goes through {name} more often than its cap allows",
        field=field,
        found=f"{wanted:,} tokens wanted, {epoch:,} in an epoch: {wanted / epoch:.3f} epochs",
        allowed=[f"{cap:g} epochs, {allowed_tokens(epoch, cap):,} tokens"],
        fix=(
            f"in phase {phase.name} lower the weight of {name} from {weight:g} to at most {weight * room / (wanted - before):.4g}, "
            f"or raise the cap to {wanted / epoch + 0.0005:.3f}"
        ),
    )
