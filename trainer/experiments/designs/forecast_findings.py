"""How well decayed losses were foreseen: errors, bias over stable runs, coverage, drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, mean_of
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.ends import FEW, Ends, cells
from trainer.experiments.findings import Cell, Figure, Findings, Panel, Series, Table, stated
from trainer.experiments.fits.annealing_law import LEAST_STABLE
from trainer.experiments.fits.annealing_law import Measured as Reached
from trainer.experiments.fits.forecast import (
    Forecast,
    Order,
    Rehearsal,
    drift,
    forecast,
    rehearse,
)
from trainer.experiments.verdicts import Claim, judge
from trainer.optimizer.schedules import DecaySpec, ScheduleSpec, rate

WORDS: dict[Order, str] = {"others": "from all other decays", "past": "from those before"}


@dataclass(frozen=True)
class Run:
    """A stable run: its losses by step, and its decays in the order they would be made, each with
    the step it begins after.
    """

    seed: int
    stable: tuple[Reached, ...]
    decays: tuple[Reached, ...]
    starts: tuple[int, ...]

    @property
    def begun(self) -> list[float | None]:
        """The stable loss where each decay begins."""
        by_step = {len(one.rates): one.loss for one in self.stable}
        return [by_step.get(step) for step in self.starts]


def forecast_findings(
    base: Base,
    schedule: ScheduleSpec,
    shapes: Mapping[str, DecaySpec],
    measured: Sequence[Measured],
) -> Findings:
    """``schedule``: of the stable runs; ``shapes``: decays by the names that points give."""
    runs = [*_runs(base, schedule, shapes, measured)]
    notes: list[str] = []
    found: dict[Order, dict[int, Rehearsal]] = {"others": {}, "past": {}}
    for run in runs:
        for order, rehearsed in REHEARSED.items():
            try:
                found[order][run.seed] = rehearsed(run)
            except UserError as error:
                why, *_ = f"{error}".splitlines()
                notes.append(f"Seed {run.seed}: nothing foreseen {WORDS[order]} ({why}).")
    bias = {order: _bias(by_seed.values()) for order, by_seed in found.items()}
    verdicts = judge(
        [
            Claim(
                f"foreseen {WORDS[order]}, decayed losses are unbiased",
                "equivalent",
                bias[order],
                base.loss_margin,
                base.primary.unit,
                None if bias[order] else FEW,
            )
            for order in found
        ]
    )
    alarms = {seed: drift(one) for seed, one in found["past"].items()}
    notes += [
        f"Seed {seed}: drift alarm, {one.above} losses above and {one.below} below "
        f"{one.intervals} intervals (p = {one.p:.2g})."
        for seed, one in alarms.items()
        if one.alarm
    ]
    return Findings(
        claims=stated(verdicts),
        tables=(_summary(found, bias, runs), *_by_decay(found["others"], runs)),
        figures=(_figure(found),),
        notes=(*notes, *Ends(measured, base.primary).notes),
        facts={
            "verdicts": [one.to_json() for one in verdicts],
            **{
                order: {str(seed): one.to_json() for seed, one in by_seed.items()}
                for order, by_seed in found.items()
            },
        },
    )


def _runs(
    base: Base,
    schedule: ScheduleSpec,
    shapes: Mapping[str, DecaySpec],
    measured: Sequence[Measured],
) -> Iterator[Run]:
    """Stable runs whose losses are there; what diverged is left out."""
    for seed in sorted({int(one["seed"]) for one in measured}):
        stable, decays = [], []
        for one in measured:
            loss = base.primary.of(one.outcome)
            if not one.point.at(seed=seed) or loss is None:
                continue
            if one["arm"] == "plateau":
                stable.append(Reached(_rates(schedule, int(one["step"])), loss))
            elif one["arm"] == "wsd":
                first, last = int(one["first"]), int(one["last"])
                own = schedule.model_copy(update={"decay": shapes[str(one["shape"])]})
                rates = _rates(own.resolved(decay_start=first, end=last), last)
                decays.append((last, first, str(one["shape"]), Reached(rates, loss)))
        stable.sort(key=lambda one: len(one.rates))
        decays.sort(key=lambda one: one[:3])
        yield Run(
            seed,
            tuple(stable),
            tuple(one[3] for one in decays),
            tuple(one[1] for one in decays),
        )


def _rates(schedule: ScheduleSpec, steps: int) -> NDArray[np.float64]:
    return np.array([rate(schedule, step) for step in range(1, steps + 1)])


def _others(run: Run) -> Rehearsal:
    return rehearse(run.stable, run.decays, "others")


def _past(run: Run) -> Rehearsal:
    """Each decay foreseen where it begins: from the stable run up to there, and the decays that had
    ended by then; intervals from the errors before.
    """
    forecasts: list[Forecast] = []
    losses: list[float] = []
    errors: list[tuple[int, float]] = []
    for decay, start in zip(run.decays, run.starts, strict=True):
        stable = [one for one in run.stable if len(one.rates) <= start]
        before = [one for one in run.decays if len(one.rates) <= start]
        if len(stable) < LEAST_STABLE or not before:
            continue
        known = [error for end, error in errors if end <= start]
        forecasts.append(forecast(stable, before, decay.rates, known))
        losses.append(decay.loss)
        errors.append((len(decay.rates), forecasts[-1].loss - decay.loss))
    return Rehearsal("past", tuple(forecasts), tuple(losses))


REHEARSED: dict[Order, Callable[[Run], Rehearsal]] = {"others": _others, "past": _past}


def _bias(rehearsals: Iterable[Rehearsal]) -> Estimate | None:
    """The mean error, by stable run; None for fewer than two of them."""
    means = [math.fsum(one.errors) / len(one.errors) for one in rehearsals if one.errors]
    return mean_of(means) if len(means) > 1 else None


def plain_errors(run: Run) -> list[float]:
    """Errors of the plainest forecast: the loss where a decay begins less what the run's other
    decays gained in the mean.
    """
    gains = [
        None if begun is None else begun - decay.loss
        for begun, decay in zip(run.begun, run.decays, strict=True)
    ]
    errors = []
    for place, gain in enumerate(gains):
        others = [one for number, one in enumerate(gains) if number != place and one is not None]
        if gain is not None and others:
            errors.append(gain - math.fsum(others) / len(others))
    return errors


def binomial_interval(hits: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson, Biometrika 26, 1934).

    >>> low, high = binomial_interval(19, 20)
    >>> round(low, 4), round(high, 4)
    (0.7513, 0.9987)
    """
    from scipy.special import betaincinv

    low = float(betaincinv(hits, trials - hits + 1, 0.025)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 0.975)) if hits < trials else 1.0
    return low, high


def _summary(
    found: Mapping[Order, Mapping[int, Rehearsal]],
    bias: Mapping[Order, Estimate | None],
    runs: Sequence[Run],
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for order, by_seed in found.items():
        errors = [error for one in by_seed.values() for error in one.errors]
        held = [one for each in by_seed.values() for one in each.inside if one is not None]
        share = sum(held) / len(held) if held else None
        ends = binomial_interval(sum(held), len(held)) if held else (None, None)
        alarms = sum(drift(one).alarm for one in by_seed.values())
        rows.append(
            (WORDS[order], len(errors), *cells(bias[order]), _spread(errors), share, *ends, alarms)
        )
    plain = [error for run in runs for error in plain_errors(run)]
    blank = (None,) * 3
    rows.append(
        ("stable loss less the mean gain", len(plain), *blank, _spread(plain), *blank, None)
    )
    return Table(
        title="Decayed losses foreseen",
        columns=(
            "foreseen",
            "decays",
            "bias",
            "low",
            "high",
            "rms error",
            "in interval",
            "low",
            "high",
            "drift alarms",
        ),
        rows=tuple(rows),
        note=f"Errors are foreseen minus measured; the bias has a 95 % t-interval over {len(runs)} "
        "stable runs. In interval: the share of 95 % intervals that held the loss, with its exact "
        "binomial interval, which takes decays for independent. The last row is the plainest "
        "forecast, which a law has to beat.",
    )


def _spread(errors: Sequence[float]) -> float | None:
    if not errors:
        return None
    return math.sqrt(math.fsum(error**2 for error in errors) / len(errors))


def _by_decay(found: Mapping[int, Rehearsal], runs: Sequence[Run]) -> Iterator[Table]:
    """Every decay foreseen from the others."""
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        if run.seed not in found:
            continue
        rehearsal = found[run.seed]
        for start, decay, foreseen, loss, inside in zip(
            run.starts,
            run.decays,
            rehearsal.forecasts,
            rehearsal.measured,
            rehearsal.inside,
            strict=True,
        ):
            held = None if inside is None else "yes" if inside else "no"
            ends = (foreseen.loss, foreseen.low, foreseen.high, held)
            rows.append((run.seed, start, len(decay.rates), loss, *ends))
    if rows:
        yield Table(
            title="Each decay, foreseen from the others of its stable run",
            columns=("seed", "from step", "to step", "loss", "foreseen", "low", "high", "inside"),
            rows=tuple(rows),
        )


def _figure(found: Mapping[Order, Mapping[int, Rehearsal]]) -> Figure:
    panels = []
    for order, by_seed in found.items():
        series, every = [], [loss for one in by_seed.values() for loss in one.measured]
        for seed, one in by_seed.items():
            known = one.forecasts
            series.append(
                Series(
                    name=f"seed {seed}",
                    x=one.measured,
                    y=tuple(each.loss for each in known),
                    low=tuple(each.loss if each.low is None else each.low for each in known),
                    high=tuple(each.loss if each.high is None else each.high for each in known),
                    style="points",
                )
            )
        ends = (min(every), max(every)) if every else ()
        series.append(Series(name="equal", x=ends, y=ends, style="line", faint=True))
        panels.append(
            Panel(
                title=f"foreseen {WORDS[order]}",
                x="measured loss",
                y="foreseen loss",
                series=tuple(series),
            )
        )
    decays = sum(len(one.measured) for one in found["others"].values())
    return Figure(
        name="forecast",
        title="Decayed losses, foreseen and measured",
        caption=f"{decays} decays of {len(found['others'])} stable runs, a dot each, with 95 % "
        "intervals from the errors of the decays it was foreseen from, none where these are fewer "
        "than three; right, as the run goes on: from what was there where the decay begins.",
        panels=tuple(panels),
    )
