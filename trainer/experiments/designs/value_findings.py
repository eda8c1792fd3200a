"""What short anneals came to: the score of each candidate, by domain, per token, and its cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.statistics.estimates import Estimate
from artifacts.statistics.ranks import RankCorrelation, spearman
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.arms import Arms, Sources, cells, columns
from trainer.experiments.designs.forest import forest
from trainer.experiments.findings import Cell, Figure, Findings, Panel, Series, Table, stated
from trainer.experiments.verdicts import Verdict, judge

DEFAULT, TRUNK = "default", "trunk"
LEAST_RANKED = 3


@dataclass(frozen=True)
class Slot:
    """A candidate in the anneal: its ``share`` of the tokens, of which ``extra`` is more than the
    default mixture has, and the tokens ``available`` of it.
    """

    source: str
    extra: float
    share: float
    available: int


@dataclass(frozen=True)
class _Size:
    """Anneals of ``tokens`` of one shape; ``arms`` of them and of their trunks."""

    name: str
    tokens: int
    arms: Arms
    slots: Mapping[str, Slot]
    control: str
    primary: Sources

    @property
    def domains(self) -> dict[str, Sources]:
        """The primary's sources together, and each that is measured."""
        return {"primary": self.primary, **{name: (name,) for name in self.arms.sources}}

    def elsewhere(self, candidate: str) -> Sources:
        """What neither the candidate nor the control is a source of."""
        return tuple(name for name in self.arms.sources if name not in (candidate, self.control))

    def score(self, candidate: str) -> Estimate | None:
        """The primary's loss with it minus that of the default mixture."""
        return self.arms.contrast(candidate, DEFAULT, self.primary)

    def per_million(self, candidate: str) -> Estimate | None:
        """The score for a million tokens of the candidate in place of the default mixture's."""
        score, extra = self.score(candidate), self.slots[candidate].extra * self.tokens
        return score.scaled(1e6 / extra) if score is not None and extra >= 1 else None

    @property
    def operations(self) -> dict[str, float]:
        """Of an anneal, of a trunk, of all that was run, and of a run of its own for every
        anneal. Two arms of one mixture are one run.
        """
        trunks = {s: one.operations for s, one in self.arms.outcomes.get(TRUNK, {}).items()}
        anneals = {
            one.key: (seed, one.operations)
            for arm, by_seed in self.arms.outcomes.items()
            if arm != TRUNK
            for seed, one in by_seed.items()
        }.values()
        own = math.fsum(cost for _, cost in anneals)
        return {
            "anneal": own / len(anneals) if anneals else 0.0,
            "trunk": math.fsum(trunks.values()) / len(trunks) if trunks else 0.0,
            "all": own + math.fsum(trunks.values()),
            "separate": own + math.fsum(trunks.get(seed, 0.0) for seed, _ in anneals),
        }


def value_findings(
    base: Base,
    slots: Mapping[str, Slot],
    control: str,
    anneals: Mapping[str, int],
    measured: Sequence[Measured],
) -> Findings:
    """Claims, a family: where it is not a source of what is measured, a candidate lowers the loss
    by more than the margin against the control in the same slot. ``anneals``: tokens by size, the
    one that is judged first.
    """
    sizes = [
        _Size(
            name,
            tokens,
            Arms.of([one for one in measured if one["size"] == name], base.primary.unit),
            slots,
            control,
            base.primary.sources,
        )
        for name, tokens in anneals.items()
    ]
    first, *further = sizes
    verdicts = _judged(first, base.loss_margin)
    stability = {one.name: _stability(first, one) for one in further}
    rest = [_signals(sizes), _costs(sizes), *_ranks(stability)]
    return Findings(
        claims=stated(verdicts),
        tables=(*map(_scores, sizes), *map(_by_domain, sizes), *rest),
        figures=(_deltas(sizes), *_scatter(first, further)),
        notes=tuple(_notes(first, sizes)),
        facts={
            "control": control,
            "sizes": {one.name: _facts(one) for one in sizes},
            "rank_stability": {name: one.to_json() for name, one in stability.items()},
            "verdicts": [one.to_json() for one in verdicts],
        },
    )


def _judged(size: _Size, margin: float) -> list[Verdict]:
    return judge(
        [
            size.arms.claim(
                f"{candidate}: a lower loss elsewhere than {size.control} in the same slot",
                "better",
                (candidate, size.control),
                size.elsewhere(candidate),
                margin,
            )
            for candidate in size.slots
            if candidate != size.control
        ]
    )


def _scores(size: _Size) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, slot in size.slots.items():
        elsewhere = size.elsewhere(name)
        against = (
            None
            if name == size.control or not elsewhere
            else size.arms.contrast(name, size.control, elsewhere)
        )
        each = size.per_million(name)
        epochs = slot.share * size.tokens / slot.available
        rows.append(
            (
                f"{name} (control)" if name == size.control else name,
                epochs,
                *cells(size.score(name)),
                None if each is None else each.value,
                *cells(against),
            )
        )
    rows.sort(key=lambda row: math.inf if row[2] is None else float(row[2]))
    return Table(
        title=f"Scores of candidates, {size.name}, anneals of {size.tokens:,} tokens "
        f"({size.arms.unit})",
        columns=(
            "candidate",
            "epochs",
            *("score", "low", "high", "per million tokens"),
            *("elsewhere, to control", "low", "high"),
        ),
        rows=tuple(rows),
        note=f"Score: loss over {', '.join(size.primary)} minus that of the default mixture in the "
        "same slot; below 0 is better. Elsewhere: over what neither the candidate nor the control "
        "is a source of. 95 % t-intervals, paired by trunk seed.",
    )


def _by_domain(size: _Size) -> Table:
    rows = [
        (name, domain, *cells(size.arms.contrast(name, DEFAULT, sources)), domain == name)
        for name in size.slots
        for domain, sources in size.domains.items()
    ]
    return Table(
        title=f"Change of loss by domain, {size.name} ({size.arms.unit})",
        columns=("candidate", "loss of", "difference", "low", "high", "own"),
        rows=tuple((*row[:-1], "own" if row[-1] else "") for row in rows),
        note="Against the default mixture. What a candidate gains on its own held-out documents is "
        "no more than that it was learnt.",
    )


def _signals(sizes: Sequence[_Size]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for size in sizes:
        for domain, sources in size.domains.items():
            found = size.arms.spread_and_noise([DEFAULT, *size.slots], sources)
            if found is not None:
                spread, noise = found
                rows.append((size.name, domain, spread, noise, spread / noise if noise else None))
    return Table(
        title="What each held-out set can tell apart",
        columns=("size", "loss of", "spread", "noise", "ratio"),
        rows=tuple(rows),
        note="Spread: standard deviation of the means of all arms; noise: of what neither arm nor "
        "seed explains. A set with a ratio near 1 ranks candidates by chance.",
    )


def _costs(sizes: Sequence[_Size]) -> Table:
    rows = []
    for size in sizes:
        cost = size.operations
        saved = cost["all"] / cost["separate"] if cost["separate"] else None
        rows.append(
            (size.name, cost["anneal"], cost["trunk"], cost["all"], cost["separate"], saved)
        )
    return Table(
        title="What the scores cost, in floating-point operations",
        columns=("size", "an anneal", "a trunk", "all runs", "a run for each", "ratio"),
        rows=tuple(rows),
        note="A run for each: had every anneal a trunk of its own.",
    )


@dataclass(frozen=True)
class Stability:
    """Scores of the same candidates at two sizes: correlation of ranks, and the ``pairs`` of
    candidates, of which ``agree`` are ordered alike.
    """

    candidates: int
    rank: RankCorrelation | None
    pairs: int
    agree: int

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "rank": None if self.rank is None else self.rank.to_json()}


def _stability(first: _Size, second: _Size) -> Stability:
    both = [
        (one.value, other.value)
        for name in first.slots
        if (one := first.score(name)) is not None and (other := second.score(name)) is not None
    ]
    ahead, behind = [one for one, _ in both], [other for _, other in both]
    varied = len(set(ahead)) > 1 and len(set(behind)) > 1
    ranked = spearman(ahead, behind) if len(both) >= LEAST_RANKED and varied else None
    pairs = [(a, b) for a, b in itertools.combinations(both, 2)]
    agree = sum((a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in pairs)
    return Stability(len(both), ranked, len(pairs), agree)


def _ranks(stability: Mapping[str, Stability]) -> Iterator[Table]:
    if not stability:
        return
    rows = [
        (
            name,
            one.candidates,
            *((None,) * 3 if one.rank is None else (one.rank.value, one.rank.low, one.rank.high)),
            one.agree,
            one.pairs,
        )
        for name, one in stability.items()
    ]
    yield Table(
        title="Whether another size ranks the candidates alike",
        columns=("size", "candidates", "rank correlation", "low", "high", "alike", "pairs"),
        rows=tuple(rows),
        note="Spearman's, of scores, with its 95 % interval by Fisher's z.",
    )


def _deltas(sizes: Sequence[_Size]) -> Figure:
    seeds = max((len(one) for size in sizes for one in size.arms.outcomes.values()), default=0)
    return Figure(
        name="value",
        title="What a source in the anneal changes, by what is measured",
        caption="Loss minus that of the default mixture in the same slot. A dot is a mean over "
        f"{seeds} trunk seeds, a bar the 95 % t-interval of differences paired by seed. What a "
        "source does to its own loss stands in the table.",
        panels=tuple(
            forest(
                size.arms,
                {name: name for name in size.slots},
                (DEFAULT, "default mixture"),
                size.domains,
                size.name,
            )
            for size in sizes
        ),
    )


def _scatter(first: _Size, further: Sequence[_Size]) -> Iterator[Figure]:
    if not further:
        return
    panels = []
    for size in further:
        names = [name for name in first.slots if first.score(name) and size.score(name)]
        at, _, _ = columns([first.score(name) for name in names])
        series = []
        for name, x in zip(names, at, strict=True):
            values, low, high = columns([size.score(name)])
            point = (float(x or 0.0),)
            series.append(Series(name=name, x=point, y=values, low=low, high=high, style="points"))
        panels.append(
            Panel(x=f"score at {first.name}", y=f"score at {size.name}", series=tuple(series))
        )
    yield Figure(
        name="value-ranks",
        title="Scores of the candidates at two sizes",
        caption="A dot is a candidate: its mean difference to the default mixture over trunk seeds "
        "at both sizes; a bar the 95 % t-interval at the size of the vertical axis.",
        panels=tuple(panels),
    )


def _facts(size: _Size) -> dict[str, Any]:
    def plain(estimate: Estimate | None) -> dict[str, Any] | None:
        return None if estimate is None else estimate.to_json()

    return {
        "anneal_tokens": size.tokens,
        "operations": size.operations,
        "candidates": {
            name: {
                "share": slot.share,
                "extra_tokens": slot.extra * size.tokens,
                "epochs": slot.share * size.tokens / slot.available,
                "score": plain(size.score(name)),
                "per_million_tokens": plain(size.per_million(name)),
                "by_domain": {
                    domain: plain(size.arms.contrast(name, DEFAULT, sources))
                    for domain, sources in size.domains.items()
                },
            }
            for name, slot in size.slots.items()
        },
    }


def _notes(first: _Size, sizes: Sequence[_Size]) -> Iterator[str]:
    for size in sizes:
        for sentence in size.arms.diverged:
            yield f"{size.name}: {sentence}"
    for name in first.slots:
        if name != first.control and not first.elsewhere(name):
            yield f"{name}: nothing is measured but its own source and the control's."
    yield (
        "A score holds for this trunk's length, this rate and about as many epochs of the "
        "candidate as stand beside it: a source that the real run will repeat more often has to be "
        "cut down here in proportion."
    )
    if len(sizes) == 1:
        yield "One size was run: whether another ranks the candidates alike was not looked at."
