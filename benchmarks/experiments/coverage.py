"""Do the intervals of a law's D/N hold what they say: a simulation whose truth is known.

    PYTHONPATH=. python benchmarks/experiments/coverage.py [--simulations 1000]
    PYTHONPATH=. python benchmarks/experiments/coverage.py --simulations 20      # a look

Losses of sizes x lengths x seeds are drawn around a known law, with noise of trunks, which all
lengths of a size and seed share, and of branches; the law is fitted; each method makes its 95 %
interval of ln(D/N) at 1e21 operations. The figures are shares of simulations whose interval holds
the truth, with the binomial standard error, and the median half width of ln(D/N).

    5x5x3, 6x6x3     the paper's range of sizes, 3.1e7 to 2e9, and 12 to 70 tokens a parameter
    6x6x1            the paper's own design: one seed
    5x5x3 misfit     log losses bend by MISFIT along size and length together, which no law of this
                     form follows. Its truth is what the law says of losses without noise, and
                     beside it the least loss of the bent surface itself

Sizes are resampled only where there are 6 of them. A fit takes tens of milliseconds; the whole
about 15 minutes on one core. Writes ``benchmarks/results/experiments/coverage.json``, and from
1,000 simulations on ``trainer/experiments/laws/coverage.json``, which labels intervals.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import one_core  # isort: skip  (sets the thread pools)

import argparse
import json
from typing import Any, NamedTuple

import numpy as np

from trainer.experiments.laws.lack_of_fit import LackOfFit
from trainer.experiments.laws.law import Array, Law
from trainer.experiments.laws.methods import methods_of
from trainer.experiments.laws.noise import Noise, drawn
from trainer.experiments.laws.objectives import HUBER, Frame
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.solve import solve

TRUTH = Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
TRUNK, BRANCH = 0.008, 0.003
OPERATIONS = 1e21
RANGE, RATIOS = (3.1e7, 2e9), (12.0, 70.0)
MISFIT = -0.02
DRAWS = 80
ENOUGH = 1000
PACKAGED = one_core.ROOT / "trainer" / "experiments" / "laws" / "coverage.json"


class Design(NamedTuple):
    """Sizes x lengths x seeds, and by how much log losses bend."""

    name: str
    sizes: int
    lengths: int
    seeds: int
    misfit: float = 0.0

    def points(self) -> Points:
        """Its runs, with losses that have no noise."""
        sizes = np.geomspace(*RANGE, self.sizes)
        ratios = np.geomspace(*RATIOS, self.lengths)
        parameters = np.repeat(sizes, self.lengths * self.seeds)
        tokens = parameters * np.tile(np.repeat(ratios, self.seeds), self.sizes)
        seeds = np.tile(np.arange(self.seeds), self.sizes * self.lengths)
        return Points(parameters, tokens, self.exact(parameters, tokens), list(seeds))

    def exact(self, parameters: Array, tokens: Array) -> Array:
        """The loss without noise."""
        return np.asarray(
            TRUTH.loss(parameters, tokens) * np.exp(self.misfit * bend(parameters, tokens))
        )


def bend(parameters: Array, tokens: Array) -> Array:
    """From -1 to 1 over the design: the product of where a run stands in size and in length."""
    size = 2 * np.log(parameters / RANGE[0]) / np.log(RANGE[1] / RANGE[0]) - 1
    length = 2 * np.log(tokens / parameters / RATIOS[0]) / np.log(RATIOS[1] / RATIOS[0]) - 1
    return np.asarray(size * length, np.float64)


DESIGNS = [
    Design("5x5x3", 5, 5, 3),
    Design("6x6x3", 6, 6, 3),
    Design("6x6x1", 6, 6, 1),
    Design("5x5x3 misfit", 5, 5, 3, MISFIT),
]


def ratio(law: Law) -> Any:
    """The figure that intervals are of."""
    return law.ratio(OPERATIONS)


def truths(design: Design) -> dict[str, float]:
    """D/N that an interval is to hold: of the law without noise, and of the surface itself."""
    points = design.points()
    frame = Frame.of(points)
    law = frame.law(solve(HUBER, frame, points.losses, points.weight).theta)
    parameters = np.geomspace(RANGE[0], 10 * RANGE[1], 200_001)
    tokens = OPERATIONS / 6 / parameters
    best = parameters[design.exact(parameters, tokens).argmin()]
    return {"law": float(ratio(law)), "surface": float(OPERATIONS / 6 / best**2)}


def measured(design: Design, simulations: int, seed: int = 1) -> dict[str, Any]:
    """Coverage and half widths of every method."""
    random = np.random.default_rng([seed, DESIGNS.index(design)])
    exact, truth = design.points(), truths(design)
    noise = Noise(TRUNK**2, BRANCH**2, 0, 0, 0.0, 0, 0)
    rows: dict[str, list[tuple[bool, bool, float]]] = {}
    errors, rejected = [], 0
    for number in range(simulations):
        losses = exact.losses * np.exp(drawn(exact, noise, 1, random)[0])
        points = Points(exact.parameters, exact.tokens, losses, exact.trunk)
        frame = Frame.of(points)
        solution = solve(HUBER, frame, losses, points.weight)
        law = frame.law(solution.theta)
        errors.append(np.log(ratio(law) / truth["law"]))
        found = methods_of(HUBER, points, frame, solution, draws=DRAWS, seed=number)
        rejected += isinstance(found.test, LackOfFit) and found.test.found
        for kind, spread in [*found.spreads.items(), ("headline", found.spread)]:
            interval = spread.interval(ratio, law, logarithmic=True)
            held = (interval.holds(truth["law"]), interval.holds(truth["surface"]))
            rows.setdefault(kind, []).append((*held, np.log(interval.high / interval.low) / 2))
    return {
        **design._asdict(),
        "simulations": simulations,
        "ratio": truth,
        "bias": round(float(np.mean(errors)), 4),
        "deviation": round(float(np.std(errors)), 4),
        "lack_of_fit_found": round(rejected / simulations, 4),
        "methods": {kind: summary(np.array(own, float)) for kind, own in rows.items()},
    }


def summary(rows: Array) -> dict[str, float]:
    """Coverage with its binomial error, and the median half width."""
    share, surface, _ = rows.mean(0)
    return {
        "coverage": round(float(share), 4),
        "error": round(float(np.sqrt(share * (1 - share) / len(rows))), 4),
        "coverage_of_surface": round(float(surface), 4),
        "half_width": round(float(np.median(rows[:, 2])), 4),
    }


def packaged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the package labels intervals with."""
    kept = ("name", "sizes", "lengths", "seeds", "misfit", "simulations", "methods")
    return [{name: row[name] for name in kept} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=ENOUGH)
    asked = parser.parse_args()
    rows = []
    for design in DESIGNS:
        rows.append(measured(design, asked.simulations))
        print(json.dumps(rows[-1]), flush=True)
    facts = {"noise": {"trunk": TRUNK, "branch": BRANCH}, "operations": OPERATIONS, "draws": DRAWS}
    (one_core.RESULTS / "experiments").mkdir(parents=True, exist_ok=True)
    machine = one_core.machine(["numpy", "scipy"])
    one_core.publish("experiments/coverage", {**facts, "designs": rows, "machine": machine})
    if asked.simulations >= ENOUGH:
        PACKAGED.write_text(json.dumps(packaged(rows), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
