"""Whether the best learning rate stays where it is when models grow (arXiv 2404.06395, 3.3).

Losses over a grid of peak rates at several widths, with the paper's parameterisation, and with it
off as a contrast: ``dim_model_base`` equal to each width, all else the same. An arm may be given
one seed first and further ones at its best rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.settings import Part
from trainer.experiments.design import Base, Design, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count, Rate, Seed
from trainer.experiments.designs.rate_findings import rate_findings
from trainer.experiments.designs.shape import shape
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point, RunSpec


class Arm(Part):
    """One parameterisation: ``seeds`` at every rate, and ``more_seeds`` at the ``best`` rates of
    each width and at the best one of the smallest. ``transfer``: whether the parameterisation is
    on.
    """

    transfer: bool
    seeds: tuple[Seed, ...] = Field(min_length=1)
    more_seeds: tuple[Seed, ...] = ()
    best: Count = 3


class LearningRateDesign(Design):
    """``tokens`` of every run, of which the last ``decay`` share decays; ``base_width`` is that of
    the parameterisation, default the smallest width.
    """

    kind: ClassVar[str] = "lr"
    summary: ClassVar[str] = "the best learning rate over widths"

    widths: tuple[Count, ...] = Field(min_length=1)
    layers: Count = 2
    peaks: tuple[Rate, ...] = Field(min_length=3)
    tokens: Count
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.1
    warmup: Annotated[int, Field(ge=0)] = 20
    base_width: Count | None = None
    arms: dict[str, Arm] = Field(
        default={
            "on": Arm(transfer=True, seeds=(1, 2, 3)),
            "off": Arm(transfer=False, seeds=(1,), more_seeds=(2, 3)),
        },
        min_length=1,
    )

    @model_validator(mode="after")
    def _grids_rise(self) -> LearningRateDesign:
        for name in ("widths", "peaks"):
            values = list(getattr(self, name))
            if values != sorted(set(values)):
                raise UserError(
                    "a grid rises from value to value",
                    field=("design", name),
                    found=values,
                    fix=f"write {sorted(set(values))}",
                )
        return self

    @model_validator(mode="after")
    def _more_seeds_are_others(self) -> LearningRateDesign:
        for name, arm in self.arms.items():
            if {*arm.seeds} & {*arm.more_seeds}:
                raise UserError(
                    "further seeds are others than the first",
                    field=("design", "arms", name, "more_seeds"),
                    found=list(arm.more_seeds),
                    fix=f"write {sorted({*arm.more_seeds} - {*arm.seeds})}",
                )
        return self

    @property
    def _base_width(self) -> int:
        return self.base_width or min(self.widths)

    @property
    def grows(self) -> bool:
        return any(arm.more_seeds for arm in self.arms.values())

    def points(self, base: Base, made: Made) -> list[Point]:
        points = []
        for name, arm in self.arms.items():
            carried: tuple[float, ...] = ()
            for width in self.widths:
                first = [*self._points(base, name, arm, width, arm.seeds, self.peaks)]
                points += first
                best = self._best(base, first, made, arm.best)
                carried = carried or self._best(base, first, made, 1)
                again = sorted({*best, *carried}) if best else []
                points += self._points(base, name, arm, width, arm.more_seeds, again)
        return points

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        return rate_findings(base, self._step, self.widths, measured)

    @property
    def _step(self) -> float:
        """The ratio of neighbouring rates, in the mean over the grid."""
        return float((self.peaks[-1] / self.peaks[0]) ** (1 / (len(self.peaks) - 1)))

    def _points(
        self,
        base: Base,
        name: str,
        arm: Arm,
        width: int,
        seeds: Sequence[int],
        peaks: Sequence[float],
    ) -> Iterator[Point]:
        batch = base.train.batch_tokens
        decay = whole_batches(self.decay * self.tokens, batch)
        stable = whole_batches(self.tokens, batch) - decay
        phases = [base.stable_phase(stable)]
        phases += [base.plain_decay(decay)] if decay else []
        for seed in seeds:
            for peak in peaks:
                run = RunSpec(
                    model=shape(width, self.layers, self._base_width if arm.transfer else width),
                    train={"schedule": {"peak": peak, "warmup": self.warmup}},
                    seed=seed,
                    phases=tuple(phases),
                )
                yield Point({"arm": name, "width": width, "peak": peak, "seed": seed}, run)

    def _best(
        self, base: Base, points: Sequence[Point], made: Made, count: int
    ) -> tuple[float, ...]:
        """The rates with the lowest losses, once all of the first seeds are made."""
        losses: dict[float, list[float]] = {}
        for point in points:
            outcome = made(point.run)
            if outcome is None:
                return ()
            loss = base.primary.of(outcome)
            losses.setdefault(float(point.labels["peak"]), []).append(
                float("inf") if loss is None else loss
            )
        means = {peak: sum(values) / len(values) for peak, values in losses.items()}
        return tuple(sorted(sorted(means, key=lambda peak: (means[peak], peak))[:count]))
