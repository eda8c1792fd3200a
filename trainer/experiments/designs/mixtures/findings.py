"""How well regressions rank mixtures they have not seen, and what the best mixtures are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.arms import Arms, cells
from trainer.experiments.designs.forest import forest
from trainer.experiments.designs.mixtures.proposals import Foreseen
from trainer.experiments.designs.mixtures.space import Space
from trainer.experiments.findings import Cell, Figure, Findings, Panel, Series, Table, stated
from trainer.experiments.fits.mixture_regression import (
    MODELS,
    Model,
    Quality,
    compare_models,
    fit_mixture,
)
from trainer.experiments.outcomes import Primary
from trainer.experiments.verdicts import Claim, judge

Array = NDArray[np.float64]
OBJECTIVE = "primary"
SHOWN: tuple[Model, ...] = ("own share", "mixing law", "gaussian")
"""Models whose predictions are drawn."""

DRAWN = ("train", "test", "larger", "trial")


@dataclass(frozen=True)
class Told:
    """What the design knows: its ``space``, the source whose ``own`` share is the baseline, what
    was ``foreseen`` of the mixtures proposed, the trunk's ``seed``, how many ``trials`` Optuna had,
    and the ``larger`` size at which the mixtures held out were run too.
    """

    space: Space
    own: str
    foreseen: tuple[Foreseen, ...]
    seed: int
    trials: int | None
    larger: str | None


@dataclass(frozen=True)
class Ranked:
    """Models of one loss: their ``qualities`` on the mixtures held out, best-known baseline first,
    what some predict and what was measured; ``reason`` where none could be fitted. ``larger``: they
    were fitted at one size and judged at another, where errors of their level say nothing.
    """

    name: str
    own: str
    qualities: tuple[Quality, ...] = ()
    predicted: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    measured: tuple[float, ...] = ()
    reason: str | None = None
    larger: bool = False

    def quality(self, model: str) -> Quality | None:
        return next((one for one in self.qualities if one.model == model), None)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "own": self.own,
            "models": [one.to_json() for one in self.qualities],
            "predicted": dict(self.predicted),
            "measured": self.measured,
            "reason": self.reason,
        }


def mixture_findings(base: Base, told: Told, measured: Sequence[Measured]) -> Findings:
    """Claims, a family each: the Gaussian process ranks held-out mixtures better than own share,
    by the primary; and the first mixture proposed has a lower loss than the default mixture and
    than as much of the own source as is allowed.
    """
    ranked = _ranked(base, told, measured)
    arms = Arms.of([one for one in measured if one["arm"] not in DRAWN], base.primary.unit)
    first = judge([_ranks_better(ranked[OBJECTIVE])])
    second = judge(_worth(arms, base))
    return Findings(
        claims=stated([*first, *second]),
        tables=(_qualities(ranked, base), _verified(arms, base, told, measured)),
        figures=tuple(_figures(ranked, arms, base, told)),
        notes=tuple(_notes(ranked, arms, told, measured)),
        facts={
            "sources": told.space.names,
            "least": told.space.bounds.least,
            "most": told.space.bounds.most,
            "ranked": {name: one.to_json() for name, one in ranked.items()},
            "proposed": [
                {"shares": one.mixture, "loss": one.loss, "deviation": one.deviation}
                for one in told.foreseen
            ],
            "verified": {arm: arms.losses(arm, base.primary.sources) for arm in arms.outcomes},
            "verdicts": [one.to_json() for one in [*first, *second]],
        },
    )


def _ranked(base: Base, told: Told, measured: Sequence[Measured]) -> dict[str, Ranked]:
    """Of the primary, and of every source that mixtures have and that is measured."""
    losses = {OBJECTIVE: (told.own, base.primary)}
    for name in told.space.names:
        if name in base.measured:
            losses[name] = (name, Primary(sources=(name,), unit=base.primary.unit))
    sizes = {"": "test"} if told.larger is None else {"": "test", f" at {told.larger}": "larger"}
    return {
        f"{name}{suffix}": _judged(f"{name}{suffix}", own, primary, told.space, measured, arm)
        for suffix, arm in sizes.items()
        for name, (own, primary) in losses.items()
    }


def _judged(
    name: str, own: str, primary: Primary, space: Space, measured: Sequence[Measured], judged: str
) -> Ranked:
    train, test = (_columns(primary, space, measured, arm) for arm in ("train", judged))
    source = space.names.index(own)
    try:
        qualities = compare_models(train, test, source)
    except UserError as error:
        return Ranked(name, own, reason=error.message)
    shown: tuple[Model, ...] = SHOWN if name == OBJECTIVE else ()
    predicted: dict[str, tuple[float, ...]] = {
        model: tuple(fit_mixture(model, *train, source).predict(test[0]).tolist())
        for model in shown
    }
    losses = tuple(test[1].tolist())
    return Ranked(name, own, tuple(qualities), predicted, losses, larger=judged == "larger")


def _columns(
    primary: Primary, space: Space, measured: Sequence[Measured], arm: str
) -> tuple[Array, Array]:
    """Mixtures (N, K) of an arm and their losses (N), those that diverged left out."""
    rows = [
        ([float(one[f"share {name}"]) for name in space.names], loss)
        for one in measured
        if one["arm"] == arm and (loss := primary.of(one.outcome)) is not None
    ]
    shares = np.array([row for row, _ in rows], np.float64).reshape(len(rows), len(space.names))
    return shares, np.array([loss for _, loss in rows], np.float64)


def _ranks_better(ranked: Ranked) -> Claim:
    name = f"a Gaussian process ranks mixtures held out better than the share of {ranked.own} alone"
    quality = ranked.quality("gaussian")
    gain = None if quality is None else quality.gain
    unit = "1 - rank correlation"
    reason = ranked.reason or "fewer than 6 mixtures held out"
    if gain is None:
        return Claim(name, "better", None, 0.0, unit, reason)
    return Claim(name, "better", gain.scaled(-1.0), 0.0, unit)


def _worth(arms: Arms, base: Base) -> list[Claim]:
    sources, margin = base.primary.sources, base.loss_margin
    return [
        arms.claim(
            f"the mixture proposed first has a lower loss than {words}",
            "better",
            ("proposed 1", arm),
            sources,
            margin,
        )
        for arm, words in (
            ("default", "the default mixture"),
            ("own share", "as much of one source as is allowed"),
        )
    ]


def _qualities(ranked: Mapping[str, Ranked], base: Base) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in ranked.values():
        for quality in one.qualities:
            rank = quality.rank
            name = f"share of {one.own}" if quality.model == "own share" else quality.model
            gain = cells(quality.gain)
            error = None if one.larger else quality.error
            rows.append((one.name, name, rank.value, rank.low, rank.high, error, *gain))
    held_out = max((len(one.measured) for one in ranked.values()), default=0)
    return Table(
        title=f"Predicted and measured losses of {held_out} mixtures held out",
        columns=(
            "loss of",
            "model",
            *("rank correlation", "low", "high", f"error ({base.primary.unit})"),
            *("gain over share", "low", "high"),
        ),
        rows=tuple(rows),
        note="Spearman's, with its 95 % interval by Fisher's z; error: root mean square; gain: its "
        "rank correlation minus that of the source's own share, with the interval of a jackknife "
        f"over mixtures. Primary: mean over {', '.join(base.primary.sources)}.",
    )


def _verified(arms: Arms, base: Base, told: Told, measured: Sequence[Measured]) -> Table:
    foreseen = {f"proposed {place}": one for place, one in enumerate(told.foreseen, 1)}
    mixtures = {str(one["arm"]): one for one in measured}
    rows: list[tuple[Cell, ...]] = []
    for arm, by_seed in arms.outcomes.items():
        one = foreseen.get(arm)
        rows.append(
            (
                arm,
                *(float(mixtures[arm][f"share {name}"]) for name in told.space.names),
                len(by_seed),
                arms.mean(arm, base.primary.sources),
                None if one is None else one.loss,
                *(
                    (None,) * 3
                    if arm == "default"
                    else cells(arms.contrast(arm, "default", base.primary.sources))
                ),
            )
        )
    return Table(
        title=f"Mixtures verified over trunks of other seeds ({base.primary.unit})",
        columns=(
            "mixture",
            *told.space.names,
            *("seeds", "loss", "foreseen", "to default", "low", "high"),
        ),
        rows=tuple(rows),
        note="Loss: the primary, a mean over seeds. Foreseen: for the trunk of seed "
        f"{told.seed}. To default: 95 % t-intervals, paired by trunk seed.",
    )


def _figures(ranked: Mapping[str, Ranked], arms: Arms, base: Base, told: Told) -> Iterator[Figure]:
    objective = ranked[OBJECTIVE]
    if objective.predicted:
        yield _predicted(objective, base)
        yield _correlations(ranked)
    if "default" in arms.outcomes:
        shown = {arm: arm for arm in arms.outcomes if arm != "default"}
        domains = {OBJECTIVE: base.primary.sources, **{name: (name,) for name in base.measured}}
        seeds = max(len(by_seed) for by_seed in arms.outcomes.values())
        yield Figure(
            name="mixtures-verified",
            title="What the mixtures proposed are worth, by what is measured",
            caption="Loss minus that of the default mixture. A dot is a mean over "
            f"{seeds} trunk seeds other than {told.seed}, a bar the 95 % t-interval of differences "
            "paired by seed.",
            panels=(forest(arms, shown, ("default", "default mixture"), domains),),
        )


def _predicted(ranked: Ranked, base: Base) -> Figure:
    panels = []
    for model in ranked.predicted:
        predicted, quality = ranked.predicted[model], ranked.quality(model)
        assert quality is not None
        ends = (min(*predicted, *ranked.measured), max(*predicted, *ranked.measured))
        name = f"share of {ranked.own}" if model == "own share" else model
        low, high = (
            "?" if end is None else f"{end:.2f}" for end in (quality.rank.low, quality.rank.high)
        )
        panels.append(
            Panel(
                title=f"{name}: {quality.rank.value:.2f} ({low} to {high})",
                x=f"predicted ({base.primary.unit.replace('_', ' ')})",
                y="measured",
                series=(
                    Series(name="mixtures", x=predicted, y=ranked.measured, style="points"),
                    Series(name="as predicted", x=ends, y=ends, style="line", faint=True),
                ),
            )
        )
    return Figure(
        name="mixtures-predicted",
        title="Losses of mixtures held out, predicted and measured",
        caption=f"A dot is one of {len(ranked.measured)} mixtures that no model was fitted to; the "
        "panels' figures are Spearman's rank correlation with its 95 % interval by Fisher's z.",
        panels=tuple(panels),
    )


def _correlations(ranked: Mapping[str, Ranked]) -> Figure:
    sizes = [[one for one in ranked.values() if one.larger is larger] for larger in (False, True)]
    return Figure(
        name="mixtures-ranks",
        title="How well models rank mixtures held out, by what is measured",
        caption="Spearman's rank correlation of predicted and measured loss over "
        f"{len(ranked[OBJECTIVE].measured)} mixtures that no model was fitted to; a bar is its "
        "95 % interval by Fisher's z. Own share: of the source that is measured, and of "
        f"{ranked[OBJECTIVE].own} for the primary.",
        panels=tuple(_rank_panel(judged) for judged in sizes if any(o.qualities for o in judged)),
    )


def _rank_panel(ranked: Sequence[Ranked]) -> Panel:
    judged = [one for one in ranked if one.qualities]
    series = []
    for place, model in enumerate(MODELS):
        found = [one.quality(model) for one in judged]
        shift = 0.6 * ((place + 0.5) / len(MODELS) - 0.5)
        series.append(
            Series(
                name=model,
                x=tuple(number + shift for number in range(len(judged))),
                y=tuple(None if one is None else one.rank.value for one in found),
                low=tuple(None if one is None else one.rank.low for one in found),
                high=tuple(None if one is None else one.rank.high for one in found),
                style="points",
            )
        )
    ticks = tuple(one.name for one in judged)
    return Panel(x="loss of", y="rank correlation", series=tuple(series), ticks=ticks)


def _notes(
    ranked: Mapping[str, Ranked], arms: Arms, told: Told, measured: Sequence[Measured]
) -> Iterator[str]:
    for arm in DRAWN:
        lost = [one for one in measured if one["arm"] == arm and one.outcome.diverged]
        if lost:
            yield f"{arm}: {len(lost)} mixtures diverged; they are in no fit."
    yield from arms.diverged
    for one in ranked.values():
        if one.reason is not None:
            yield f"{one.name}: nothing could be fitted: {one.reason}."
    if not told.foreseen:
        yield "Too few mixtures came to a loss: none was proposed."
    yield (
        f"Mixtures drawn are decays of one trunk, of seed {told.seed}, so their noise is that of "
        "the decay alone; a mixture is worth what trunks of other seeds say."
    )
    if told.trials is not None:
        yield (
            f"Searched: the best of {told.trials} trials by Optuna's Gaussian process, which "
            "were decays of the same trunk; the regression does not know them."
        )
