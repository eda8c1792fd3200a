"""A small kind of experiment for tests: stable runs of several seeds, each ended in several ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from trainer.experiments.design import Base, Design, Made, Measured
from trainer.experiments.findings import Findings, Table
from trainer.experiments.runs import Point, RunSpec

MODEL = {"width": 32, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 16, "ff": 48}
BATCH = 512


class EndingsDesign(Design):
    """``ends``: steps at which a decay of ``decay`` steps begins. ``peak``: of all runs."""

    kind: ClassVar[str] = "endings"
    summary: ClassVar[str] = "decays of several lengths"

    seeds: tuple[int, ...] = (1, 2)
    ends: tuple[int, ...] = (2, 4)
    decay: int = 2
    peak: float = 0.01

    def points(self, base: Base, made: Made) -> list[Point]:
        points = []
        for seed in self.seeds:
            stable = RunSpec(
                model=MODEL,
                train={"schedule": {"peak": self.peak}},
                seed=seed,
                phases=(base.stable_phase(max(self.ends) * BATCH),),
            )
            for end in self.ends:
                run = stable.ended((base.decay_phase(self.decay * BATCH),), end)
                points.append(Point({"seed": seed, "end": end}, run))
        return points

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        rows = tuple((one["seed"], one["end"], base.primary.of(one.outcome)) for one in measured)
        return Findings(tables=(Table(title="ends", columns=("seed", "end", "loss"), rows=rows),))


def write_experiment(
    folder: Path, study: str, design: dict[str, object], **changes: object
) -> Path:
    """The file of an experiment on the recipe of a folder; JSON is YAML."""
    facts = {
        "name": "small",
        "recipe": "recipe.yaml",
        "study": study,
        "hypothesis": "it is so",
        "stopping": "every run is made",
        "design": design,
        **changes,
    }
    path = folder / f"{facts['name']}.yaml"
    path.write_text(json.dumps(facts))
    return path
