"""The spread between seeds: of single runs, and of differences between arms under one seed."""

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


def difference_variance(table: Sequence[Sequence[float]]) -> Variance:
    """The variance, over seeds, of the difference between two arms of a table with a row for each
    seed and a column for each arm: twice the mean square that is left when the means of rows and
    columns are taken away, (rows - 1)(columns - 1) degrees of freedom. Of two arms it is the
    variance of their differences.

    Raises: UserError for fewer than two complete rows or columns, and for values not finite.
    """
    rows, columns = len(table), len(table[0]) if table else 0
    if min(rows, columns) < 2:
        raise UserError(
            "the spread of a difference needs two arms under two seeds",
            parameter="table",
            found=f"{rows} seeds that all arms have, {columns} arms",
            allowed=["at least 2 of each"],
            fix="run both arms under the same seeds",
        )
    losses = finite([loss for row in table for loss in row], "table").reshape(rows, columns)
    rest = losses - losses.mean(0) - losses.mean(1, keepdims=True) + losses.mean()
    degrees = (rows - 1) * (columns - 1)
    return Variance(2 * float((rest**2).sum()) / degrees, degrees)
