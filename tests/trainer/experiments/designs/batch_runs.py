"""Outcomes of a study of batches, made up by a law that is known."""

from __future__ import annotations

import math

import numpy as np

from mixtures.spec.phase import PhaseSpec
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.batch.design import BatchDesign
from trainer.experiments.outcomes import Course, Diverged, Losses, Outcome, Primary
from trainer.experiments.runs import Point
from trainer.loop.settings import ModelSettings, TrainSettings

A, B = 1.3e6, 4.0
"""b*(l) = A / l^B: the batch that needs the fewest tokens."""
LEVELS = np.linspace(7.5, 1.5, 3000)

BASE = Base(
    model=ModelSettings(),
    train=TrainSettings(sequence_length=128, batch_tokens=2048),
    stable=PhaseSpec(name="stable", tokens=1 << 20, weights={"web": 1.0}),
    decay=None,
    available={"web": 10**8},
    vocab_size=512,
    primary=Primary(sources=("web",)),
)
DESIGN = BatchDesign(
    batches=(1024, 2048, 4096, 8192, 16384, 32768),
    tokens=50 * 65_536,
    branching={"batch": 2048, "at": (10 * 65_536, 20 * 65_536), "tokens": 8 * 65_536},
)


def loss_at(batch: float, tokens: float, peak: float = 0.01) -> float:
    """ln T = 18.5 - 4 ln l + (ln b - ln b*(l))^2 / 16, solved for l; a rate of 0.01 is best,
    another needs more tokens.
    """
    away = np.log(batch) - np.log(A / LEVELS**B)
    needed = 18.5 - 4 * np.log(LEVELS) + away**2 / 16 + abs(math.log(peak / 0.01)) / 4
    return float(np.interp(math.log(tokens), needed, LEVELS))


def outcome(point: Point, noise: float = 0.0, monotone: bool = False) -> Outcome:
    """What the run of a point left; ``monotone``: as if small batches were always best."""
    labels, run = point.labels, point.run
    seed = int(labels["seed"])
    batch = int(labels.get("batch", 2048))
    shift = noise * float(np.random.default_rng([seed, batch]).normal())
    first = 0 if run.parent is None else run.from_step * 2048
    looks = range(first + 65_536, first + run.tokens + 1, 65_536)

    def loss(tokens: int) -> float:
        if monotone:
            return float(7 - math.log(tokens) / 4 + math.log1p(batch / 2000) / 4) + shift
        factor = int(labels.get("factor", 1))
        excess = 0.0 if factor <= 4 else 0.1 + 0.001 * seed
        return loss_at(batch, tokens, float(labels.get("peak", 0.01))) * math.exp(shift) + excess

    course = Course(tokens=tuple(looks), losses={"web": tuple(loss(tokens) for tokens in looks)})
    lines = [
        {
            "step": step,
            "groups": {
                "all": {"signal": 1.0, "noise": 2e5 / loss(step * batch) ** 5 * (1 + 0.01 * seed)}
            },
        }
        for step in range(64, run.tokens // batch + 1, 4)
    ]
    return Outcome(
        key=run.identity,
        steps=run.tokens // batch,
        tokens=first + run.tokens,
        own_tokens=run.tokens,
        operations=1.0,
        parameters=1,
        total_parameters=1,
        losses={"web": Losses(nats=course.losses["web"][-1])},
        course=course,
        probes={"noise_scale": lines} if run.probes else {},
    )


def diverged(one: Measured, looks: int = 3) -> Measured:
    """The same run, as if it had diverged after so many looks."""
    course = one.outcome.course
    cut = Course(tokens=course.tokens[:looks], losses={"web": course.losses["web"][:looks]})
    facts = {"course": cut, "losses": {}, "diverged": Diverged(step=99, reason="loss nan")}
    return Measured(one.point, one.outcome.model_copy(update=facts))


def study(design: BatchDesign = DESIGN, noise: float = 0.002, **known: bool) -> list[Measured]:
    """Every point of a design with its outcome."""
    points = design.points(BASE, lambda run: None)
    return [Measured(point, outcome(point, noise, **known)) for point in points]
