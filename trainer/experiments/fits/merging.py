"""Weights of a merge of stable checkpoints that emulates a decay of some shape.

A merge sum_j c_j theta_j of the checkpoints theta_0 ... theta_k, evenly spaced, equals the training
from theta_0 whose updates between checkpoints i - 1 and i count w_i = sum of c_j over j >= i (WSM,
arXiv 2507.17634). For a shape f it is inverted with w_i = f(i):

    c_k = w_k,    c_j = w_j - w_(j+1),    c_0 = 1 - w_1

The uniform mean of k + 1 checkpoints is the linear decay to 0. What the merge leaves out is that
updates at lower rates would have gone elsewhere; how much that matters grows with the span from the
first checkpoint to the last, so weights are given by span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import UserError
from trainer.optimizer.schedules import DecaySpec, decay_factor


@dataclass(frozen=True)
class Merge:
    """Checkpoints by their step, and the weight of each; weights add to 1."""

    steps: tuple[int, ...]
    weights: tuple[float, ...]
    decay: DecaySpec

    @property
    def span(self) -> int:
        """Steps from the first checkpoint to the last."""
        return self.steps[-1] - self.steps[0]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "span": self.span,
            "steps": list(self.steps),
            "weights": list(self.weights),
            "shape": self.decay.shape,
            "floor": self.decay.floor,
            "half_life": self.decay.half_life,
        }


def update_weights(weights: Sequence[float]) -> list[float]:
    """w_1 ... w_k: how much the updates before each checkpoint count in a merge of c_0 ... c_k.

    >>> update_weights([0.25, 0.25, 0.25, 0.25])
    [0.75, 0.5, 0.25]
    """
    return [sum(weights[place:]) for place in range(1, len(weights))]


def merge_weights(factors: Sequence[float]) -> list[float]:
    """c_0 ... c_k whose :func:`update_weights` are w_1 ... w_k.

    Raises: UserError without a factor, and for factors that do not fall from at most 1 to at
    least 0: a checkpoint would have a negative weight.

    >>> merge_weights([0.75, 0.5, 0.25])
    [0.25, 0.25, 0.25, 0.25]
    """
    ends = [1.0, *factors, 0.0]
    weights = [before - after for before, after in zip(ends, ends[1:], strict=False)]
    if not factors or not min(weights) >= 0:
        raise UserError(
            "the factors of a decay fall from 1 to 0",
            parameter="factors",
            found=", ".join(f"{factor:.4g}" for factor in factors) or "none",
            allowed=["at least one, each at most the one before, from 0 to 1"],
            fix="give factors of a decay in their order",
        )
    return weights


def merge(steps: Sequence[int], decay: DecaySpec) -> Merge:
    """The merge of checkpoints at ``steps`` that emulates ``decay`` from the first to the last; a
    half-life is in steps.

    Raises: UserError for fewer than two steps and for steps that are not evenly spaced.
    """
    gaps = {after - before for before, after in zip(steps, steps[1:], strict=False)}
    if len(gaps) != 1 or min(gaps) < 1:
        raise UserError(
            "a merge takes checkpoints at even distances",
            parameter="steps",
            found=", ".join(map(str, steps)) or "none",
            allowed=["at least two steps, each as far above the one before"],
            fix="leave out checkpoints that were saved between, such as the last of a run",
        )
    half_life = None if decay.half_life is None else decay.half_life / min(gaps)
    in_checkpoints = decay.model_copy(update={"half_life": half_life})
    count = len(steps) - 1
    factors = [decay_factor(in_checkpoints, place, count) for place in range(1, count + 1)]
    return Merge(tuple(steps), tuple(merge_weights(factors)), decay)


def merges_by_span(steps: Sequence[int], spans: Sequence[int], decay: DecaySpec) -> list[Merge]:
    """A merge for each span in steps, of the checkpoints from that far before the last one on.

    Raises: UserError for a span that holds no two checkpoints or goes back before the first, and as
    :func:`merge`.
    """
    merges = []
    for place, span in enumerate(spans):
        inside = [step for step in steps if step >= steps[-1] - span]
        if len(inside) < 2 or span > steps[-1] - steps[0]:
            raise UserError(
                "a span reaches from one checkpoint to the last",
                parameter=("spans", place),
                found=span,
                allowed=[f"{steps[-1] - steps[-2]} to {steps[-1] - steps[0]} steps"]
                if len(steps) > 1
                else ["a run with two checkpoints"],
                fix="save checkpoints more often, or give a span that they cover",
            )
        merges.append(merge(inside, decay))
    return merges
