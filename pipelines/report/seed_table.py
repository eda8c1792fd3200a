"""Decays of one checkpoint over several seeds: what each came to, and their differences by seed.

    training/KEY/branches/seeds-KEY.json     a comparison, as `windtunnel branch --seeds` leaves it

Seeds are paired: seed 2 of one mixture is compared with seed 2 of another. An interval is that of
the mean over seeds by Student's t, with one degree of freedom less than there are seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from artifacts.books import read_book
from artifacts.paths import Store
from artifacts.statistics.intervals import Variance, interval_of
from pipelines.report.held_out_loss import HeldOutLoss

BRANCHES = "branches"
BOOK = "seeds-"
NOISE = (
    "Seeds of one checkpoint show the noise of the decay's order alone; a claim about recipes "
    "needs seeds of the trunk too"
)


@dataclass(frozen=True)
class Estimate:
    """A mean over ``seeds``, with half of its 95 % interval; None of a single seed."""

    value: float
    half_width: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Of at least one value."""
        mean = math.fsum(values) / len(values)
        if len(values) < 2:
            return cls(mean, None, len(values))
        bounds = interval_of(mean, [Variance.of_mean(np.array(values))])
        return cls(mean, (bounds.high - bounds.low) / 2, len(values))

    def to_json(self) -> dict[str, float | int | None]:
        return {"mean": self.value, "half_width": self.half_width, "seeds": self.seeds}


@dataclass(frozen=True)
class SeedEnd:
    """A seed of a mixture's decay, from 1: its folder and its held-out losses by source."""

    mixture: str
    seed: int
    folder: str
    losses: Mapping[str, Any]

    def loss(self, source: str) -> float | None:
        """Nats per token on a held-out source; None where it has none."""
        found: float | None = self.losses.get(source, {}).get("loss")
        return found


@dataclass(frozen=True)
class SeedRow:
    """A mixture on a held-out source, over its seeds: ``losses`` by seed, their mean, the mean
    change against the checkpoint, and the mean difference to the first mixture, None of itself.
    """

    mixture: str
    source: str
    losses: tuple[float, ...]
    mean: Estimate
    change: Estimate | None
    difference: Estimate | None

    def to_json(self) -> dict[str, Any]:
        return {
            "mixture": self.mixture,
            "source": self.source,
            "losses": list(self.losses),
            "loss": self.mean.to_json(),
            "change": None if self.change is None else self.change.to_json(),
            "difference": None if self.difference is None else self.difference.to_json(),
        }


@dataclass(frozen=True)
class SeedTable:
    """A comparison of decays. ``start``: held-out losses of the checkpoint after ``step`` updates;
    ``tokens``: of each decay; ``notes``: sentences on lengths and on what seeds share.
    """

    checkpoint: str
    step: int
    tokens: int
    schedule: Mapping[str, Any]
    start: Mapping[str, Any]
    ends: tuple[SeedEnd, ...]
    notes: tuple[str, ...] = ()

    @property
    def mixtures(self) -> tuple[str, ...]:
        """In the order they were given."""
        return tuple(dict.fromkeys(end.mixture for end in self.ends))

    @property
    def seeds(self) -> int:
        return max((end.seed for end in self.ends), default=0)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted({source for end in self.ends for source in end.losses}))

    def rows(self) -> list[SeedRow]:
        """A row per mixture and held-out source; those without a loss are left out."""
        return [
            row
            for mixture in self.mixtures
            for source in self.sources
            if (row := self._row(mixture, source)) is not None
        ]

    def sentences(self) -> list[str]:
        """What is to be said below the rows."""
        return [*self.notes, *([NOISE] if self.seeds > 1 else [])]

    def to_json(self) -> dict[str, Any]:
        """As a book holds it."""
        return {
            "checkpoint": self.checkpoint,
            "step": self.step,
            "tokens": self.tokens,
            "schedule": dict(self.schedule),
            "start": dict(self.start),
            "ends": [{**end.__dict__, "losses": dict(end.losses)} for end in self.ends],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> SeedTable:
        names = ("checkpoint", "step", "tokens", "schedule", "start")
        return cls(
            **{name: facts[name] for name in names},
            ends=tuple(SeedEnd(**end) for end in facts["ends"]),
            notes=tuple(facts["notes"]),
        )

    def _row(self, mixture: str, source: str) -> SeedRow | None:
        own, first = (self._by_seed(name, source) for name in (mixture, self.mixtures[0]))
        if not own:
            return None
        start = self.start.get(source, {}).get("loss")
        changes = [] if start is None else [loss - start for loss in own.values()]
        pairs = [own[seed] - first[seed] for seed in own if seed in first]
        against = mixture != self.mixtures[0] and pairs
        return SeedRow(
            mixture,
            source,
            tuple(own.values()),
            Estimate.of([*own.values()]),
            Estimate.of(changes) if changes else None,
            Estimate.of(pairs) if against else None,
        )

    def _by_seed(self, mixture: str, source: str) -> dict[int, float]:
        return {
            end.seed: loss
            for end in sorted(self.ends, key=lambda end: end.seed)
            if end.mixture == mixture and (loss := end.loss(source)) is not None
        }


def difference_of(row: SeedRow) -> HeldOutLoss | None:
    """A row's difference to the first mixture, as other differences of held-out losses are."""
    found = row.difference
    return None if found is None else HeldOutLoss(found.value, None, half_width=found.half_width)


def read_seed_tables(store: Store, training: str) -> tuple[SeedTable, ...]:
    """The comparisons that lie beside a training's branches, by the step of their checkpoint; those
    that are damaged are left out, which is told.
    """
    names = [
        name
        for name in store.names(f"{training}/{BRANCHES}")
        if name.startswith(f"{training}/{BRANCHES}/{BOOK}") and name.endswith(".json")
    ]
    books = [book for name in sorted(names) if (book := read_book(store, name))]
    tables = [SeedTable.from_json(book) for book in books]
    return tuple(sorted(tables, key=lambda table: table.step))
