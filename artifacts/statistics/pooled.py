"""The spread between seeds, pooled over groups of runs that differ in the seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from artifacts.errors import UserError
from artifacts.statistics.estimates import finite
from artifacts.statistics.intervals import Variance


def pooled_variance(groups: Iterable[Sequence[float]]) -> Variance:
    """The variance within groups: squares around each group's own mean, divided by the degrees of
    freedom that all groups have together (one less than its seeds, each). Its ``deviation`` is the
    pooled standard deviation.

    Raises: UserError where no group has two values, and for values that are not finite.
    """
    squares, degrees = 0.0, 0
    for group in groups:
        column = finite(group, "groups")
        if len(column) > 1:
            squares += float(((column - column.mean()) ** 2).sum())
            degrees += len(column) - 1
    if degrees == 0:
        raise UserError(
            "the spread between seeds needs a group of at least two",
            parameter="groups",
            found="no group with two values",
            fix="run one setting under a further seed",
        )
    return Variance(squares / degrees, degrees)
