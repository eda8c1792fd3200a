"""Curves of losses by batch: as they were run, and of the best rate at each number of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer.experiments.design import Base, Measured
from trainer.experiments.fits.equal_loss import LEAST_BATCHES, Curve, EqualLoss, equal_loss

Path = dict[int, float]
"""Losses in nats by tokens."""

FIXED, RETUNED, LARGER = "fixed", "retuned", "larger"
"""Arms: one rate for all batches, the best rate for each, endings of one run at larger batches."""

REACHED_BY = 4
"""Batches that have to reach a level, where there are as many: 3 lie on any parabola."""


@dataclass(frozen=True)
class ArmCurves:
    """Curves of one arm. ``rates``: by batch the best rate at each number of tokens, where it was
    chosen. ``notes``: what was left out, and why.
    """

    curves: tuple[Curve, ...]
    rates: Mapping[int, tuple[tuple[int, float], ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArmFit:
    """What equal losses of one arm come to; None where there are too few batches."""

    name: str
    arm: ArmCurves
    fit: EqualLoss | None
    reason: str | None

    @property
    def why(self) -> str:
        """Why no exponent is known, or empty."""
        law = None if self.fit is None else self.fit.law
        if law is None:
            return self.reason or (self.fit.reason if self.fit is not None else None) or ""
        return law.reason or ""


def path_of(base: Base, one: Measured) -> Path:
    """The losses of a run at the tokens where it was looked at, up to the first that is none."""
    path: Path = {}
    for tokens, loss in zip(
        one.outcome.course.tokens, base.primary.course(one.outcome), strict=True
    ):
        if loss is None or not math.isfinite(loss):
            break
        path[tokens] = loss
    return path


def fixed_curves(base: Base, measured: Iterable[Measured]) -> ArmCurves:
    """The runs at one rate as they are; one that diverged up to there."""
    curves, notes = [], []
    for one in measured:
        path = path_of(base, one)
        if one.outcome.diverged is not None:
            notes.append(_diverged(one))
        if len(path) > 1:
            curves.append(_curve(int(one["batch"]), path, int(one["seed"])))
    return ArmCurves(tuple(curves), {}, tuple(notes))


def retuned_curves(base: Base, measured: Sequence[Measured]) -> ArmCurves:
    """At each number of tokens the runs of the rate whose mean over seeds is the least there: what
    a batch reaches with a rate that was tuned for it and for that length.
    """
    runs: dict[int, dict[float, dict[int, Path]]] = {}
    for one in measured:
        by_seed = runs.setdefault(int(one["batch"]), {}).setdefault(float(one["peak"]), {})
        by_seed[int(one["seed"])] = path_of(base, one)
    curves, rates = [], {}
    for batch, by_rate in sorted(runs.items()):
        best = _best_rates(by_rate)
        rates[batch] = tuple(best.items())
        seeds = {seed for by_seed in by_rate.values() for seed in by_seed}
        for seed in sorted(seeds):
            path = {tokens: by_rate[rate][seed][tokens] for tokens, rate in best.items()}
            if len(path) > 1:
                curves.append(_curve(batch, path, seed))
    notes = [_diverged(one) for one in measured if one.outcome.diverged is not None]
    return ArmCurves(tuple(curves), rates, tuple(notes))


def _best_rates(by_rate: Mapping[float, Mapping[int, Path]]) -> dict[int, float]:
    """By tokens, of the rates that all seeds have run so far."""
    best: dict[int, tuple[float, float]] = {}
    seeds = {seed for by_seed in by_rate.values() for seed in by_seed}
    for rate, by_seed in by_rate.items():
        if set(by_seed) != seeds:
            continue
        shared = set.intersection(*(set(path) for path in by_seed.values()))
        for tokens in shared:
            mean = math.fsum(path[tokens] for path in by_seed.values()) / len(by_seed)
            best[tokens] = min(best.get(tokens, (math.inf, rate)), (mean, rate))
    return {tokens: best[tokens][1] for tokens in sorted(best)}


def fitted(name: str, arm: ArmCurves, levels: int, smoothing: float) -> ArmFit:
    """Parabolas through equal losses of an arm, and the law through their minima."""
    batches = {curve.batch for curve in arm.curves}
    if len(batches) < LEAST_BATCHES:
        reason = f"{len(batches)} batches have losses, {LEAST_BATCHES} are needed"
        return ArmFit(name, arm, None, reason)
    chosen = levels_of(arm.curves, levels)
    if not chosen:
        return ArmFit(name, arm, None, "the batches have no loss in common")
    return ArmFit(name, arm, equal_loss(arm.curves, chosen, smoothing=smoothing), None)


def levels_of(curves: Sequence[Curve], count: int) -> list[float]:
    """Losses evenly in their logarithm, ends left out, from where the first batches have begun down
    to where the last of :data:`REACHED_BY` batches end; none where no loss is shared.

    All seeds of a batch have to have begun above a loss, and have to reach it.
    """
    firsts: dict[float, float] = {}
    lasts: dict[float, float] = {}
    for curve in curves:
        first, last = float(curve.losses[0]), float(min(curve.losses))
        firsts[curve.batch] = min(first, firsts.get(curve.batch, math.inf))
        lasts[curve.batch] = max(last, lasts.get(curve.batch, -math.inf))
    needed = min(REACHED_BY, len(firsts))
    high = sorted(firsts.values(), reverse=True)[needed - 1]
    low = sorted(lasts.values())[needed - 1]
    if not low < high:
        return []
    step = math.log(low / high) / (count + 1)
    return [high * math.exp(step * place) for place in range(1, count + 1)]


def _curve(batch: int, path: Path, seed: int) -> Curve:
    return Curve(batch, tuple(path), tuple(path.values()), seed)


def _diverged(one: Measured) -> str:
    diverged = one.outcome.diverged
    assert diverged is not None
    return (
        f"{one['arm']}: batch {one['batch']:,} at rate {one['peak']:g}, seed {one['seed']} "
        f"diverged at step {diverged.step} ({diverged.reason}); it counts up to there."
    )
