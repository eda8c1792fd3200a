"""A law of the loss over parameters and tokens, and what is optimal under it.

    L(N, D) = E + A N^-alpha + B D^-beta            C = 6 N D

With G = (alpha A / (beta B))^(1/(alpha + beta)), the least loss within C operations is at

    N = G (C/6)^(beta/(alpha + beta))     D = (C/6)^(alpha/(alpha + beta)) / G

(Hoffmann et al., arXiv 2203.15556, eq. 4; MiniCPM, arXiv 2404.06395, eq. 3, where K is G and
eta is (beta - alpha)/(alpha + beta)).

>>> law = Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
>>> round(law.ratio(1e21), 1)
21.6
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError

Array = NDArray[np.float64]
Figure: TypeAlias = Any
"""A float; or an array, elementwise."""

PER_TOKEN = 6.0
"""Operations of training per parameter and token: a multiply-add forward, two backward."""


class Optimum(NamedTuple):
    """Parameters and tokens of the least loss within a budget."""

    parameters: Figure
    tokens: Figure

    @property
    def ratio(self) -> Figure:
        """Tokens per parameter."""
        return self.tokens / self.parameters


class Law(NamedTuple):
    """The five constants, N and D in single parameters and tokens. Arrays of constants are many
    laws at once.
    """

    E: Figure
    A: Figure
    B: Figure
    alpha: Figure
    beta: Figure

    def loss(self, parameters: Figure, tokens: Figure) -> Figure:
        """L(N, D), in the unit of E."""
        return self.E + self.A * parameters**-self.alpha + self.B * tokens**-self.beta

    def optimum(self, operations: Figure) -> Optimum:
        """Where the loss is least within so many operations."""
        whole = self.alpha + self.beta
        pairs = operations / PER_TOKEN
        turn = (self.alpha * self.A / (self.beta * self.B)) ** (1 / whole)
        return Optimum(turn * pairs ** (self.beta / whole), pairs ** (self.alpha / whole) / turn)

    def ratio(self, operations: Figure) -> Figure:
        """Tokens per parameter at the optimum."""
        return self.optimum(operations).ratio

    def best_loss(self, operations: Figure) -> Figure:
        """The least loss within so many operations."""
        return self.loss(*self.optimum(operations))

    def off(self, operations: Figure, factor: float) -> Figure:
        """The loss of a model ``factor`` times the optimal size at the same operations, less the
        least loss.
        """
        parameters, tokens = self.optimum(operations)
        return self.loss(parameters * factor, tokens / factor) - self.loss(parameters, tokens)

    def tokens_for(self, loss: float, parameters: Figure) -> Figure:
        """Tokens after which a model reaches ``loss``; infinite where it never does."""
        rest = loss - self.E - self.A * parameters**-self.alpha
        with np.errstate(divide="ignore"):
            return np.where(rest > 0, np.maximum(rest, 0) / self.B, 0.0) ** (-1 / self.beta)

    def least_parameters(self, loss: float) -> float:
        """The size below which no amount of data reaches ``loss``. Raises: UserError at or below E,
        which no model reaches.
        """
        if loss <= self.E:
            raise UserError(
                "no model reaches this loss under the law",
                parameter="loss",
                found=loss,
                allowed=[f"above E = {self.E:.6g}"],
                fix="ask for a loss above E",
            )
        return float((self.A / (loss - self.E)) ** (1 / self.alpha))

    def rows(self) -> Array:
        """The constants as columns, (laws, 5)."""
        return np.column_stack([np.atleast_1d(np.asarray(value, np.float64)) for value in self])


CONSTANTS = Law._fields
LOGARITHMIC = frozenset({"A", "B"})
"""Constants whose intervals are made of their logarithms."""


def laws_of(rows: Array) -> Law:
    """Many laws at once, of the constants in columns, (laws, 5)."""
    return Law(*np.asarray(rows, np.float64).T)
