"""Outcomes of runs by a formula, for tests of what designs make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mixtures.spec.phase import PhaseSpec
from trainer.experiments.design import Base, Design, Measured, with_parents
from trainer.experiments.outcomes import Diverged, Losses, Outcome, Primary
from trainer.experiments.runs import RunSpec
from trainer.loop.settings import ModelSettings, TrainSettings

BATCH = 1024
AVAILABLE = {"web": 1_000_000, "code": 400_000, "math": 200_000, "sft": 100_000}
BASE = Base(
    model=ModelSettings(preset="tiny", dim_model_base=64),
    train=TrainSettings(sequence_length=128, batch_tokens=BATCH),
    stable=PhaseSpec(
        name="stable", tokens=100 * BATCH, weights={"web": 0.6, "code": 0.2, "math": 0.2}
    ),
    decay=PhaseSpec(
        name="decay",
        tokens=10 * BATCH,
        decay=True,
        weights={"web": 0.5, "code": 0.2, "math": 0.1, "sft": 0.2},
    ),
    available=AVAILABLE,
    vocab_size=512,
    primary=Primary(sources=("web", "code", "math")),
    loss_margin=0.02,
    measured=tuple(sorted(AVAILABLE)),
)

Formula = Callable[[RunSpec], Mapping[str, float] | None]
"""Losses by source of a run, None where it diverges."""


def outcome_of(run: RunSpec, losses: Mapping[str, float] | None) -> Outcome:
    tokens = run.tokens + run.from_step * BATCH
    return Outcome(
        key=run.identity,
        steps=tokens // BATCH,
        tokens=tokens,
        own_tokens=run.tokens,
        operations=6.0 * 1000 * run.tokens,
        parameters=1000,
        total_parameters=1500,
        losses={name: Losses(nats=loss) for name, loss in (losses or {}).items()},
        diverged=Diverged(step=7, reason="loss nan") if losses is None else None,
    )


class Bench:
    """Carries a design out over a formula, as a study does over trainings."""

    def __init__(self, design: Design, formula: Formula, base: Base = BASE) -> None:
        self.design, self.base, self._formula = design, base, formula
        self.made: dict[str, Outcome] = {}
        self.rounds = 0

    def outcome(self, run: RunSpec) -> Outcome | None:
        return self.made.get(run.identity)

    def measured(self) -> list[Measured]:
        """Of all points, once the design wants no other."""
        while True:
            points = self.design.points(self.base, self.outcome)
            missing = [run for run in with_parents(points) if self.outcome(run) is None]
            if not missing:
                return [Measured(point, self.made[point.run.identity]) for point in points]
            self.rounds += 1
            for run in missing:
                self.made[run.identity] = outcome_of(run, self._formula(run))


def shown(run: RunSpec) -> dict[str, float]:
    """Tokens of every source that a run has been shown, those of its trunk included."""
    tokens: dict[str, float] = {}
    parts = [(phase, phase.tokens or 0) for phase in run.phases]
    left = run.from_step * BATCH
    for phase in run.parent.phases if run.parent else ():
        parts.append((phase, min(left, phase.tokens or 0)))
        left -= parts[-1][1]
    for phase, length in parts:
        for name, share in phase.weights.items():
            tokens[name] = tokens.get(name, 0.0) + share * length
    return tokens
