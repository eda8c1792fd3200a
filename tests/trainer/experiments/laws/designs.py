"""What tests of laws share: a design of sizes, lengths and seeds, and losses with known noise."""

from __future__ import annotations

import numpy as np

from trainer.experiments.laws.law import Law
from trainer.experiments.laws.noise import Noise, drawn
from trainer.experiments.laws.points import Points

TRUTH = Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)


def design(
    sizes: int = 5,
    lengths: int = 5,
    seeds: int = 3,
    *,
    trunk: float = 0.0,
    branch: float = 0.0,
    bend: float = 0.0,
    seed: int = 0,
    law: Law = TRUTH,
) -> Points:
    """Runs of the paper's range, with noise of trunks and branches; ``bend`` is what no law of the
    form follows.
    """
    ratios = np.geomspace(12, 70, lengths)
    parameters = np.repeat(np.geomspace(3.1e7, 2e9, sizes), lengths * seeds)
    tokens = parameters * np.tile(np.repeat(ratios, seeds), sizes)
    seeds_of = list(np.tile(np.arange(seeds), sizes * lengths))
    shape = np.linspace(-1, 1, sizes).repeat(lengths * seeds)
    shape = shape * np.tile(np.linspace(-1, 1, lengths).repeat(seeds), sizes)
    losses = law.loss(parameters, tokens) * np.exp(bend * shape)
    exact = Points(parameters, tokens, losses, seeds_of)
    noise = Noise(trunk**2, branch**2, 0, 0, 0.0, 0, 0)
    factor = np.exp(drawn(exact, noise, 1, np.random.default_rng(seed))[0])
    return Points(parameters, tokens, losses * factor, seeds_of)
