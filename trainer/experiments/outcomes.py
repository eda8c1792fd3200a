"""What a run of an experiment left: its losses, their course, what it cost, or why it diverged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from artifacts.errors import UserError
from artifacts.records import Record

Unit = Literal["nats", "bits_per_byte"]


class Losses(Record):
    """Of a held-out source: nats per target token, and bits per byte of its text."""

    nats: float | None
    bits_per_byte: float | None = None


class Course(Record):
    """Held-out losses on the way: ``losses`` by source in nats per target token, at ``tokens``
    shown in all.
    """

    tokens: tuple[int, ...] = ()
    losses: dict[str, tuple[float | None, ...]] = {}


class Diverged(Record):
    """Where and why a run stopped being one: its ``step``, from 1, and the ``reason``."""

    step: int
    reason: str


class Outcome(Record):
    """``tokens`` are those shown from the very beginning, ``own_tokens`` those of this run's own
    steps; ``operations`` are floating-point operations of its own steps
    (:func:`trainer.costs.compute_costs.exact_flops_per_token`). ``parameters`` are those without
    the embedding, N of the paper, ``total_parameters`` all. ``training_loss``: mean over the last
    steps, nats per target. ``probes``: lines by the probe's name.
    """

    key: str
    parent: str | None = None
    steps: int
    tokens: int
    own_tokens: int
    operations: float
    parameters: int
    total_parameters: int
    training_loss: float | None = None
    losses: dict[str, Losses] = {}
    course: Course = Course()
    probes: dict[str, list[dict[str, Any]]] = {}
    diverged: Diverged | None = None


class Primary(Record):
    """The number an experiment is judged by: the mean of held-out losses over ``sources``, in one
    ``unit``. Without sources it is over those that the base recipe's stable phase shows.
    """

    sources: tuple[str, ...] = ()
    unit: Unit = "nats"

    def over(self, sources: Iterable[str]) -> Primary:
        """The same over these sources, where none are named."""
        return self if self.sources else self.model_copy(update={"sources": tuple(sources)})

    def of(self, outcome: Outcome) -> float | None:
        """The number of a run; None where it diverged or a loss is missing. Raises: UserError for a
        source that was not measured.
        """
        if outcome.diverged is not None:
            return None
        return self._of({name: getattr(loss, self.unit) for name, loss in outcome.losses.items()})

    def course(self, outcome: Outcome) -> list[float | None]:
        """The number at each place of the run's course, in nats."""
        course = outcome.course
        return [
            self._of({name: losses[place] for name, losses in course.losses.items()})
            for place in range(len(course.tokens))
        ]

    def _of(self, losses: Mapping[str, float | None]) -> float | None:
        for name in self.sources:
            if name not in losses:
                raise UserError(
                    "no loss of this source was measured",
                    field=("primary", "sources"),
                    found=name,
                    allowed=sorted(losses),
                    fix="name sources of which documents are held out",
                )
        values = [losses[name] for name in self.sources]
        if not values or None in values:
            return None
        return math.fsum(values) / len(values)  # type: ignore[arg-type]
