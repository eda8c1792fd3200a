"""What a model reached on a task: a figure of every item, their mean, and how sure it is.

    score = Score("mmlu-redux", "cloze_accuracy", keys, clusters, values, weights, chance=0.25)
    score.mean, score.standard_error

Figures of single items are kept, so two models are compared pair by pair
(:mod:`trainer.evaluation.comparison`).

Shapes: N items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.statistics.intervals import CONFIDENCE


@dataclass(frozen=True, eq=False)
class Score:
    """One measure of one task.

    ``measure``: its name; the end says the unit: ``…_accuracy`` is a share of items,
    ``…_bits_per_byte`` bits. ``keys`` and ``clusters`` (N) are those of the items, ``values`` (N)
    what each reached, ``weights`` (N) what each counts: 1, or the bytes of an answer. ``chance``:
    what guessing reaches, None where that means nothing. ``note``: what a reader must know.
    """

    task: str
    measure: str
    keys: tuple[str, ...]
    clusters: tuple[str, ...]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    chance: float | None = None
    note: str | None = None

    @property
    def mean(self) -> float:
        """The weighted mean of the items' values."""
        return float((self.values * self.weights).sum() / self.weights.sum())

    @property
    def standard_error(self) -> float | None:
        """Of the mean; over clusters where items share one (Miller, arXiv 2411.00640, sections 2.1
        and 2.2). None for a single item or cluster.
        """
        if len(self.values) < 2:
            return None
        shares = self.weights / self.weights.sum()
        parts = shares * (self.values - self.mean)
        names, place = np.unique(np.asarray(self.clusters), return_inverse=True)
        count = len(names)
        if count < 2:
            return None
        sums = np.bincount(place, parts)
        correction = count / (count - 1) if count == len(self.values) else 1.0
        return float(np.sqrt((sums**2).sum() * correction))

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval of the mean: Student's t with one degree of freedom less than
        there are clusters, times the standard error. Where every item is wrong, or every one
        right, how far the share may yet lie from that (Clopper and Pearson, Biometrika 26, 1934).
        """
        error = self.standard_error
        if error is None:
            return None
        if np.all(self.values == 0) or np.all(self.values == 1):
            return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / len(set(self.clusters))))
        from scipy.special import stdtrit  # half a second, for those who ask

        return float(stdtrit(len(set(self.clusters)) - 1, (1 + CONFIDENCE) / 2)) * error

    @property
    def above_chance(self) -> float | None:
        """How much of the way from chance (0) to all right (1)."""
        return None if self.chance is None else (self.mean - self.chance) / (1 - self.chance)

    def to_json(self, *, items: bool = False) -> dict[str, Any]:
        """Everything as plain values; with ``items`` those of each item too."""
        found: dict[str, Any] = {
            "task": self.task,
            "measure": self.measure,
            "items": len(self.values),
            "mean": self.mean,
            "standard_error": self.standard_error,
            "half_width": self.half_width,
            "chance": self.chance,
            "above_chance": self.above_chance,
            "note": self.note,
        }
        if items:
            found["each"] = [
                {"key": key, "cluster": cluster, "value": value, "weight": weight}
                for key, cluster, value, weight in zip(
                    self.keys,
                    self.clusters,
                    self.values.tolist(),
                    self.weights.tolist(),
                    strict=True,
                )
            ]
        return found

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Score:
        """What :meth:`to_json` with its items wrote."""
        each = values["each"]
        return cls(
            values["task"],
            values["measure"],
            tuple(item["key"] for item in each),
            tuple(item["cluster"] for item in each),
            np.array([item["value"] for item in each], np.float64),
            np.array([item["weight"] for item in each], np.float64),
            values["chance"],
            values["note"],
        )
