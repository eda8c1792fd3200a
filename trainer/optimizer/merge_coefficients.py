"""Which sum of stable checkpoints stands for a decay: coefficients from a decay's shape.

    merge_coefficients(DecaySpec(shape="linear"), [100, 200, 300])     # a third each

A training at a constant rate makes updates u_1, …, u_k between checkpoints 0, …, k. The sum of
c_j theta_j equals theta_0 plus the sum of w_i u_i with

    w_i = c_i + … + c_k,      so   c_k = w_k,   c_j = w_j - w_(j+1),   c_0 = 1 - w_1

(WSM, arXiv 2507.17634). Taken for w_i is the factor f of the decay at the end of stretch i, with
stretches in place of updates: f is that of a decay of k updates at update i. Where gradients do not
depend on the weights the merge is the decayed training; elsewhere it previews it. The uniform mean
is the linear decay to 0.

Checkpoints need not be equally far apart. Stretch i then ends at x_i = k (t_i - t_0) / (t_k - t_0)
of k updates, t being steps, and f is taken there. A half-life is in steps, and counts from t_0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from artifacts.errors import UserError
from trainer.optimizer.schedules import DecaySpec, decay_factor


def update_weights(decay: DecaySpec, steps: Sequence[int]) -> tuple[float, ...]:
    """w_1 to w_k: what the stretch up to each checkpoint but the first counts. ``steps`` of the
    checkpoints, ascending. Raises: UserError for less than two, and for an order of another kind.
    """
    if len(steps) < 2 or any(before >= after for before, after in pairwise(steps)):
        raise UserError(
            "a decay is previewed by two checkpoints or more, each after the one before",
            field="steps",
            found=", ".join(map(str, steps)) or "none",
            fix="give the steps of several checkpoints of one training, ascending",
        )
    first, whole, stretches = steps[0], steps[-1] - steps[0], len(steps) - 1
    if decay.half_life is not None:
        return tuple(decay_factor(decay, step - first, None) for step in steps[1:])
    return tuple(
        decay_factor(decay, stretches * (step - first) / whole, stretches) for step in steps[1:]
    )


def merge_coefficients(decay: DecaySpec, steps: Sequence[int]) -> tuple[float, ...]:
    """c_0 to c_k, of sum 1 and none below 0. Raises: UserError as :func:`update_weights`."""
    bounds = (1.0, *update_weights(decay, steps), 0.0)
    return tuple(before - after for before, after in pairwise(bounds))
