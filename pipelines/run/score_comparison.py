"""Files of scores compared: two checkpoints, or two recipes by several trained seeds of each.

    found = compare_scores(["a-1.json", "a-2.json"], ["b-1.json", "b-2.json"])
    for row in found:
        print(row.task, row.measure, row.checkpoints.low, row.recipes.low)

The files are those that an evaluation writes with the score of every item.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from artifacts.errors import Parameter, UserError
from trainer.evaluation.comparison import LEAST_SEEDS, Interval, checkpoints, recipes
from trainer.evaluation.tasks.scores import Score

LARGEST = 512 << 20
"""Bytes of a file of scores."""

AGAINST = "against"
_FIX = "write the file anew: evaluate with the option --items"

Scores: TypeAlias = dict[tuple[str, str], Score]
"""Of one trained model, by task and measure."""


@dataclass(frozen=True)
class Compared:
    """One measure of one task. ``a``, ``b``: means over the models of a side; ``checkpoints``: of
    the first model of each side; ``recipes``: of all, None where a side has too few seeds.
    """

    task: str
    measure: str
    items: int
    a: float
    b: float
    checkpoints: Interval
    recipes: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            **vars(self),
            "checkpoints": self.checkpoints.to_json(),
            "recipes": None if self.recipes is None else self.recipes.to_json(),
        }


def compare_scores(
    a: Sequence[str], b: Sequence[str], *, paired: bool = False
) -> tuple[Compared, ...]:
    """Both intervals of every measure, ``a`` minus ``b``. Each file is a trained model; several of
    a side are seeds of one recipe. ``paired``: file k of both sides is of one seed.

    Raises: UserError for a file that is not one of scores or is given twice, for other tasks,
    measures or items, and where seeds cannot be paired.
    """
    _check_once([*a, *b])
    sides = [[_read(path) for path in side] for side in (a, b)]
    _check_same([*zip(a, sides[0], strict=True), *zip(b, sides[1], strict=True)])
    if paired and len(a) != len(b):
        raise UserError(
            "seeds are paired only where each side has the same",
            field=(Parameter("paired"),),
            found=f"{len(a)} against {len(b)} files",
            fix="name as many files on both sides, or leave it out",
        )
    return tuple(_compared(name, sides[0], sides[1], paired) for name in sides[0][0])


def _compared(name: tuple[str, str], a: list[Scores], b: list[Scores], paired: bool) -> Compared:
    left, right = [one[name] for one in a], [one[name] for one in b]
    enough = min(len(left), len(right)) >= LEAST_SEEDS
    return Compared(
        *name,
        len(left[0].keys),
        sum(score.mean for score in left) / len(left),
        sum(score.mean for score in right) / len(right),
        checkpoints(left[0], right[0]),
        recipes(left, right, paired=paired) if enough else None,
    )


def _check_once(paths: Sequence[str]) -> None:
    """Raises: UserError for one training given as two seeds, be it by a copy of its file."""
    seen: dict[str, str] = {}
    for path in paths:
        text = _text(path)
        if text in seen:
            raise UserError(
                "one file stands for two trainings",
                file=path,
                found=f"the same as {seen[text]}",
                fix="name the scores of another training, or leave one out",
            )
        seen[text] = path


def _check_same(files: Sequence[tuple[str, Scores]]) -> None:
    first, scores = files[0]
    for path, found in files[1:]:
        alone = sorted(set(found) ^ set(scores))
        if alone:
            task, measure = alone[0]
            raise UserError(
                "the files are of different tasks or measures",
                file=path,
                found=f"{len(alone)} that only it or {first} has, the first {task}, {measure}",
                fix="evaluate all models on the same tasks",
            )


def _text(path: str) -> str:
    try:
        if Path(path).stat().st_size > LARGEST:
            raise UserError(
                "the file is too large for scores",
                file=path,
                allowed=[f"up to {LARGEST:,} bytes"],
                fix=_FIX,
            )
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "cannot read the scores", file=path, found=str(error), fix="check the path"
        ) from None


def _read(path: str) -> Scores:
    """The scores of a file. Raises: UserError where it holds none of every item."""
    try:
        values = json.loads(_text(path))
        scores = [Score.from_json(score) for score in values["scores"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            "not a file with the score of every item",
            file=path,
            found=f"{type(error).__name__}: {error}",
            fix=_FIX,
        ) from None
    if not scores:
        raise UserError("the file has no scores", file=path, fix=_FIX)
    for score in scores:
        if not np.isfinite(score.values).all() or not (score.weights > 0).all():
            raise UserError(
                "a score is not a number, or an item has no weight",
                file=path,
                found=f"{score.task}, {score.measure}",
                fix=_FIX,
            )
    return {(score.task, score.measure): score for score in scores}
