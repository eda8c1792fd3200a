"""Do the two intervals of a difference hold what they say: a simulation whose truth is known.

    PYTHONPATH=. python benchmarks/intervals.py [--repetitions 2000]
    PYTHONPATH=. python benchmarks/intervals.py --repetitions 100      # a look

Two recipes, each trained under several seeds, are measured on the same items. What training s of
recipe r reaches on item i of cluster c is

    mean[r] + ease[c] + ease[i] + suits[r, c] + suits[r, i] + luck[r, s] + chance[r, s, i]

all normal. Bits per byte is that itself, weighted by the item's bytes, which are lognormal and
bear on ease and on what suits a recipe; accuracy is whether it is above 0. Both have means over all
seeds and items in closed form, so for each interval there is the truth that it speaks of:

- *these two recipes* against the difference of the recipes, over all seeds and items;
- *these two checkpoints*, of one training each, against the difference of those two trainings over
  all items, and against that of the recipes, which it does not claim to hold.

The figures are shares of repetitions in which the interval holds the truth, and its mean half
width. Takes about a minute. Writes ``benchmarks/results/intervals.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import erf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.comparison import Interval, checkpoints, recipes
from trainer.evaluation.tasks.scores import Score

Array = NDArray[np.float64]

BITS, ACCURACY = "bits_per_byte", "accuracy"
MEANS = (0.25, 0.15)
BYTES_SPREAD = 0.7
BEARING = (0.1, 0.03)  # of log bytes, on ease and on what suits the first recipe


@dataclass(frozen=True)
class Setting:
    """Standard deviations of the parts; ``together``: the share of luck, as a variance, that a seed
    has under both recipes.
    """

    measure: str
    seeds: tuple[int, int]
    items: int
    cluster: int
    luck: float
    suits: float
    chance: float
    paired: bool = False
    together: float = 0.0
    ease: float = 0.8
    of_cluster: float = 0.5


SETTINGS = [
    Setting(BITS, (3, 3), 200, 1, luck=0.03, suits=0.1, chance=0.1),
    Setting(BITS, (3, 3), 400, 4, luck=0.015, suits=0.2, chance=0.1),
    Setting(BITS, (5, 5), 400, 4, luck=0.03, suits=0.2, chance=0.2),
    Setting(BITS, (3, 3), 200, 1, luck=0.03, suits=0.1, chance=0.1, paired=True, together=0.8),
    Setting(BITS, (5, 3), 200, 1, luck=0.05, suits=0.05, chance=0.2),
    Setting(ACCURACY, (3, 3), 300, 1, luck=0.1, suits=0.3, chance=0.5),
    Setting(ACCURACY, (5, 5), 300, 3, luck=0.05, suits=0.5, chance=0.3),
    Setting(ACCURACY, (5, 5), 300, 1, luck=0.2, suits=0.2, chance=0.5, paired=True, together=0.5),
]


@dataclass(frozen=True)
class Draw:
    """Scores of both recipes by seed, the true difference of the recipes, and that of the first
    training of each.
    """

    a: list[Score]
    b: list[Score]
    recipes: float
    trainings: float


def draw(setting: Setting, random: np.random.Generator) -> Draw:
    """One experiment."""
    items, of_cluster = setting.items, sqrt(setting.of_cluster)
    of_item = sqrt(1 - setting.of_cluster)
    cluster = np.arange(items) // setting.cluster

    def effect(spread: float) -> Array:
        shared = random.normal(0, spread * of_cluster, cluster[-1] + 1)[cluster]
        return shared + random.normal(0, spread * of_item, items)

    log_bytes = random.normal(0, BYTES_SPREAD, items)
    ease = effect(setting.ease) + BEARING[0] * log_bytes
    luck_of_seed = random.normal(0, setting.luck * sqrt(setting.together), max(setting.seeds))
    sides, lucky = [], []
    for recipe, (mean, seeds) in enumerate(zip(MEANS, setting.seeds, strict=True)):
        bearing = BEARING[1] if recipe == 0 else 0.0
        suits = effect(setting.suits) + bearing * log_bytes
        own = random.normal(0, setting.luck * sqrt(1 - setting.together), seeds)
        luck = luck_of_seed[:seeds] + own
        reached = mean + ease + suits + luck[:, None]
        sides.append(reached + random.normal(0, setting.chance, (seeds, items)))
        lucky.append(luck[0])
    names = tuple(map(str, range(items)))
    clusters = tuple(map(str, cluster))
    bits = setting.measure == BITS
    weights = np.exp(log_bytes) if bits else np.ones(items)
    a, b = (
        [
            Score("task", setting.measure, names, clusters, row if bits else row > 0, weights)
            for row in side
        ]
        for side in sides
    )
    return Draw(a, b, *truths(setting, lucky))


def truths(setting: Setting, lucky: list[Array]) -> tuple[float, float]:
    """Of the recipes over all seeds and items; of two trainings, whose luck is known, over items.

    Over items weighted by their bytes the mean of their logarithm is its variance.
    """
    if setting.measure == BITS:
        difference = MEANS[0] - MEANS[1] + BEARING[1] * BYTES_SPREAD**2
        return difference, difference + float(lucky[0] - lucky[1])
    parts = setting.ease**2 + setting.suits**2 + setting.chance**2
    spreads = [
        parts + (BYTES_SPREAD * (BEARING[0] + bearing)) ** 2 for bearing in (BEARING[1], 0.0)
    ]
    of_recipes = [
        _share(mean / sqrt(spread + setting.luck**2))
        for mean, spread in zip(MEANS, spreads, strict=True)
    ]
    of_trainings = [
        _share((mean + float(luck)) / sqrt(spread))
        for mean, spread, luck in zip(MEANS, spreads, lucky, strict=True)
    ]
    return of_recipes[0] - of_recipes[1], of_trainings[0] - of_trainings[1]


def _share(distance: float) -> float:
    """Of a normal distribution, below so many standard deviations."""
    return (1 + erf(distance / sqrt(2))) / 2


def measured(setting: Setting, repetitions: int, seed: int = 1) -> dict[str, Any]:
    """How often each interval holds each truth, and half widths."""
    random = np.random.default_rng([seed, SETTINGS.index(setting)])
    held = np.array([list(_held(setting, random)) for _ in range(repetitions)])
    names = (
        "recipes_hold_recipes",
        "checkpoints_hold_checkpoints",
        "checkpoints_hold_recipes",
        "half_width_recipes",
        "half_width_checkpoints",
    )
    return dict(zip(names, held.mean(0).round(4).tolist(), strict=True))


def _held(setting: Setting, random: np.random.Generator) -> Iterator[float]:
    drawn = draw(setting, random)
    of_recipes = recipes(drawn.a, drawn.b, paired=setting.paired)
    of_checkpoints = checkpoints(drawn.a[0], drawn.b[0])
    yield _holds(of_recipes, drawn.recipes)
    yield _holds(of_checkpoints, drawn.trainings)
    yield _holds(of_checkpoints, drawn.recipes)
    for interval in (of_recipes, of_checkpoints):
        yield (interval.high - interval.low) / 2


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    asked = parser.parse_args()
    rows = []
    for setting in SETTINGS:
        row = {**asdict(setting), **measured(setting, asked.repetitions)}
        print(row, flush=True)
        rows.append(row)
    result = {"repetitions": asked.repetitions, "settings": rows}
    one_core.publish("intervals", {**result, "machine": one_core.machine(["numpy", "scipy"])})


if __name__ == "__main__":
    main()
