"""Loss by model size and tokens from stable runs and short decays (arXiv 2404.06395, 4.5).

One stable run for each size and seed, with a decay of its own at every length: WSD(D, 0.1 D), D
counting the decay. Cosine runs of matched lengths at the corners of the grid check what the decays
stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.settings import Part
from trainer.experiments.design import Base, Design, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.designs.law_findings import law_findings
from trainer.experiments.designs.shape import shape
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point, RunSpec


class Size(Part):
    """A model of the study."""

    width: Count
    layers: Count

    @property
    def name(self) -> str:
        return f"{self.width}x{self.layers}"


class LawDesign(Design):
    """``lengths``: tokens of the runs that end, their decay of a ``decay`` share included.
    ``cosine_corners``: whether the smallest and the largest size also run a cosine of the shortest
    and the longest length. ``base_width`` is that of the parameterisation, default the smallest.
    """

    kind: ClassVar[str] = "law"
    summary: ClassVar[str] = "loss by model size and tokens, and their best ratio"

    sizes: tuple[Size, ...] = Field(min_length=2)
    lengths: tuple[Count, ...] = Field(min_length=2)
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.1
    peak: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    warmup: Annotated[int, Field(ge=0)] = 20
    base_width: Count | None = None
    cosine_corners: bool = True

    @model_validator(mode="after")
    def _each_once(self) -> LawDesign:
        for name, values in (
            ("sizes", [size.name for size in self.sizes]),
            ("lengths", self.lengths),
        ):
            if len(set(values)) < len(values):
                raise UserError(
                    "a grid holds each value once",
                    field=("design", name),
                    found=list(values),
                    fix="remove the one that stands twice",
                )
        return self

    def points(self, base: Base, made: Made) -> list[Point]:
        return [
            point
            for size in self.sizes
            for seed in self.seeds
            for point in [*self._endings(base, size, seed), *self._cosines(base, size, seed)]
        ]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        return law_findings(base, measured)

    def _model(self, size: Size) -> dict[str, object]:
        smallest = min(size.width for size in self.sizes)
        return shape(size.width, size.layers, self.base_width or smallest)

    def _parts(self, base: Base, tokens: int) -> tuple[int, int]:
        """Stable and decaying tokens of a length, in whole batches."""
        batch = base.train.batch_tokens
        decay = whole_batches(self.decay * tokens, batch)
        return whole_batches(tokens, batch) - decay, decay

    def _endings(self, base: Base, size: Size, seed: int) -> Iterator[Point]:
        longest = max(self._parts(base, tokens)[0] for tokens in self.lengths)
        trunk = RunSpec(
            model=self._model(size),
            train={"schedule": {"kind": "wsd", "peak": self.peak, "warmup": self.warmup}},
            seed=seed,
            phases=(base.stable_phase(longest),),
        )
        for tokens in self.lengths:
            stable, decay = self._parts(base, tokens)
            run = trunk.ended((base.plain_decay(decay),), stable // base.train.batch_tokens)
            yield Point(self._labels(size, tokens, seed, "wsd"), run)

    def _cosines(self, base: Base, size: Size, seed: int) -> Iterator[Point]:
        corners = {min(self.lengths), max(self.lengths)}
        if not self.cosine_corners or size not in (self.sizes[0], self.sizes[-1]):
            return
        for tokens in sorted(corners):
            run = RunSpec(
                model=self._model(size),
                train={"schedule": {"kind": "cosine", "peak": self.peak, "warmup": self.warmup}},
                seed=seed,
                phases=(base.stable_phase(whole_batches(tokens, base.train.batch_tokens)),),
            )
            yield Point(self._labels(size, tokens, seed, "cosine"), run)

    def _labels(self, size: Size, tokens: int, seed: int, schedule: str) -> dict[str, str | int]:
        return {"size": size.name, "tokens": tokens, "seed": seed, "schedule": schedule}
