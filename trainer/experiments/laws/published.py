"""What others published: laws, end points and points, as they printed them.

    PAPER          MiniCPM's law on six held-out sets (arXiv 2404.06395, Fig. 10), losses per byte
    CHINCHILLA     Hoffmann et al. (arXiv 2203.15556), constants before they were rounded
    BESIROGLU      the refit of their points (arXiv 2404.10102)
    MUENNIGHOFF    the law under repetition (arXiv 2305.16264)
    BATCH_LAW      MiniCPM's optimal batch by loss (Fig. 2)
    SINGLE_MODEL   MiniCPM's loss of one 0.036B model by compute (Fig. 16)

``chinchilla.csv`` beside this file holds 240 points that Epoch AI read off figure 4 of Hoffmann et
al. (Besiroglu et al., arXiv 2404.10102): model size, training operations, loss, without the five
highest losses of the 245, as they left them out; D = C / (6 N).

>>> f"{BATCH_LAW.tokens(2.5):.4g}", f"{SINGLE_MODEL.loss(6.6e18):.3f}"
('3.978e+06', '3.375')
"""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artifacts.errors import UserError
from trainer.experiments.laws.law import PER_TOKEN, Law
from trainer.experiments.laws.points import Points

BILLION = 1e9
CHINCHILLA_POINTS = Path(__file__).with_name("chinchilla.csv")

CHINCHILLA = Law(
    E=exp(0.5267228), A=exp(6.0073404), B=exp(6.0179186), alpha=0.33917084, beta=0.2849083
)
CHINCHILLA_ROUNDED = Law(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
"""As printed. Two digits of the exponents are not enough: D/N at 1e21 is 50 by these, 34 by those
they were rounded from.
"""
BESIROGLU = Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
MUENNIGHOFF = Law(
    E=exp(0.6254804), A=exp(6.255414), B=exp(7.3049974), alpha=0.3526596, beta=0.3526596
)


class PaperSet(NamedTuple):
    """A held-out set of MiniCPM's Fig. 10: constants for N and D in 1e9, and D/N at 1e21 as
    printed beside them.
    """

    name: str
    parameters: float
    alpha: float
    tokens: float
    beta: float
    floor: float
    printed_ratio: float

    @property
    def law(self) -> Law:
        """In single parameters and tokens."""
        return Law(
            E=self.floor,
            A=self.parameters * BILLION**self.alpha,
            B=self.tokens * BILLION**self.beta,
            alpha=self.alpha,
            beta=self.beta,
        )


PAPER_SETS = (
    PaperSet("Code", 3.32e-2, 0.37, 2.17e-1, 0.34, 0.17, 194.93),
    PaperSet("English (Wikihow)", 8.08e-2, 0.26, 2.97e-1, 0.18, 0.27, 166.04),
    PaperSet("Chinese (Wikihow)", 5.14e-2, 0.35, 3.90e-1, 0.18, 0.40, 833.95),
    PaperSet("Ultratext", 7.54e-2, 0.30, 2.92e-1, 0.30, 0.25, 95.60),
    PaperSet("Chinese (Yayi)", 1.53e-1, 0.19, 3.76e-1, 0.17, 0.35, 112.79),
    PaperSet("Average", 7.15e-2, 0.29, 3.00e-1, 0.23, 0.31, 191.87),
)
AVERAGE = PAPER_SETS[-1]
PAPER = AVERAGE.law
PAPER_OPERATIONS = 1e21
"""The budget that the paper's ratios are of."""
PAPER_RATIO = 192
WHY_RATIOS_DIFFER = (
    "The constants are printed with two or three digits, the ratios were computed before rounding."
)

CODE_ENDS = (
    (0.031e9, (0.067e18, 0.42e18), (0.602, 0.456)),
    (0.11e9, (0.75e18, 4.7e18), (0.451, 0.362)),
    (0.25e9, (4.4e18, 27e18), (0.372, 0.311)),
    (0.49e9, (16e18, 100e18), (0.337, 0.284)),
    (0.85e9, (53e18, 340e18), (0.307, 0.257)),
    (2.0e9, (280e18, 1700e18), (0.277, 0.231)),
)
"""MiniCPM's Fig. 9, Code: parameters, operations of the first and last decayed checkpoint, their
losses per byte.
"""


def code_ends() -> Points:
    """The 12 end points on Code."""
    rows = [
        (size, operations / PER_TOKEN / size, loss)
        for size, budgets, losses in CODE_ENDS
        for operations, loss in zip(budgets, losses, strict=True)
    ]
    return Points(*np.array(rows).T)


class BatchLaw(NamedTuple):
    """Tokens of the batch that reaches a loss with the fewest tokens: coefficient / L^exponent, L
    in nats per token on C4, at a learning rate of 0.01.
    """

    coefficient: float
    exponent: float

    def tokens(self, loss: float) -> float:
        """The batch for a loss."""
        return float(self.coefficient / _positive("loss", loss) ** self.exponent)

    def loss(self, tokens: float) -> float:
        """The loss that a batch is for."""
        return float((self.coefficient / _positive("tokens", tokens)) ** (1 / self.exponent))


class ComputeLaw(NamedTuple):
    """Loss of one model by compute: coefficient (C / unit)^-exponent + floor, nats per token."""

    coefficient: float
    unit: float
    exponent: float
    floor: float

    def loss(self, operations: float) -> float:
        """The loss after so many operations."""
        share = _positive("operations", operations) / self.unit
        return float(self.coefficient * share**-self.exponent + self.floor)

    def operations(self, loss: float) -> float:
        """The operations that a loss takes. Raises: UserError at or below the floor."""
        if loss <= self.floor:
            raise UserError(
                "the model does not reach this loss",
                parameter="loss",
                found=loss,
                allowed=[f"above {self.floor}"],
                fix="ask for a higher loss, or take a larger model",
            )
        return float(self.unit * (self.coefficient / (loss - self.floor)) ** (1 / self.exponent))


BATCH_LAW = BatchLaw(1.21e9, 6.24)
SINGLE_MODEL = ComputeLaw(0.980, 1e17, 0.543, 3.274)


def _positive(name: str, value: float) -> float:
    if not (value > 0 and np.isfinite(value)):
        raise UserError("not a finite number above 0", parameter=name, found=value)
    return value
