"""Arms: paired differences, runs that diverged, spread against noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.experiments.designs.made_up import BASE, outcome_of
from trainer.experiments.design import Measured
from trainer.experiments.designs.arms import Arms
from trainer.experiments.runs import Point, RunSpec


def arms_of(losses: dict[tuple[str, int], float | None]) -> Arms:
    run = RunSpec(phases=(BASE.stable,))
    return Arms.of(
        [
            Measured(
                Point({"arm": arm, "seed": seed}, run),
                outcome_of(run, None if loss is None else {"web": loss, "code": loss + 1}),
            )
            for (arm, seed), loss in losses.items()
        ],
        "nats",
    )


def test_differences_are_paired_over_the_seeds_that_both_have() -> None:
    arms = arms_of(
        {("a", 1): 3.0, ("a", 2): 4.0, ("a", 3): 9.0, ("b", 1): 2.9, ("b", 2): 3.8, ("b", 3): None}
    )
    assert arms.losses("b", ("web", "code")) == {1: 3.4, 2: 4.3}
    found = arms.contrast("b", "a", ("web",))
    assert found is not None
    assert (found.value, found.degrees) == (pytest.approx(-0.15), 1)
    assert arms.diverged == [
        "b, seed 3: diverged at step 7 (loss nan); it counts in no mean",
    ]
    assert arms.contrast("b", "c", ("web",)) is None
    assert arms.mean("c", ("web",)) is None


def test_spread_and_noise_are_those_of_two_ways_without_interaction() -> None:
    draw = np.random.default_rng(1)
    names, seeds = [f"arm{n}" for n in range(40)], range(25)
    effect, level = draw.normal(0, 0.3, 40), draw.normal(0, 2.0, 25)
    noise = draw.normal(0, 0.05, (40, 25))
    arms = arms_of(
        {
            (name, seed): 5 + effect[i] + level[seed] + noise[i, seed]
            for i, name in enumerate(names)
            for seed in seeds
        }
    )
    found = arms.spread_and_noise(names, ("web",))
    assert found is not None
    assert found[0] == pytest.approx((effect + noise.mean(1)).std(ddof=1))
    assert found[1] == pytest.approx(0.05, rel=0.1)
    assert arms.spread_and_noise(names[:1], ("web",)) is None
    assert arms.spread_and_noise([], ("web",)) is None
