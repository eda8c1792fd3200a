"""A bill with inference in it: 6 N D operations of training and 2 N T of T tokens served.

A smaller model trained longer costs more to train and less to serve (Sardana et al., arXiv
2401.00448).

    same_quality   the cheapest way, all told, to the loss of the size optimal for training alone
    within         the least loss where training and serving together cost C
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from artifacts.errors import UserError
from trainer.experiments.laws.law import PER_TOKEN, Law

SERVED = 2.0
"""Operations of a token served, per parameter."""
_WIDE = np.log(1e4)


class Served(NamedTuple):
    """A model, its training tokens, its loss, and what training and serving it cost together."""

    parameters: float
    tokens: float
    loss: float
    operations: float

    @property
    def ratio(self) -> float:
        """Tokens per parameter."""
        return self.tokens / self.parameters


def cost(parameters: float, tokens: float, served: float) -> float:
    """Operations of training and of serving."""
    return parameters * (PER_TOKEN * tokens + SERVED * served)


def same_quality(law: Law, loss: float, served: float) -> Served:
    """The least cost of a model of ``loss`` that serves so many tokens."""
    _checked(served)
    from scipy.optimize import minimize_scalar  # half a second, for those who ask

    least = float(np.log(law.least_parameters(loss)))

    def log_cost(log_size: float) -> float:
        size = float(np.exp(log_size))
        return float(np.log(cost(size, float(law.tokens_for(loss, size)), served)))

    ends = (least + 1e-9, least + _WIDE)
    found = minimize_scalar(log_cost, bounds=ends, method="bounded", options={"xatol": 1e-12})
    size = float(np.exp(found.x))
    tokens = float(law.tokens_for(loss, size))
    return Served(size, tokens, loss, cost(size, tokens, served))


def within(law: Law, operations: float, served: float) -> Served:
    """The least loss where the whole bill is so many operations."""
    _checked(served)
    from scipy.optimize import minimize_scalar  # half a second, for those who ask

    # all is spent on serving at this size
    most = np.log(operations / (SERVED * served)) if served else np.inf
    high = min(float(most) - 1e-9, float(np.log(law.optimum(operations).parameters)) + 1.0)

    def tokens_of(size: float) -> float:
        return (operations / size - SERVED * served) / PER_TOKEN

    def loss(log_size: float) -> float:
        size = float(np.exp(log_size))
        return float(law.loss(size, tokens_of(size)))

    found = minimize_scalar(
        loss, bounds=(high - 2 * _WIDE, high), method="bounded", options={"xatol": 1e-12}
    )
    size = float(np.exp(found.x))
    return Served(size, tokens_of(size), float(found.fun), operations)


def _checked(served: float) -> None:
    if not (served >= 0 and np.isfinite(served)):
        raise UserError(
            "tokens served are a finite number of at least 0", parameter="inference", found=served
        )
