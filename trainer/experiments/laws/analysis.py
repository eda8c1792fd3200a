"""A law fitted to points with everything that belongs beside it, as plain values.

    analysed(points).to_json()     E, A, B, alpha, beta, and how sure they are

The headline is the fit by Huber's loss; its constants stand at the top. The other losses, intervals
of other kinds, the test of fit, the law without a size or a length, and what is optimal over
compute beside what others found, stand under names of their own.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.experiments.laws.coverage import label
from trainer.experiments.laws.determined import undetermined
from trainer.experiments.laws.forest import Variant, forest, left_out_errors
from trainer.experiments.laws.law import CONSTANTS, LOGARITHMIC, PER_TOKEN, Law
from trainer.experiments.laws.methods import Methods, methods_of
from trainer.experiments.laws.objectives import HUBER, OBJECTIVES, Frame
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.published import (
    BESIROGLU,
    CHINCHILLA,
    PAPER,
    PAPER_OPERATIONS,
    PAPER_RATIO,
)
from trainer.experiments.laws.solve import Solution, solve
from trainer.experiments.laws.spreads import DRAWS, MEANINGS, Interval, Spread

OTHERS = {"chinchilla": CHINCHILLA, "besiroglu": BESIROGLU, "paper": PAPER}


class Analysis(NamedTuple):
    """A fit: the ``law``, ``solutions`` by loss, ``methods`` of intervals, those of the constants,
    ``reasons`` of constants that are not determined, the ``forest`` of D/N at ``operations``.
    ``prediction`` is the standard deviation of ln(predicted / measured) of sizes left out, None
    without enough points.
    """

    points: Points
    law: Law
    solutions: dict[str, tuple[Solution, Law]]
    methods: Methods
    intervals: dict[str, Interval | None]
    reasons: dict[str, str]
    forest: list[Variant]
    operations: float
    budgets: tuple[float, ...]
    prediction: float | None
    unit: str

    @property
    def headline(self) -> Solution:
        """The fit by the headline's loss."""
        return self.solutions[HUBER.name][0]

    def optima(self) -> list[dict[str, Any]]:
        """Optimal size, tokens and D/N by budget, with intervals, beside others'."""
        most = float((PER_TOKEN * self.points.parameters * self.points.tokens).max())
        rows = []
        for budget in self.budgets:
            row = optimum_row(self.law, budget, self.methods.spread)
            row["extrapolated"] = budget > most
            row["others"] = {name: float(law.ratio(budget)) for name, law in OTHERS.items()}
            rows.append(row)
        return rows

    def paper(self) -> dict[str, Any]:
        """D/N where the paper gives 192, and whether that lies within the interval."""
        row = optimum_row(self.law, PAPER_OPERATIONS, self.methods.spread)
        ratio, interval = row["ratio"], row["intervals"]["ratio"]
        found = {"operations": PAPER_OPERATIONS, "paper": PAPER_RATIO, "ratio": ratio}
        if self.reasons.keys() & {"A", "B", "alpha", "beta"}:
            sentence = "These runs do not determine D/N, so nothing is said of the paper's "
            sentence += f"{PAPER_RATIO}."
            return {**found, "interval": interval, "holds": None, "sentence": sentence}
        if interval is None:
            sentence = f"D/N at 1e21 operations is {ratio:.3g} without an interval, so nothing is "
            sentence += f"said of the paper's {PAPER_RATIO}."
            return {**found, "interval": None, "holds": None, "sentence": sentence}
        low, high = interval["low"], interval["high"]
        holds = Interval(low, high).holds(PAPER_RATIO)
        sentence = f"D/N at 1e21 operations is {ratio:.3g}, 95 % from {low:.3g} to {high:.3g}: "
        sentence += (
            f"the interval holds the paper's {PAPER_RATIO}, and all else in a factor of "
            f"{high / low:.2g}; that confirms nothing."
            if holds
            else f"the interval does not contain the paper's {PAPER_RATIO}."
        )
        return {**found, "interval": interval, "holds": holds, "sentence": sentence}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values, the constants at the top."""
        methods, points = self.methods, self.points
        constants = {name: float(value) for name, value in self.law._asdict().items()}
        return {
            **constants,
            "intervals": {name: plain(interval) for name, interval in self.intervals.items()},
            "determined": {name: name not in self.reasons for name in CONSTANTS},
            "undetermined_because": self.reasons,
            "loss": HUBER.meaning,
            "unit": self.unit,
            "objective": self.headline.value,
            "bounds_active": list(self.headline.active),
            "points": len(points),
            "largest_operations": float((PER_TOKEN * points.parameters * points.tokens).max()),
            "sizes": int(points.size.max()) + 1,
            "lengths": len(np.unique(points.length)),
            "seeds": None if methods.noise is None else methods.noise.seeds,
            "interval": self._headline_interval(),
            "lack_of_fit": methods.test
            if isinstance(methods.test, str)
            else methods.test.to_json(),
            "noise": None if methods.noise is None else methods.noise._asdict(),
            "losses": {name: self._of_loss(name) for name in self.solutions},
            "methods": {kind: self._of_method(kind) for kind in methods.spreads},
            "optimal": self.optima(),
            "forest": [row.to_json() for row in self.forest],
            "forest_operations": self.operations,
            "paper": self.paper(),
            "prediction_deviation": self.prediction,
            "spread": None if methods.spread is None else methods.spread.to_json(),
        }

    def _headline_interval(self) -> dict[str, Any]:
        spread, noise = self.methods.spread, self.methods.noise
        return {
            "kind": self.methods.headline,
            "meaning": None if spread is None else MEANINGS[spread.kind],
            "because": self.methods.because,
            "degrees": None if spread is None else spread.degrees,
            "coverage": None if spread is None else self._label(spread.kind),
            "seeds": None if noise is None else noise.seeds,
        }

    def _label(self, kind: str) -> dict[str, Any]:
        noise, test = self.methods.noise, self.methods.test
        return label(
            kind,
            sizes=int(self.points.size.max()) + 1,
            seeds=1 if noise is None else noise.seeds,
            misfit=not isinstance(test, str) and test.found,
        )

    def _of_loss(self, name: str) -> dict[str, Any]:
        solution, law = self.solutions[name]
        meaning = next(one.meaning for one in OBJECTIVES if one.name == name)
        return {
            "meaning": meaning,
            **{constant: float(value) for constant, value in law._asdict().items()},
            "objective": solution.value,
            "bounds_active": list(solution.active),
            "ratio": float(law.ratio(self.operations)),
        }

    def _of_method(self, kind: str) -> dict[str, Any]:
        spread = self.methods.spreads[kind]
        ratio = spread.interval(lambda law: law.ratio(self.operations), self.law, logarithmic=True)
        own = constant_intervals(spread, self.law)
        return {
            "meaning": MEANINGS[kind],
            "degrees": spread.degrees,
            "headline": kind == self.methods.headline,
            "coverage": self._label(kind),
            "ratio": plain(ratio),
            "intervals": {name: plain(interval) for name, interval in own.items()},
        }


def analysed(
    points: Points,
    *,
    unit: str = "as given",
    operations: float = PAPER_OPERATIONS,
    budgets: Sequence[float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Analysis:
    """The fit of points with all that belongs beside it. ``operations``: the budget whose D/N is
    compared; ``budgets``: those whose optimum is given, by default decades around the runs.
    """
    frame = Frame.of(points)
    solutions = {}
    for objective in OBJECTIVES:
        solution = solve(objective, frame, points.losses, points.weight)
        solutions[objective.name] = solution, Law(*map(float, frame.law(solution.theta)))
    solution, law = solutions[HUBER.name]
    methods = methods_of(HUBER, points, frame, solution, draws=draws, seed=seed)
    none: dict[str, Interval | None] = dict.fromkeys(CONSTANTS)
    intervals = none if methods.spread is None else constant_intervals(methods.spread, law)
    widest = methods.spread or next(iter(methods.spreads.values()), None)
    judged = none if widest is None else constant_intervals(widest, law)
    errors = left_out_errors(points)
    return Analysis(
        points=points,
        law=law,
        solutions=solutions,
        methods=methods,
        intervals=intervals,
        reasons=undetermined(points, frame, solution, judged),
        forest=forest(points, operations),
        operations=operations,
        budgets=tuple(budgets or decades(points)),
        prediction=float(np.sqrt(np.mean(np.square(errors)))) if errors else None,
        unit=unit,
    )


def constant_intervals(spread: Spread, law: Law) -> dict[str, Interval | None]:
    """Of the five constants: of A and B by their logarithms."""
    return {
        name: spread.interval(operator.attrgetter(name), law, logarithmic=name in LOGARITHMIC)
        for name in CONSTANTS
    }


def optimum_row(law: Law, operations: float, spread: Spread | None) -> dict[str, Any]:
    """Optimal size, tokens, D/N and loss at a budget, with intervals."""
    best = law.optimum(operations)
    figures = {
        "parameters": lambda one: one.optimum(operations).parameters,
        "tokens": lambda one: one.optimum(operations).tokens,
        "ratio": lambda one: one.ratio(operations),
    }
    return {
        "operations": operations,
        "parameters": float(best.parameters),
        "tokens": float(best.tokens),
        "ratio": float(best.ratio),
        "loss": float(law.loss(*best)),
        "intervals": {
            name: None if spread is None else plain(spread.interval(figure, law, logarithmic=True))
            for name, figure in figures.items()
        },
    }


def decades(points: Points) -> list[float]:
    """Powers of ten of operations over the runs and two beyond, and 1e21."""
    spent = np.log10(PER_TOKEN * points.parameters * points.tokens)
    first, last = int(np.floor(spent.min())), int(np.ceil(spent.max())) + 2
    step = max(1, (last - first) // 6)
    return sorted({10.0**power for power in range(first, last + 1, step)} | {PAPER_OPERATIONS})


def plain(interval: Interval | None) -> dict[str, float] | None:
    """An interval as plain values."""
    return None if interval is None else interval._asdict()
