"""Figures of schedules of matched lengths: what decays gain by length and shape; courses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from artifacts.statistics.estimates import Estimate
from trainer.experiments.design import Measured
from trainer.experiments.designs.ends import Ends
from trainer.experiments.designs.matched_lengths import Labels, MatchedLengths, tokens_said
from trainer.experiments.findings import Figure, Panel, Series

APART = 1.04
"""Between the places at which shapes of one share are drawn."""


def gains(ends: Ends, asked: MatchedLengths) -> Figure:
    """Each decay minus the cosine of its length, paired by seed, over the share that decays."""
    panels = []
    for total in asked.totals:
        shapes = (asked.shape, *(asked.shapes if total == asked.totals[-1] else ()))
        series = []
        for place, shape in enumerate(shapes):
            shares = asked.decays if shape == asked.shape else asked.shape_decays
            found = [
                (share, ends.contrast(asked.wsd(total, share, shape), asked.cosine(total)))
                for share in shares
            ]
            series.append(_line(shape, found, APART ** (place - (len(shapes) - 1) / 2)))
        for name, labels in _others(asked, total):
            level = ends.contrast(labels, asked.cosine(total))
            if level is not None:
                series.append(Series(name=name, y=(level.value,), style="rule", faint=True))
        series.append(Series(name=f"cosine to {asked.finals[0]:g}", y=(0.0,), style="rule"))
        panels.append(
            Panel(
                title=f"{tokens_said(total)} tokens",
                x="share of the total that decays",
                y="loss minus the cosine's",
                log_x=True,
                series=tuple(series),
            )
        )
    seeds = max(len(ends.losses(**asked.cosine(total))) for total in asked.totals)
    return Figure(
        name="decay-lengths",
        title="Decays from one stable run against cosines of the same length",
        caption=f"Differences paired by seed, mean and 95 % t-interval over {seeds} seeds; below 0 "
        "is better than the cosine. Shapes are drawn a little apart sideways; rules are ends of "
        "other schedules.",
        panels=tuple(panels),
    )


def courses(ends: Ends, asked: MatchedLengths) -> Figure:
    """Held-out loss over tokens of the stable run, its main decays and the cosines, of means over
    seeds.
    """
    series = [_stable(ends)]
    for total in asked.totals:
        name = f"cosine, {tokens_said(total)}"
        series.append(_course(name, ends.at(**asked.cosine(total)), ends))
        begin = ends.mean(**asked.plateau(total, asked.main))
        end = ends.mean(**asked.wsd(total))
        places = _places(ends, asked.wsd(total))
        if begin is not None and end is not None and places:
            series.append(
                Series(name=f"decay, {tokens_said(total)}", x=places, y=(begin, end), style="both")
            )
    seeds = len({one["seed"] for one in ends.at(arm="trunk")})
    return Figure(
        name="decay-courses",
        title="Loss over tokens: a stable run with decays, and cosines",
        caption=f"Means over {seeds} seeds, without intervals; a decay is drawn from the stable "
        f"checkpoint it begins at to its end, the last {asked.main:.3g} of its total.",
        panels=(Panel(x="tokens", y="held-out loss", series=tuple(series)),),
    )


def _others(asked: MatchedLengths, total: int) -> Iterable[tuple[str, Labels]]:
    """Schedules that have no share that decays."""
    for final in asked.finals[1:]:
        yield f"cosine to {final:g}", asked.cosine(total, final)
    yield "not decayed", asked.plateau(total, 0.0)
    yield "decayed again", asked.again(total)


def _line(name: str, found: Sequence[tuple[float, Estimate | None]], aside: float) -> Series:
    known = [(share, one) for share, one in found if one is not None]
    return Series(
        name=name,
        x=tuple(share * aside for share, _ in known),
        y=tuple(one.value for _, one in known),
        low=tuple(one.low for _, one in known),
        high=tuple(one.high for _, one in known),
    )


def _course(name: str, runs: Sequence[Measured], ends: Ends) -> Series:
    """The mean over runs that came to an end, where all of them were looked at."""
    known = [one.outcome for one in runs if one.outcome.diverged is None]
    if not known:
        return Series(name=name)
    columns = [dict(zip(one.course.tokens, ends.primary.course(one), strict=True)) for one in known]
    shared = sorted(set(columns[0]).intersection(*columns[1:]))
    rows = [(tokens, [column[tokens] for column in columns]) for tokens in shared]
    whole = [
        (tokens, math.fsum(loss for loss in losses if loss is not None) / len(losses))
        for tokens, losses in rows
        if None not in losses
    ]
    return Series(
        name=name,
        x=tuple(float(tokens) for tokens, _ in whole),
        y=tuple(loss for _, loss in whole),
    )


def _stable(ends: Ends) -> Series:
    """The stable run, where it was looked at and where its checkpoints were measured."""
    looked = _course("stable run", ends.at(arm="trunk"), ends)
    points = dict(zip(looked.x, looked.y, strict=True))
    by_tokens: dict[int, list[float | None]] = {}
    for one in ends.at(arm="plateau"):
        loss = ends.primary.of(one.outcome)
        by_tokens.setdefault(one.outcome.tokens, []).append(loss)
    for tokens, losses in by_tokens.items():
        known = [loss for loss in losses if loss is not None]
        if known and len(known) == len(losses):
            points[float(tokens)] = math.fsum(known) / len(known)
    places = sorted(points)
    return looked.model_copy(
        update={"x": tuple(places), "y": tuple(points[place] for place in places)}
    )


def _places(ends: Ends, labels: Labels) -> tuple[float, ...]:
    """Tokens at which a decay begins and ends."""
    for one in ends.at(**labels):
        if one.outcome.diverged is None:
            tokens = one.outcome.tokens
            return float(tokens - one.outcome.own_tokens), float(tokens)
    return ()
