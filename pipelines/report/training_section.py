"""The section of a report that is about training: shares, curves, held-out losses, samples,
cost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pipelines.report.beginnings import beginning_lines
from pipelines.report.calls import TRAIN as TRAINING
from pipelines.report.calls import recipe_of
from pipelines.report.data_progress import PhaseEnd
from pipelines.report.drawing import Part, stacked_bar
from pipelines.report.endings import held_out_rows, unequal_endings
from pipelines.report.line_chart import Band, Chart, Curve, Point, line_chart, padded
from pipelines.report.loss_points import (
    held_out_points,
    of_sources,
    smoothed,
    thinned,
    whole,
)
from pipelines.report.training_metrics import (
    Ending,
    PhaseShares,
    Trainings,
    phase_shares,
    stretches,
)

SOURCE_COLOURS = ("s5", "s1", "s4", "s2", "s3", "s6", "s7", "s0")
ENDING_COLOURS = ("kept", "s2", "s1", "s3", "s4", "s6")
BEFORE = "s0"
SMOOTHED = 50  # a curve is smoothed over one so-manieth of the steps
OPENING = 20  # the first so-manieth of the steps does not stretch the axis of losses
CHARTED_SOURCES = 24
_BLANK = re.compile(r"(\s{13,}|\s+\Z)")  # a model that has learnt little says a lot of white space


def training_section(
    record: dict[str, Any], trainings: Trainings | None, reached: Sequence[PhaseEnd] = ()
) -> dict[str, Any] | None:
    """Everything the template shows; None where nothing was trained. ``reached``: what was shown by
    the end of each phase.
    """
    if trainings is None:
        return None
    main, recipe = trainings.main, recipe_of(record, TRAINING)
    phases = [shares for ending in trainings.endings for shares in phase_shares(ending)]
    names = sorted(
        {name for line in main.train for name in line["sources"]}
        | {share.source for part in phases for share in part.shares}
    )
    colours = {
        name: SOURCE_COLOURS[place % len(SOURCE_COLOURS)] for place, name in enumerate(names)
    }
    window = max(1, main.last_step // SMOOTHED)
    bands = _bands(main)
    return {
        "trainings": trainings,
        "notes": _notes(record, trainings),
        "model": recipe["model"]["preset"],
        "settings": recipe["train"],
        "windows": _windows(main, recipe["train"]),
        "reached": reached,
        "counted": all(end.counted for end in reached),
        "taken_down": _taken_down(record, main.name),
        "window": window,
        "colours": colours,
        "phases": [(part, _bars(part, colours)) for part in phases],
        "rate": _rate(main, bands),
        "loss": _loss(main, bands, window),
        "without_targets": sum(not line["targets"] for line in main.train),
        "sources": _per_source(main, bands, window, names[:CHARTED_SOURCES]),
        "sources_left_out": max(0, len(names) - CHARTED_SOURCES),
        "held_out": held_out_rows(trainings),
        "unequal": unequal_endings(trainings),
        "held_out_names": [ending.name for ending in trainings.branches],
        **_endings(trainings, bands, window),
        "samples": [_sample(sample) for sample in record.get("samples") or []],
    }


def _notes(record: dict[str, Any], trainings: Trainings) -> list[str]:
    """How the training began, and what is odd about its model."""
    odd = "" if trainings.model is None else trainings.model.below_base
    lines = [*beginning_lines(record["training"]), *([odd] if odd else [])]
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def _taken_down(record: dict[str, Any], main: str) -> list[dict[str, Any]]:
    """Of each ending, how many documents were taken down and which of them its weights have
    seen.
    """
    endings = {main: record["training"], **record["branches"]}
    return [
        {"name": name, **facts["taken_down"]}
        for name, facts in endings.items()
        if "taken_down" in facts
    ]


def _sample(sample: dict[str, Any]) -> dict[str, Any]:
    """A prompt and what was said before and after, in pieces (text, white space behind it that is
    counted and not shown).
    """
    said = {}
    for when in ("before", "after"):
        pieces = _BLANK.split(sample[when])  # text, blank, text, blank, ..., text
        blanks = [len(blank) for blank in pieces[1::2]] + [0]
        said[when] = [piece for piece in zip(pieces[::2], blanks, strict=True) if piece != ("", 0)]
    return {"prompt": sample["prompt"], "unseen": sample.get("unseen", 0), **said}


def _bars(part: PhaseShares, colours: dict[str, str]) -> tuple[Markup, Markup]:
    """Planned and realised tokens of a phase, one bar each."""
    planned = [
        Part(share.source, round(share.planned_tokens), colours[share.source])
        for share in part.shares
    ]
    shown = [Part(share.source, share.tokens, colours[share.source]) for share in part.shares]
    return stacked_bar(planned, label=f"planned shares of {part.phase}"), stacked_bar(
        shown, label=f"realised shares of {part.phase}"
    )


def _windows(main: Ending, settings: dict[str, Any]) -> list[tuple[int, int]]:
    """(tokens of a step, tokens of a window), one after another as they changed."""
    if main.plan is None:
        return [(settings["batch_tokens"], settings["sequence_length"])]
    begun = [
        context for context in main.plan.contexts if context.first_step < max(main.last_step, 1)
    ]
    return [(context.batch_tokens, context.sequence_length) for context in begun]


def _bands(ending: Ending) -> list[Band]:
    """The phases of an ending in tokens."""
    if ending.plan is None:
        return []
    tokens = ending.plan.tokens_before
    return [
        Band(name, tokens(first), tokens(last), decay)
        for name, decay, first, last in stretches(ending.plan.segments)
    ]


def _rate(main: Ending, bands: Sequence[Band]) -> Chart:
    points = thinned([(line["tokens"], line["lr"], 1.0) for line in main.train])
    high = max(rate for _, rate in points)
    curve = Curve("learning rate", points, "kept")
    return line_chart(
        [curve],
        _span(main),
        (0.0, high * 1.08 or 1.0),
        bands,
        marks=(5, 2),
        label="learning rate over tokens",
    )


def _loss(main: Ending, bands: Sequence[Band], window: int) -> Chart:
    own = whole(main.train)
    smooth = smoothed(own, window)
    curves = [Curve("loss of each step", thinned(own), "kept", "faint")] if window > 1 else []
    curves.append(Curve("training loss", smooth, "kept"))
    return line_chart(
        curves,
        _span(main),
        _loss_range(main, [smooth]),
        bands,
        marks=(5, 4),
        label="training loss over tokens",
    )


def _per_source(
    main: Ending, bands: Sequence[Band], window: int, names: Sequence[str]
) -> list[dict[str, Any]]:
    """A chart per source on one scale: training loss as a line, held-out loss as dots."""
    lines = {name: smoothed(of_sources(main.train, {name}), window) for name in names}
    dots = {name: held_out_points(main.validation, name, main) for name in names}
    held = [points for points in dots.values() if points]
    span = _loss_range(main, [*lines.values(), *held])
    charts = []
    for name in names:
        curves = [
            Curve(f"training loss of {name}", lines[name], "kept"),
            Curve(f"held-out loss of {name}", dots[name], "only", "dots"),
        ]
        chart = line_chart(
            curves, _span(main), span, bands, marks=(3, 3), label=f"loss of {name} over tokens"
        )
        charts.append(
            {
                "source": name,
                "chart": chart,
                "last": lines[name][-1][1] if lines[name] else None,
                "held": bool(dots[name]),
            }
        )
    return charts


def _endings(trainings: Trainings, bands: Sequence[Band], window: int) -> dict[str, Any]:
    """The decays of all endings on one chart, and their held-out losses by source, around the step
    where they part.
    """
    main = trainings.main
    if not trainings.branches or not trainings.decays:
        return {"decays": None, "decay_legend": [], "decay_sources": [], "compared": []}
    parting, last = trainings.stable_steps, max(ending.last_step for ending in trainings.endings)
    end = max(ending.tokens_at(ending.last_step) for ending in trainings.endings)
    span = (float(main.tokens_at(max(0, parting - max(last - parting, parting // 4)))), float(end))
    shown_by_all = _shared_sources(trainings)
    shared = shown_by_all or _shown_sources(trainings)
    before = [line for line in main.train if line["step"] <= parting]
    trunk = [point for point in smoothed(of_sources(before, shared), window) if point[0] >= span[0]]
    curves = [Curve("before the decay", trunk, BEFORE)]
    for ending, colour, style in _styled(trainings):
        own = [line for line in ending.train if line["step"] > parting]
        smooth = smoothed(of_sources([*before, *own], shared), window)
        start = trunk[-1][0] if trunk else span[0]
        curves.append(
            Curve(ending.name, [point for point in smooth if point[0] >= start], colour, style)
        )
    values = [value for curve in curves for _, value in curve.points]
    chart = line_chart(
        curves,
        span,
        padded(values),
        _decay_band(bands, end),
        label="training loss of every ending over tokens",
    )
    return {
        "decays": chart,
        "compared": sorted(shown_by_all),
        "decay_legend": [
            (BEFORE, "before the decay"),
            *((colour, ending.name) for ending, colour, _ in _styled(trainings)),
        ],
        "decay_sources": _decay_sources(trainings, span, _decay_band(bands, end)),
    }


def _decay_sources(
    trainings: Trainings, span: tuple[float, float], bands: Sequence[Band]
) -> list[dict[str, Any]]:
    """Held-out loss of each source under every ending; each chart has its own scale."""
    main = trainings.main
    names = sorted(
        {
            name
            for ending in trainings.endings
            for line in ending.validation
            for name in line["sources"]
        }
    )
    charts = []
    for name in names[:CHARTED_SOURCES]:
        trunk = [line for line in main.validation if line["step"] <= trainings.stable_steps]
        before = [point for point in held_out_points(trunk, name, main) if point[0] >= span[0]]
        curves = [Curve(f"{name} before the decay", before, BEFORE, "dots")]
        for ending, colour, _ in _styled(trainings):
            own = [line for line in ending.validation if line["step"] > trainings.stable_steps]
            curves.append(
                Curve(
                    f"{name}, {ending.name}",
                    [*before[-1:], *held_out_points(own, name, ending)],
                    colour,
                    "dots",
                )
            )
        curves.append(curves.pop(0))  # the last common point lies on top
        values = [value for curve in curves for _, value in curve.points]
        if values:
            charts.append(
                {
                    "source": name,
                    "chart": line_chart(
                        curves,
                        span,
                        padded(values, 0.12),
                        bands,
                        marks=(2, 3),
                        label=f"held-out loss of {name}",
                    ),
                }
            )
    return charts


def _styled(trainings: Trainings) -> list[tuple[Ending, str, str]]:
    """Every ending with its colour; branches are dashed."""
    endings = trainings.endings
    return [
        (ending, ENDING_COLOURS[place % len(ENDING_COLOURS)], "dashed" if place else "line")
        for place, ending in enumerate(endings)
    ]


def _decay_band(bands: Sequence[Band], end: float) -> list[Band]:
    """The phases up to the decay, and one band for all endings after it."""
    start = next((band.start for band in bands if band.shaded), end)
    return [*(band for band in bands if band.end <= start), Band("decay", start, end, True)]


def _shown_by_ending(trainings: Trainings) -> list[set[str]]:
    """What each ending showed after the parting."""
    return [
        {
            name
            for line in ending.train
            if line["step"] > trainings.stable_steps
            for name in line["sources"]
        }
        for ending in trainings.endings
    ]


def _shared_sources(trainings: Trainings) -> set[str]:
    """Sources every ending showed after the parting: a loss over these compares."""
    return set.intersection(*_shown_by_ending(trainings))


def _shown_sources(trainings: Trainings) -> set[str]:
    """Sources some ending showed after the parting."""
    return set.union(*_shown_by_ending(trainings))


def _span(main: Ending) -> tuple[float, float]:
    return 0.0, float(main.train[-1]["tokens"])


def _loss_range(main: Ending, curves: Sequence[Sequence[Point]]) -> tuple[float, float]:
    """A range for losses that the first steps do not stretch."""
    opening = main.train[-1]["tokens"] / OPENING
    later = [value for points in curves for tokens, value in points if tokens > opening]
    return padded(later or [value for points in curves for _, value in points])
