"""Points: what runs of several sizes and lengths ended at.

A *trunk* is a stable run, known by its size and its seed; its branches, decayed at several lengths,
share its path, so they are not independent of each other. A *cell* is a size at a length; the seeds
of a cell are its replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from trainer.experiments.laws.law import Array

Groups = NDArray[np.int64]
SAME = 0.01
"""Sizes, or lengths, that differ by less than this share are one."""
MOST = 1e100
"""No figure of a run is above it, or below one over it: products of two stay finite."""


@dataclass(frozen=True)
class Points:
    """Runs, a row each, all columns (points,).

    ``parameters``: N as counted; ``tokens``: D; ``losses``: positive, in any one unit.
    ``trunk``: the seed of the stable run that a point is a branch of, None where that is not known.
    ``weights``: how much a point counts, None for 1 each. ``sizes``: names of sizes; without them
    sizes are told by their parameters. ``sources``: losses by held-out source. ``counts``:
    parameters by other counting rules. ``settings``: what else runs differed in (batch, rate,
    decay).
    """

    parameters: Array
    tokens: Array
    losses: Array
    trunk: Sequence[object] | None = None
    weights: Array | None = None
    sizes: Sequence[object] | None = None
    sources: Mapping[str, Array] = field(default_factory=dict)
    counts: Mapping[str, Array] = field(default_factory=dict)
    settings: Mapping[str, Sequence[object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("parameters", "tokens", "losses"):
            _checked(self, name, getattr(self, name))
        if self.weights is not None:
            _checked(self, "weights", self.weights, least_is_zero=True)
        for kind in ("sources", "counts"):
            columns = getattr(self, kind)
            checked = {name: _column(f"{kind}.{name}", column) for name, column in columns.items()}
            object.__setattr__(self, kind, checked)
        for name, length in self._lengths().items():
            if length != len(self):
                raise UserError(
                    "columns of points differ in length",
                    parameter=name,
                    found=f"{length} rows",
                    allowed=[f"{len(self)} rows, as parameters"],
                )
        if len(self) == 0:
            raise UserError(
                "there are no points to fit",
                parameter="points",
                found="0 rows",
                fix="give at least 5 sizes at 5 lengths, with 3 seeds each for narrow intervals",
            )
        if not self.weight.any():
            raise UserError(
                "no point counts",
                parameter="weights",
                found="a weight of 0 at every point",
                fix="give 1 to each run that counts, or leave the weights out",
            )

    def _lengths(self) -> dict[str, int]:
        columns: dict[str, Sized | None] = {"tokens": self.tokens, "losses": self.losses}
        columns |= {"weights": self.weights, "trunk": self.trunk, "sizes": self.sizes}
        for more in (self.sources, self.counts, self.settings):
            columns |= more
        return {name: len(column) for name, column in columns.items() if column is not None}

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def size(self) -> Groups:
        """Which size each point is of, numbered upwards."""
        if self.sizes is None:
            return grouped(self.parameters)
        names = np.unique([str(name) for name in self.sizes], return_inverse=True)[1]
        means = np.bincount(names, self.parameters) / np.bincount(names)
        return np.asarray(np.argsort(np.argsort(means))[names], np.int64)

    @cached_property
    def length(self) -> Groups:
        """Which length each point is of: by tokens, or by tokens per parameter where that makes
        fewer groups, as in a design that trains every size to the same multiples of itself.
        """
        by_tokens, by_ratio = grouped(self.tokens), grouped(self.tokens / self.parameters)
        return by_tokens if by_tokens.max() <= by_ratio.max() else by_ratio

    @cached_property
    def cell(self) -> Groups:
        """Which size and length each point is of."""
        own = grouped(self.tokens)
        return np.unique(self.size * (own.max() + 1) + own, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def trunks(self) -> Groups | None:
        """Which trunk each point is of, numbered over all sizes."""
        if self.trunk is None:
            return None
        names = [f"{size} {seed}" for size, seed in zip(self.size, self.trunk, strict=True)]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    @property
    def weight(self) -> Array:
        """What each point counts."""
        return np.ones(len(self)) if self.weights is None else self.weights

    def chosen(self, mask: NDArray[np.bool_]) -> Points:
        """The points under a mask."""
        at = np.flatnonzero(mask)

        def rows(column: Sequence[object] | None) -> list[object] | None:
            return None if column is None else [column[row] for row in at.tolist()]

        return replace(
            self,
            parameters=self.parameters[at],
            tokens=self.tokens[at],
            losses=self.losses[at],
            trunk=rows(self.trunk),
            weights=None if self.weights is None else self.weights[at],
            sizes=rows(self.sizes),
            sources={name: column[at] for name, column in self.sources.items()},
            counts={name: column[at] for name, column in self.counts.items()},
            settings={name: rows(column) or [] for name, column in self.settings.items()},
        )

    def of_source(self, name: str) -> Points:
        """The same runs with the losses on one held-out source."""
        return replace(self, losses=self.sources[name], sources={})

    def counted(self, name: str) -> Points:
        """The same runs with parameters counted by another rule."""
        return replace(self, parameters=self.counts[name], counts={})


def grouped(values: Array) -> Groups:
    """Numbers of groups of nearly equal values, upwards: a gap of more than a hundredth begins the
    next.

    >>> grouped(np.array([2.0, 1.0, 1.002, 4.0])).tolist()
    [1, 0, 0, 2]
    """
    order = np.argsort(values, kind="stable")
    gaps = np.diff(np.log(values[order])) > np.log1p(SAME)
    numbers = np.empty(len(values), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(gaps)])
    return numbers


def _checked(points: Points, name: str, values: Array, least_is_zero: bool = False) -> None:
    object.__setattr__(points, name, _column(name, values, least_is_zero))


def _column(name: str, values: Array, least_is_zero: bool = False) -> Array:
    column = np.asarray(values, np.float64)
    allowed = (column >= 1 / MOST) & (column <= MOST)
    if least_is_zero:
        allowed |= column == 0
    if not allowed.all():
        row = int(np.flatnonzero(~allowed)[0])
        raise UserError(
            "a point's figure is not a finite number "
            + ("of at least 0" if least_is_zero else "above 0"),
            parameter=(*name.split("."), row),
            found=column[row],
            allowed=[f"{1 / MOST:g} to {MOST:g}"],
            fix="leave out a run that did not end, and say so beside the fit",
        )
    return column
