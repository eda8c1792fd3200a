"""Two models compared on the same items: is one better, and better at what?

    checkpoints(a, b).low, .high      would these two weights differ on other items of this kind?
    recipes([a1, a2], [b1, b2])       would trainings by these two recipes, under other seeds,
                                      differ on other items of this kind?

Both are intervals of a difference of means, a minus b, and they answer different questions. The
first has items as its units; of two seeds of one recipe it finds a difference more often than not,
and rightly, for no two trainings end at the same weights. Only the second says that a recipe is
better, and its units are trainings.

Shapes: N items, A and B seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.intervals import Variance, interval_of
from trainer.evaluation.tasks.scores import Score

Array = NDArray[np.float64]

CHECKPOINTS = "these two checkpoints"
RECIPES = "these two recipes"

LEAST_SEEDS = 2
"""Trained seeds a side, without which the noise of seeds is not known; 3 are recommended."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a difference, a minus b. ``of``: which question it answers. ``error``: the
    standard error; ``degrees`` of freedom of Student's t. ``paired``: whether units were paired.
    """

    of: str
    difference: float
    error: float
    degrees: float
    low: float
    high: float
    paired: bool

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is shown."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "excludes_zero": self.excludes_zero}


def checkpoints(a: Score, b: Score) -> Interval:
    """Whether these two weights would differ on other items of this kind.

    Differences of the same items, grouped by cluster, since items of one passage go together; of a
    measure with weights, of ratios of sums, linearised (Cochran, Sampling Techniques, 1977,
    sections 6.3 and 9A.2); Student's t with one degree of freedom less than there are clusters.

    Raises: UserError for other tasks, measures or items, and for fewer than two clusters.
    """
    shared = _Shared.of([a], [b])
    variance = shared.items()
    return _interval(CHECKPOINTS, shared.difference, [variance], paired=True)


def recipes(a: Sequence[Score], b: Sequence[Score], *, paired: bool = False) -> Interval:
    """Whether trainings by these two recipes would differ, under other seeds, on other items.

    The true difference is that of the means over all seeds and all items of this kind: seeds and
    items are crossed, and both are drawn. Its estimate is the mean over seeds and items; its
    variance, as of two crossed random factors (Clark, J. Verbal Learning 12, 1973; Raaijmakers and
    others, J. Memory and Language 41, 1999):

        variance of the mean over seeds, of each seed's mean      Welch, or of pairs if ``paired``
      + variance of the mean over items, of each item's mean      by cluster, as of two checkpoints
      - what single seeds do on single items, which is in both    from doubly centred residuals

    and never less than one of the first two; degrees of freedom by Satterthwaite (1946). With these
    very items alone in view, and not others of their kind, the last two terms would fall away.

    ``paired``: score k of both sides is of one seed (same start, same order of the data). Raises:
    UserError for fewer than two seeds a side, and as :func:`checkpoints` does.
    """
    _check_seeds(len(a), len(b), paired)
    shared = _Shared.of(a, b)
    parts = [*shared.seeds(paired), shared.items(), shared.both(paired)]
    return _interval(RECIPES, shared.difference, parts, paired=paired)


def _check_seeds(a: int, b: int, paired: bool) -> None:
    if min(a, b) < LEAST_SEEDS:
        message = "one training does not tell how far two trainings of its recipe lie apart"
    elif paired and a != b:
        message = "each seed of one side needs the same seed on the other"
    else:
        return
    raise UserError(
        message,
        found=f"{a} against {b} trained seeds",
        allowed=[f"at least {LEAST_SEEDS} a side, better 3 or more"],
        fix="train each recipe under further seeds, and name the scores of every training",
    )


def _interval(of: str, difference: float, parts: Sequence[Variance], *, paired: bool) -> Interval:
    found = interval_of(difference, parts)
    return Interval(of, difference, *found, paired=paired)


@dataclass(frozen=True, eq=False)
class _Shared:
    """Scores of the same items, aligned: ``a`` (A, N), ``b`` (B, N), ``weights`` (N), ``clusters``
    (N) by number.
    """

    a: Array
    b: Array
    weights: Array
    clusters: NDArray[np.int64]

    @classmethod
    def of(cls, a: Sequence[Score], b: Sequence[Score]) -> _Shared:
        first = a[0]
        order = {key: place for place, key in enumerate(first.keys)}
        for score in (*a, *b):
            _check(first, score, order)
        rows = [[_aligned(score, order, score.values) for score in side] for side in (a, b)]
        _, clusters = np.unique(np.asarray(first.clusters), return_inverse=True)
        if clusters.max() < 1:
            raise UserError(
                "one item, or one cluster of items, says nothing of others",
                found=f"{len(order)} items in one cluster of {first.task}",
                fix="measure on more items",
            )
        return cls(np.array(rows[0]), np.array(rows[1]), first.weights, clusters)

    @property
    def difference(self) -> float:
        """Of the weighted means over items, meaned over seeds."""
        return float(self._means(self.a).mean() - self._means(self.b).mean())

    def _means(self, values: Array) -> Array:
        means: Array = values @ self.weights / self.weights.sum()
        return means

    def items(self) -> Variance:
        """What the draw of items adds: residuals of each item's difference."""
        sums = self._by_cluster((self.a.mean(0) - self.b.mean(0))[None])[0]
        count = len(sums)
        return Variance(float((sums**2).sum() * count / (count - 1)), count - 1)

    def seeds(self, paired: bool) -> list[Variance]:
        """What the draw of seeds adds."""
        return [Variance.of_mean(self._means(side)) for side in self._sides(paired)]

    def both(self, paired: bool) -> Variance:
        """What is in the two others twice, as a part to take away."""
        twice, degrees = 0.0, 0.0
        for side in self._sides(paired):
            seeds = len(side)
            sums = self._by_cluster(side - side.mean(0))
            count = sums.shape[1]
            twice += float((sums**2).sum() * count / (count - 1) / (seeds * (seeds - 1)))
            degrees += (seeds - 1) * (count - 1)
        return Variance(-twice, degrees)

    def _sides(self, paired: bool) -> list[Array]:
        return [self.a - self.b] if paired else [self.a, self.b]

    def _by_cluster(self, values: Array) -> Array:
        """Of rows (R, N): the share that each cluster has in the distance of the row's mean from 0,
        once that mean is taken away (R, C).
        """
        parts = self.weights / self.weights.sum() * (values - self._means(values)[:, None])
        return np.array([np.bincount(self.clusters, row) for row in parts])


def _aligned(score: Score, order: dict[str, int], column: Array) -> Array:
    """A column of a score's items in the order of another's."""
    aligned = np.empty(len(order))
    aligned[[order[key] for key in score.keys]] = column
    return aligned


def _check(first: Score, score: Score, order: dict[str, int]) -> None:
    """Raises: UserError where two scores are not of the same measure and items."""
    if (score.task, score.measure) != (first.task, first.measure):
        raise UserError(
            "scores of two tasks or measures are not compared",
            found=f"{first.task}, {first.measure} and {score.task}, {score.measure}",
            fix="compare scores of one measure of one task",
        )
    alone = len(set(score.keys) ^ set(order))
    twice = len(score.keys) - len(set(score.keys))
    if alone or twice:
        found = f"{alone} that only one of two has" if alone else f"{twice} twice"
    elif not np.array_equal(first.weights, _aligned(score, order, score.weights)):
        found = "the same with other weights"
    else:
        return
    raise UserError(
        "the scores are not of the same items",
        found=f"of the items of {first.task}, {found}",
        fix="measure all on the same files, with the same limit",
    )
