"""How far merges of stable checkpoints are from the decays that they stand for, by span."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from artifacts.statistics.estimates import Estimate
from trainer.experiments.designs.ends import Ends, cells, paired
from trainer.experiments.designs.matched_lengths import MatchedLengths, tokens_said
from trainer.experiments.findings import Cell, Figure, Findings, Panel, Series, Table


class Preview(NamedTuple):
    """Of a decay of ``share`` of a ``total``: merged minus decayed loss by seed with its interval,
    and both losses.
    """

    total: int
    share: float
    checkpoints: int
    error: Estimate | None
    merged: dict[int, float]
    decayed: dict[int, float]
    plateau: dict[int, float]

    @property
    def caught(self) -> float | None:
        """How much of what the decay gains over going on at the full rate the merge shows, in the
        mean over seeds that have all three.
        """
        seeds = self.merged.keys() & self.decayed.keys() & self.plateau.keys()
        gain = sum(self.plateau[seed] - self.decayed[seed] for seed in seeds)
        shown = sum(self.plateau[seed] - self.merged[seed] for seed in seeds)
        return shown / gain if gain > 0 else None


def merge_findings(ends: Ends, asked: MatchedLengths) -> Findings:
    """The table of errors by span, and the figure; nothing where nothing was merged."""
    previews = [*_previews(ends, asked)]
    if not previews:
        return Findings()
    return Findings(
        tables=(_table(previews),),
        figures=(_figure(previews),),
        notes=(
            "A merge sees the stable run's own windows over the span, a decay the same windows at "
            "falling rates; a mixture of its own cannot be previewed so.",
        ),
        facts={
            "previews": [
                {
                    "tokens": one.total,
                    "share": one.share,
                    "checkpoints": one.checkpoints,
                    "error": None if one.error is None else one.error.to_json(),
                    "caught": one.caught,
                    "merged": one.merged,
                    "decayed": one.decayed,
                }
                for one in previews
            ]
        },
    )


def _previews(ends: Ends, asked: MatchedLengths) -> Iterator[Preview]:
    for total in asked.totals:
        for number in asked.merged:
            for share in asked.decays:
                merged = ends.losses(**asked.merge(total, share, number))
                decayed = ends.losses(**asked.wsd(total, share))
                plateau = ends.losses(**asked.plateau(total, 0.0))
                error = paired(merged, decayed)
                yield Preview(total, share, number, error, merged, decayed, plateau)


def _table(previews: list[Preview]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            one.total,
            one.share,
            round(one.share * one.total),
            one.checkpoints,
            *cells(one.error),
            one.caught,
            len(one.merged.keys() & one.decayed.keys()),
        )
        for one in previews
    ]
    head = ("tokens", "share", "span", "checkpoints", "merged minus decayed", "low", "high")
    return Table(
        title="Previews by merging beside true decays",
        columns=(*head, "of the gain", "stable runs"),
        rows=tuple(rows),
        note="Error of the merge with the 95 % t-interval over stable runs, paired; span in "
        "tokens; of the gain: what the merge shows of the decay's gain over going on undecayed.",
    )


def _figure(previews: list[Preview]) -> Figure:
    numbers = sorted({one.checkpoints for one in previews})
    totals = sorted({one.total for one in previews})
    panels = []
    for total in totals:
        series = []
        for number in numbers:
            own = [one for one in previews if (one.total, one.checkpoints) == (total, number)]
            known = [one for one in own if one.error is not None]
            errors = [one.error for one in known if one.error is not None]
            series.append(
                Series(
                    name=f"{number} checkpoints",
                    x=tuple(one.share for one in known),
                    y=tuple(error.value for error in errors),
                    low=tuple(error.low for error in errors),
                    high=tuple(error.high for error in errors),
                )
            )
        panels.append(
            Panel(
                title=f"{tokens_said(total)} tokens",
                x="share of the total that decays",
                y="merged minus decayed loss",
                log_x=True,
                series=(*series, Series(name="", y=(0.0,), style="rule")),
            )
        )
    seeds = max(len(one.merged) for one in previews)
    return Figure(
        name="previews",
        title="Merges of stable checkpoints beside true decays",
        caption=f"Left to right: error by span, mean and 95 % t-interval over {seeds} stable runs; "
        "then each merge over the decay it stands for, on the line where both are equal.",
        panels=(*panels, _scatter(previews, numbers)),
    )


def _scatter(previews: list[Preview], numbers: list[int]) -> Panel:
    series = []
    every: list[float] = []
    for number in numbers:
        pairs = [
            (one.decayed[seed], one.merged[seed])
            for one in previews
            if one.checkpoints == number
            for seed in sorted(one.merged.keys() & one.decayed.keys())
        ]
        every += [loss for loss, _ in pairs]
        series.append(
            Series(
                name=f"{number} checkpoints",
                x=tuple(loss for loss, _ in pairs),
                y=tuple(loss for _, loss in pairs),
                style="points",
            )
        )
    ends = (min(every), max(every)) if every else ()
    line = Series(name="equal", x=ends, y=ends, style="line", faint=True)
    return Panel(x="decayed loss", y="merged loss", series=(*series, line))
