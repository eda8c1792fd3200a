"""What limited unique data are worth: tokens shown again, and parameters beyond what data feed.

    D' = U (1 + R* (1 - exp(-R / R*))),   R = D/U - 1 repetitions of U unique tokens, R* = 15.39
    N' likewise over U_N = min(N, the optimal size for U tokens),               R* = 5.31

and the loss is the law's at N', D' (Muennighoff et al., arXiv 2305.16264).

>>> [round(float(worth(epochs, 1.0, REPEATED_TOKENS)), 2) for epochs in (2, 4, 8, 16, 40)]
[1.97, 3.73, 6.62, 10.58, 15.17]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from artifacts.errors import UserError
from trainer.experiments.laws.law import PER_TOKEN, Figure, Law

REPEATED_TOKENS = 15.387756
REPEATED_PARAMETERS = 5.309743
_RANGE = np.log(1e3)
"""How far from the size that is optimal without a limit the optimum is sought."""


def worth(whole: Figure, unique: Figure, constant: float) -> Figure:
    """What ``whole`` is worth in unique ones."""
    repeats = np.maximum(np.asarray(whole) / unique - 1, 0.0)
    return np.minimum(whole, unique) + unique * constant * -np.expm1(-repeats / constant)


def repeated_loss(law: Law, parameters: Figure, tokens: Figure, unique: float) -> Figure:
    """The loss of training on ``tokens`` of which only ``unique`` are different."""
    turn = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    fed = np.minimum(parameters, turn * (turn * unique) ** (law.beta / law.alpha))
    return law.loss(
        worth(parameters, fed, REPEATED_PARAMETERS), worth(tokens, unique, REPEATED_TOKENS)
    )


class Repeated(NamedTuple):
    """The best within a budget of operations and of unique tokens."""

    parameters: float
    tokens: float
    epochs: float
    loss: float


def best_repeated(law: Law, operations: float, unique: float) -> Repeated:
    """The size and tokens of the least loss. Raises: UserError without unique tokens."""
    if not (unique > 0 and np.isfinite(unique)):
        raise UserError(
            "unique tokens are a finite number above 0",
            parameter="unique",
            found=unique,
            fix="give the tokens of the sources, each document counted once",
        )
    from scipy.optimize import minimize_scalar  # half a second, for those who ask

    pairs = operations / PER_TOKEN
    center = float(np.log(law.optimum(operations).parameters))

    def loss(log_size: float) -> float:
        size = np.exp(log_size)
        return float(repeated_loss(law, size, pairs / size, unique))

    grid = np.linspace(center - _RANGE, center + _RANGE, 400)
    at = int(np.argmin([loss(size) for size in grid]))
    ends = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-12})
    size = float(np.exp(found.x))
    return Repeated(size, pairs / size, pairs / size / unique, float(found.fun))
