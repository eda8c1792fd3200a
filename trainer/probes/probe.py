"""What a probe is: an object that watches the steps of a training and says a line about some.

    before a step ─ watching ─▶ forward, backward ─ part ─▶ gradient stands ─ gradient ─▶ clipping,
    update ─ line ─▶ metrics/probe-NAME.jsonl          checkpoint ◀─ state, restore ─▶ goes on

A probe reads. It leaves weights, moments and gradients as they are, draws no random numbers, and
takes away what it attached, so that a training has the same bits with it and without. What it has
to remember from one step to the next it gives as tensors that a checkpoint keeps: then a training
stopped at any step and resumed has the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from mixtures.loader.loader import Batch
from trainer.model import Model
from trainer.objectives.gradient import PartGradient
from trainer.objectives.objective import Objective, Place
from trainer.optimizer.adamw import AdamW


@dataclass(frozen=True)
class WatchedStep:
    """A step of a training. ``step`` counts from 1: ``step`` - 1 updates were made before it.

    ``lr`` is its learning rate at multiplier 1, ``rows`` at most so many in a micro-batch.
    """

    step: int
    batch: Batch
    lr: float
    rows: int
    model: Model
    optimizer: AdamW
    objective: Objective[Any]

    @property
    def place(self) -> Place:
        """Which windows its batch holds."""
        return Place(self.step - 1)

    @property
    def sequences(self) -> int:
        """Windows of its batch."""
        return len(self.batch.tokens)

    @property
    def window(self) -> int:
        """Tokens of a window."""
        return int(self.batch.tokens.shape[1])

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, the live tensors: masters where there are any."""
        return {name: weight.detach() for name, weight in self.optimizer.weights().items()}

    def gradients(self) -> dict[str, Tensor]:
        """The gradients by name, the live tensors; of tensors that have one."""
        return {
            name: parameter.grad
            for name, parameter in self.optimizer.named.items()
            if parameter.grad is not None
        }


@dataclass(frozen=True)
class Steps:
    """Every ``every``-th step from ``first`` to ``last``, which None leaves open.

    >>> [step for step in range(1, 12) if step in Steps(first=3, last=9, every=3)]
    [3, 6, 9]
    """

    first: int = 1
    last: int | None = None
    every: int = 1

    def __contains__(self, step: int) -> bool:
        within = self.first <= step and (self.last is None or step <= self.last)
        return within and (step - self.first) % self.every == 0


class Probe(Protocol):
    """What is measured while a training runs. A probe is a class that names this one as its base
    and replaces what it needs: the others do nothing.
    """

    @property
    def name(self) -> str:
        """What its series of metrics is called: letters, digits, dashes."""
        ...

    def watching(self, step: WatchedStep) -> AbstractContextManager[None]:
        """Is entered before the step's forward passes and left after its last backward pass."""
        return nullcontext()

    def wants_parts(self, step: WatchedStep) -> bool:
        """Whether :meth:`part` is called in this step, which costs the memory of one more gradient
        and an addition.
        """
        return False

    def part(self, step: WatchedStep, part: PartGradient) -> None:
        """Is called while ``grad`` holds the gradient of one micro-batch alone."""

    def gradient(self, step: WatchedStep) -> None:
        """Is called when the gradient of the step stands, before clipping."""

    def line(self, step: WatchedStep) -> dict[str, Any] | None:
        """Is called after the update, when no parameter has a ``grad``: what the step came to, as
        plain values by name; None for a step that is not measured.
        """
        return None

    def state(self) -> dict[str, Tensor]:
        """What the next step needs to know of those before."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state; at the beginning of a training it is empty."""
