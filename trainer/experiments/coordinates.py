"""Does the parameterisation hold? Slopes of sizes of activations and updates over model sizes.

    lines of the probe, by width and seed ─ measured_in ─▶ sizes ─ judge ─▶ slopes, verdicts

For every coordinate and number of updates the slope of log2 mean |x| on log2 size is fitted for
each seed, and has Student's t interval over seeds. It *fails* where the interval lies wholly
outside what is allowed, *passes* wholly inside, and is *undecided* else: then more seeds are
needed. A check that never fails says nothing, so models with the parameterisation off are measured
too, and have to fail somewhere: else the check has no power.

Of a randomly drawn head the logits at the start fall as 1 / sqrt(width), by theory (with a head of
fixed deviation and hidden states divided by m); they are not judged before training has settled
them.

A flat check does not prove that a learning rate transfers: it finds parameterisations that do not.

>>> lines = [{"updates": 1, "activations": {"logits": size}, "changes": {}} for size in (1.0, 1.1)]
>>> runs = [found for width, line in zip((64, 128), lines) for seed in (1, 2)
...         for found in measured_in([line], size=width, seed=seed, on=True)]
>>> [(row.coordinate, round(row.slope, 2)) for row in judge(runs).rows]
[('logits', 0.14)]
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np

from artifacts.errors import UserError
from artifacts.statistics.intervals import Variance, interval_of

CHANGE = "change."
"""Before the kind of tensor whose updates are measured."""

PASSES, FAILS, UNDECIDED, NOT_JUDGED = "passes", "fails", "undecided: add seeds", "not judged"
NO_POWER = "no power: the arm with the parameterisation off does not fail"

HIDDEN = ("q", "k", "v", "out", "gate", "up", "down")
"""Kinds of hidden matrices, which learn at 1/m of the rate."""


Sizes: TypeAlias = Mapping[str, float | None]


@dataclass(frozen=True)
class Measured:
    """One run after a number of ``updates``: the ``sizes`` (mean of absolute values) by coordinate,
    None where that is not finite.

    ``size`` is the width or the depth that is studied; ``on``: whether the parameterisation is.
    """

    size: int
    seed: int
    on: bool
    updates: int
    sizes: Sizes


@dataclass(frozen=True)
class Bounds:
    """What is allowed: a slope within ``early`` of what is expected up to ``early_to`` updates,
    within ``late`` after; the arm that is off has to be ``power`` away somewhere.

    ``expected``: slopes by the last part of a coordinate's name where they are not 0. ``settled``:
    from how many updates on a coordinate is judged, by the last part of its name.
    """

    early: float = 0.15
    late: float = 0.3
    early_to: int = 3
    power: float = 0.3
    expected: Mapping[str, float] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("early", "late", "power"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(
                    "a bound of a slope is a number above 0",
                    parameter=name,
                    found=value,
                    fix="give one such as 0.15",
                )

    @classmethod
    def of_width(cls) -> Bounds:
        """Over widths nothing grows; hidden matrices move by 1/width, as their rate does (Adam's
        updates have the size of the rate). Logits start at width^-1/2 and have three updates.
        """
        moves = {CHANGE + kind: -1.0 for kind in HIDDEN}
        return cls(expected=moves, settled={"logits": 3})

    @classmethod
    def of_depth(cls, depth_alpha: float = 0.5) -> Bounds:
        """Over depths what a branch adds falls as layers^-``depth_alpha``; nothing else changes."""
        return cls(expected={"attention": -depth_alpha, "feed_forward": -depth_alpha})

    def expects(self, coordinate: str) -> float:
        """The slope by theory."""
        return self.expected.get(_part(coordinate), 0.0)

    def allows(self, updates: int) -> float:
        """How far a slope may be from it."""
        return self.early if updates <= self.early_to else self.late

    def judges(self, coordinate: str, updates: int) -> bool:
        """Whether the coordinate is judged after so many updates."""
        return updates >= self.settled.get(_part(coordinate), 0)


@dataclass(frozen=True)
class Slope:
    """The slope of one coordinate after some ``updates``: its mean over ``seeds`` and the 95 %
    interval ``low`` to ``high``, None of one seed. ``bound`` around ``expected`` is allowed. Where
    a run ``diverged`` there is no slope, and the coordinate fails.
    """

    coordinate: str
    updates: int
    on: bool
    slope: float | None
    low: float | None
    high: float | None
    seeds: int
    expected: float
    bound: float
    verdict: str
    diverged: bool = False

    def outside(self, bound: float) -> bool:
        """Whether the interval lies wholly further than ``bound`` from what is expected."""
        if self.low is None or self.high is None:
            return self.diverged
        return self.low > self.expected + bound or self.high < self.expected - bound

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CoordinateCheck:
    """The slopes of both arms, and what they say together. ``left_out``: coordinates that not every
    run has at every size, as the later layers of deeper models.
    """

    sizes: tuple[int, ...]
    rows: tuple[Slope, ...]
    off: tuple[Slope, ...]
    power: float
    left_out: tuple[str, ...] = ()

    @property
    def powerful(self) -> bool:
        """Whether the arm that is off fails somewhere, by at least the bound for it."""
        return any(row.outside(self.power) for row in self.off if row.verdict != NOT_JUDGED)

    @property
    def verdict(self) -> str:
        """``passes``, ``fails``, that seeds are to be added, or that the check has no power."""
        verdicts = {row.verdict for row in self.rows}
        if FAILS in verdicts:
            return FAILS
        if not self.powerful:
            return NO_POWER
        return UNDECIDED if UNDECIDED in verdicts or PASSES not in verdicts else PASSES

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "verdict": self.verdict,
            "powerful": self.powerful,
            "power": self.power,
            "sizes": list(self.sizes),
            "on": [row.to_json() for row in self.rows],
            "off": [row.to_json() for row in self.off],
            "left_out": list(self.left_out),
        }


def measured_in(
    lines: Iterable[Mapping[str, Any]], *, size: int, seed: int, on: bool
) -> list[Measured]:
    """What a run's lines of :class:`trainer.probes.coordinates.Coordinates` hold, one of each: the
    activations by name, and the changes by kind after ``change.``
    """
    return [
        Measured(
            size,
            seed,
            on,
            line["updates"],
            {
                **line["activations"],
                **{CHANGE + kind: value for kind, value in line["changes"].items()},
            },
        )
        for line in lines
    ]


def over_layers(measured: Measured) -> Measured:
    """The same with the mean over layers in place of each: ``qkv``, ``stream``; so that models of
    several depths have the same coordinates.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in measured.sizes.items():
        values[_part(name)].append(math.nan if value is None else value)
    means = {name: float(np.mean(found)) for name, found in values.items()}
    return Measured(measured.size, measured.seed, measured.on, measured.updates, means)


def judge(measured: Sequence[Measured], bounds: Bounds | None = None) -> CoordinateCheck:
    """Slopes and verdicts of every coordinate that all runs have, by arm and number of updates.

    ``bounds``: default those over widths. Raises: UserError when a run was measured twice, when the
    runs do not fill a grid of sizes and seeds, or when there are fewer than two sizes.
    """
    chosen = bounds or Bounds.of_width()
    arms = {on: _arm(measured, on) for on in (True, False)}
    sizes = sorted({run.size for run in measured})
    if len(sizes) < 2:
        raise UserError(
            "a slope takes models of at least two sizes",
            parameter="measured",
            found=", ".join(map(str, sizes)) or "no run",
            fix="measure at least two widths, better three or more",
        )
    names = [set(run.sizes) for run in measured]
    shared = set.intersection(*names)
    order = [name for name in measured[0].sizes if name in shared]
    rows = {
        on: tuple(
            _slope(chosen, name, updates, on, runs, sizes)
            for updates, runs in sorted(arm.items())
            for name in order
        )
        for on, arm in arms.items()
    }
    left_out = tuple(sorted(set.union(*names) - shared))
    return CoordinateCheck(tuple(sizes), rows[True], rows[False], chosen.power, left_out)


Runs: TypeAlias = dict[tuple[int, int], Sizes]
"""Sizes of coordinates by size and seed."""


def _arm(measured: Sequence[Measured], on: bool) -> dict[int, Runs]:
    """The runs of one arm by number of updates. Raises: UserError as :func:`judge`."""
    found: dict[int, Runs] = defaultdict(dict)
    for run in measured:
        if run.on == on:
            if (run.size, run.seed) in found[run.updates]:
                raise UserError(
                    "a run was measured twice",
                    parameter="measured",
                    found=f"size {run.size}, seed {run.seed}, after {run.updates} updates",
                    fix="give each run's lines once",
                )
            found[run.updates][run.size, run.seed] = run.sizes
    sizes = {run.size for run in measured}
    for updates, runs in found.items():
        seeds = {seed for _, seed in runs}
        missing = {(size, seed) for size in sizes for seed in seeds} - set(runs)
        if missing:
            size, seed = min(missing)
            raise UserError(
                "every seed is measured at every size, so that slopes can be paired by seed",
                parameter="measured",
                found=f"no size {size} with seed {seed} after {updates} updates",
                fix="make that run, or leave the seed out",
            )
    return found


def _slope(
    bounds: Bounds, name: str, updates: int, on: bool, runs: Runs, sizes: Sequence[int]
) -> Slope:
    """The slope of a coordinate over the seeds of an arm."""
    seeds = sorted({seed for _, seed in runs})
    logs = np.array([[_log2(runs[size, seed][name], name) for size in sizes] for seed in seeds])
    expected, bound = bounds.expects(name), bounds.allows(updates)
    mean = low = high = None
    diverged = not np.isfinite(logs).all()
    if not diverged:
        x = np.log2(np.array(sizes, np.float64))
        x -= x.mean()
        slopes = logs @ x / (x @ x)
        mean = float(slopes.mean())
        if len(slopes) > 1:
            found = interval_of(mean, [Variance.of_mean(slopes)])
            low, high = found.low, found.high
    verdict = UNDECIDED
    if not bounds.judges(name, updates):
        verdict = NOT_JUDGED
    elif diverged:
        verdict = FAILS
    elif low is not None and high is not None:
        if low > expected + bound or high < expected - bound:
            verdict = FAILS
        elif expected - bound <= low and high <= expected + bound:
            verdict = PASSES
    return Slope(name, updates, on, mean, low, high, len(seeds), expected, bound, verdict, diverged)


def _log2(value: float | None, name: str) -> float:
    """Not a number where the size is not finite. Raises: UserError for one that is not above 0."""
    if value is None or not math.isfinite(value):
        return math.nan
    if value <= 0:
        raise UserError(
            "a size of activations or updates is not above 0",
            parameter="measured",
            found=f"{name}: {value}",
            fix="leave out steps whose learning rate is 0",
        )
    return math.log2(value)


def _part(coordinate: str) -> str:
    """The last part of a name, under which all layers share: ``qkv``; of changes the whole."""
    if coordinate.startswith(CHANGE):
        return coordinate
    return coordinate.rpartition(".")[2]
