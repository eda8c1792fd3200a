"""The noise scale along a run, and the largest batch that its endings recover at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.statistics.estimates import Estimate, mean_of
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.batch.branching import PROBE, Branching
from trainer.experiments.designs.batch.curves import path_of
from trainer.experiments.fits.critical_batch import (
    BranchedBatch,
    critical_by_branches,
    noise_scale_in_tokens,
)


@dataclass(frozen=True)
class NoiseStretch:
    """The noise scale in tokens over the stretch of a run that ends at ``tokens``, with the mean
    loss there; None where the gradients show no signal.
    """

    seed: int
    tokens: int
    loss: float
    scale: float | None


@dataclass(frozen=True)
class NoiseMean:
    """Over seeds: the geometric mean of their noise scales, with its interval from two on."""

    tokens: int
    loss: float
    scale: float
    interval: tuple[float, float] | None
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Critical:
    """The critical batch after ``at`` tokens, at a ``loss``; None with the ``reason``.

    ``excess``: by k, the losses of endings minus that of the run itself, by seed.
    """

    at: int
    loss: float | None
    found: BranchedBatch | None
    excess: dict[int, dict[int, float]]
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        found = None if self.found is None else self.found.to_json()
        excess = {
            str(factor): {str(seed): value for seed, value in by_seed.items()}
            for factor, by_seed in self.excess.items()
        }
        return {**vars(self), "found": found, "excess": excess}


def noise_stretches(
    base: Base, branching: Branching, trunks: Sequence[Measured]
) -> list[NoiseStretch]:
    """Ratios of means over stretches of as many tokens as an ending has, from each run that endings
    go on from; the first stretch, which holds the warm-up, is left out.
    """
    stretches = []
    for one in trunks:
        path, lines = path_of(base, one), one.outcome.probes.get(PROBE, [])
        for end in range(2 * branching.tokens, one.outcome.tokens + 1, branching.tokens):
            within = range(end - branching.tokens + 1, end + 1)
            losses = [loss for tokens, loss in path.items() if tokens in within]
            own = [
                line["groups"]["all"] for line in lines if line["step"] * branching.batch in within
            ]
            own = [figures for figures in own if figures["noise"] is not None]
            if losses and own:
                scale = noise_scale_in_tokens(
                    [figures["noise"] for figures in own],
                    [figures["signal"] for figures in own],
                    base.train.sequence_length,
                )
                loss = math.fsum(losses) / len(losses)
                stretches.append(NoiseStretch(int(one["seed"]), end, loss, scale))
    return stretches


def noise_means(stretches: Sequence[NoiseStretch]) -> list[NoiseMean]:
    """Means over seeds by stretch, of those that show a scale."""
    means = []
    for end in sorted({one.tokens for one in stretches}):
        seen = [
            (one.loss, math.log(one.scale))
            for one in stretches
            if one.tokens == end and one.scale is not None and one.scale > 0
        ]
        if not seen:
            continue
        losses, logs = [loss for loss, _ in seen], [log for _, log in seen]
        mean, interval = math.exp(math.fsum(logs) / len(logs)), None
        if len(logs) > 1:
            low, high = mean_of(logs).interval()
            interval = (_exp(low), _exp(high))
        means.append(NoiseMean(end, math.fsum(losses) / len(losses), mean, interval, len(seen)))
    return means


def noise_exponent(stretches: Sequence[NoiseStretch]) -> tuple[Estimate | None, str | None]:
    """b of noise scale = a / L^b: a line in logarithms for each seed, and the mean of their slopes;
    None with the reason.
    """
    import numpy as np

    slopes = []
    for seed in sorted({one.seed for one in stretches}):
        own = [
            (math.log(one.loss), math.log(one.scale))
            for one in stretches
            if one.seed == seed and one.scale is not None and one.scale > 0
        ]
        if len(own) > 1 and len({loss for loss, _ in own}) > 1:
            losses, scales = zip(*own, strict=True)
            slopes.append(-float(np.polyfit(losses, scales, 1)[0]))
    if len(slopes) < 2:
        return None, f"{len(slopes)} seeds have a noise scale at two losses, 2 are needed"
    return mean_of(slopes), None


def critical_batches(
    base: Base, branching: Branching, trunks: Sequence[Measured], endings: Sequence[Measured]
) -> list[Critical]:
    """The critical batch at each place that endings go on from."""
    paths = {int(one["seed"]): path_of(base, one) for one in trunks}
    return [_critical(base, branching, at, paths, endings) for at in branching.at]


def _critical(
    base: Base,
    branching: Branching,
    at: int,
    paths: dict[int, dict[int, float]],
    endings: Sequence[Measured],
) -> Critical:
    end = at + branching.tokens
    own = {seed: path[end] for seed, path in paths.items() if end in path}
    before = [path[at] for path in paths.values() if at in path]
    loss = math.fsum(before) / len(before) if before else None
    losses: dict[int, dict[int, float]] = {factor: {} for factor in sorted(branching.factors)}
    for one in endings:
        ended = path_of(base, one).get(end)
        if one.point.at(at=at) and ended is not None and one.outcome.diverged is None:
            losses[int(one["factor"])][int(one["seed"])] = ended
    excess = {
        factor: {seed: value - own[seed] for seed, value in by_seed.items() if seed in own}
        for factor, by_seed in losses.items()
    }
    lost = next((factor for factor in losses if set(losses[factor]) != set(own)), None)
    complete = {k: by_seed for k, by_seed in losses.items() if lost is None or k < lost}
    if not own or not complete:
        return Critical(at, loss, None, excess, "the run or its smallest ending has no loss")
    found = critical_by_branches(
        branching.batch,
        {float(k): dict(by_seed.items()) for k, by_seed in {1: own, **complete}.items()},
        base.loss_margin,
    )
    reason = None if lost is None else f"an ending at {lost} times the batch has no loss"
    return Critical(at, loss, found, excess, reason)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
