"""What an experiment found, as data: verdicts, tables, figures and plain sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from artifacts.records import Record
from trainer.experiments.verdicts import Verdict

Cell = str | int | float | None


class Table(Record):
    """Rows under a head, as they are printed and as they stand in the page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


class Series(Record):
    """Points of one name: ``low`` and ``high`` are ends of intervals, ``keys`` the runs behind
    them.

    ``style``: ``line``, ``points``, ``both``, ``band`` (between low and high), ``bars``, or a
    ``rule``, which is a level of y (or of x where it has no y).
    """

    name: str
    x: tuple[float, ...] = ()
    y: tuple[float | None, ...] = ()
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    style: Literal["line", "points", "both", "band", "bars", "rule"] = "both"
    faint: bool = False
    group: str = ""  # series of one group have one colour


class Panel(Record):
    """One pair of axes. ``ticks``: names of x where it counts categories."""

    title: str = ""
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()


class Figure(Record):
    """Panels side by side under one title; ``caption`` says what a dot and an interval are."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    caption: str
    panels: tuple[Panel, ...] = Field(min_length=1)


class Claim(Record):
    """A sentence fixed beforehand and what became of it.

    ``verdict`` is ``shown``, ``refuted`` or ``cannot tell``; ``figures`` hold the estimate, its
    interval, the margin and whatever else it rests on.
    """

    claim: str
    verdict: Literal["shown", "refuted", "cannot tell"]
    figures: dict[str, Any] = {}


def stated(verdicts: Iterable[Verdict]) -> tuple[Claim, ...]:
    """Claims as findings hold them, from verdicts of one family."""
    return tuple(
        Claim(claim=one.claim.name, verdict=one.conclusion, figures=_figures(one))
        for one in verdicts
    )


def _figures(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    if claim.difference is None:
        return {"reason": claim.reason}
    return {
        "estimate": claim.difference.value,
        "interval": list(verdict.interval or ()),
        "degrees": claim.difference.degrees,
        "margin": claim.margin,
        "unit": claim.unit,
        "adjusted p": verdict.adjusted,
    }


class Findings(Record):
    """``facts`` are the numbers, for other programs; ``notes`` say what cannot be concluded."""

    claims: tuple[Claim, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
