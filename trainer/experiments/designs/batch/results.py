"""Everything that a study of batches measured, as its tables and figures show it."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.statistics.estimates import Estimate
from trainer.experiments.designs.batch.curves import ArmFit
from trainer.experiments.designs.batch.rates import BestRate
from trainer.experiments.designs.batch.scales import Critical, NoiseMean


@dataclass(frozen=True)
class BatchResults:
    """``peak``: the rate of the fixed arm; ``noise_b``: exponent of the noise scale, or the reason
    why there is none.
    """

    peak: float
    arms: tuple[ArmFit, ...]
    rates: tuple[BestRate, ...]
    noise: tuple[NoiseMean, ...]
    noise_b: tuple[Estimate | None, str | None]
    critical: tuple[Critical, ...]
