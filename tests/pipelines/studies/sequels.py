"""A kind of experiment for tests whose runs go on after a decay, or are checkpoints measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.pipelines.studies.endings import BATCH, MODEL
from trainer.experiments.design import Base, Design, Made, Measured
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point, RunSpec
from trainer.optimizer.schedules import DecaySpec


class SequelsDesign(Design):
    """A stable run of 6 steps, ended from step 4, gone on after that, and merges of both."""

    kind: ClassVar[str] = "sequels"
    summary: ClassVar[str] = "what comes after a decay"

    def points(self, base: Base, made: Made) -> list[Point]:
        stable = RunSpec(
            model=MODEL,
            train={"validate_every": 2, "schedule": {"warmup": 1}},
            phases=(base.stable_phase(6 * BATCH),),
        )
        decay, more = base.plain_decay(2 * BATCH), base.stable_phase(2 * BATCH)
        ended = stable.ended((decay,), 4)
        again = ended.continued((more, decay), 6, train={"schedule": {"warmup": 0}})
        runs = {
            "stable": stable,
            "ended": ended,
            "again": again,
            "later": again.ended((base.plain_decay(BATCH),), 2),
            "on": stable.ended((more,), 4),
            "anew": stable.continued((more,), 4, train={"schedule": {"warmup": 0}}),
            "plateau": stable.measured_at(4),
            "end": ended.measured_at(6),
            "merge": stable.merged_at((2, 4, 6), DecaySpec(shape="linear")),
        }
        return [Point({"arm": name}, run) for name, run in runs.items()]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        return Findings()
