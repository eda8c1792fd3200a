"""Outcomes made up by a formula, for findings whose truth is known, and a base to plan on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from mixtures.spec.phase import PhaseSpec
from trainer.experiments.design import Base, Design, Measured
from trainer.experiments.outcomes import Course, Diverged, Losses, Outcome, Primary
from trainer.experiments.runs import Point
from trainer.loop.settings import ModelSettings, TrainSettings

BATCH = 512
BASE = Base(
    model=ModelSettings(width=64, layers=1, heads=1, kv_heads=1, head_dim=64, ff=160),
    train=TrainSettings.model_validate(
        {"sequence_length": 64, "batch_tokens": BATCH, "schedule": {"warmup": 2}}
    ),
    stable=PhaseSpec(name="stable", tokens=BATCH, weights={"web": 1.0}),
    decay=None,
    available={"web": 10_000_000},
    vocab_size=512,
    primary=Primary(sources=("web",)),
)

Formula = Callable[[Point], float | None]
"""The loss of a point, None where it diverges."""


def nothing_made(run: object) -> None:
    """Of a design that is asked before anything is there."""


def own_steps(point: Point) -> int:
    return 0 if point.run.merge is not None else point.run.tokens // BATCH


def end_of(point: Point) -> int:
    """Steps that were made from the very beginning up to a point's end."""
    run = point.run
    before = 0
    if run.parent is not None:
        before = run.from_step
        if run.parent.anew or run.anew:
            before = end_of(Point({}, run.parent))
    return before + own_steps(point)


def outcome_of(point: Point, loss: float | None, number: int = 0) -> Outcome:
    """What a run would have left."""
    own, end = own_steps(point), end_of(point)
    facts = {
        "key": f"{number:020x}",
        "steps": end,
        "tokens": end * BATCH,
        "own_tokens": own * BATCH,
        "operations": 1000.0 * own * BATCH,
        "parameters": 100_000,
        "total_parameters": 130_000,
    }
    if loss is None:
        return Outcome(**facts, diverged=Diverged(step=3, reason="loss nan"))
    course = Course(
        tokens=tuple(step * BATCH for step in range(2, end + 1, 2)),
        losses={"web": tuple(loss + 1 / step for step in range(2, end + 1, 2))},
    )
    return Outcome(**facts, losses={"web": Losses(nats=loss)}, training_loss=loss, course=course)


def measured_by(
    design: Design, formula: Formula, seconds: Callable[[Point], float | None] | None = None
) -> list[Measured]:
    """All points of a design, with losses of a formula."""
    points = design.points(BASE, nothing_made)
    return [
        Measured(
            point,
            outcome_of(point, formula(point), number),
            None if seconds is None else seconds(point),
        )
        for number, point in enumerate(points)
    ]


def noise(*labels: object, deviation: float) -> float:
    """Normal noise that these labels decide."""
    return random.Random(repr(labels)).gauss(0.0, deviation)


def verdicts(claims: Sequence[object], words: Mapping[str, str]) -> dict[str, str]:
    """Verdicts of the claims that contain some words, by the words' names."""
    found = {}
    for name, part in words.items():
        own = [one for one in claims if part in one.claim]  # type: ignore[attr-defined]
        found[name] = ", ".join(sorted({one.verdict for one in own}))  # type: ignore[attr-defined]
    return found
