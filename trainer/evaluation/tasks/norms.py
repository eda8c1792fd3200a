"""By what the options of a question are told apart: the likeliest is chosen, after a norm.

    NORMS["per_character"].scores(nats, premise, options)       the highest is the choice

A long text is less likely than a short one, whatever it says, and a common one likelier than a rare
one; a norm takes one of them out. :mod:`trainer.evaluation.tasks.layouts` says which is whose.

Shapes: n options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Norm:
    """``says``: what a reader is told. ``scores`` (n,) of log-likelihoods (n,) after the context
    and (n,) after the premise, and of the options' texts; ``premise``: whether the second is asked.
    """

    says: str
    scores: Callable[[Floats, Floats, Sequence[str]], Floats]
    premise: bool = False


def _per_character(nats: Floats, premise: Floats, options: Sequence[str]) -> Floats:
    return nats / [max(1, len(option.strip())) for option in options]


NORMS: dict[str, Norm] = {
    "raw": Norm("log-likelihood of the option", lambda nats, premise, options: nats),
    "per_character": Norm("log-likelihood of the option per character", _per_character),
    "pmi": Norm(
        "log-likelihood of the option less that after the word before it alone",
        lambda nats, premise, options: nats - premise,
        premise=True,
    ),
}


def premise_of(context: str) -> str:
    """What stands before an option whatever the question: the last line of several, ``Answer:``."""
    _, several, last = context.rpartition("\n")
    return last if several else ""
