"""Bands: the documents of a source cut by a number into sources of shards of their own.

    shards:
      split:
        web-en: {by: alpha_word_ratio, bands: {high: ">= 0.8", mid: ">= 0.5", low: rest}}
        code: {by: cluster_size, bands: {copied: "top 10%", single: rest}}

A document goes to the first band whose condition it meets. A condition is a threshold on the number
(``>=``, ``>``, ``<=``, ``<``) or a place in the order of all kept documents of the source that have
a number (``top 20%``, ``bottom 30%``; equal numbers by id, the lower id nearer the top). ``rest``
takes what no other band took, also documents without a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from artifacts.errors import Address, UserError, address_of
from artifacts.ids import as_words
from artifacts.records import Record
from mixtures.spec.bands import HELD_OUT, is_held_out

REST = "rest"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_THRESHOLD = re.compile(rf"(>=|>|<=|<)\s*({_NUMBER})")
_SHARE = re.compile(r"(top|bottom)\s+(\d+(?:\.\d+)?)\s*%")
_FIX = 'write ">= 0.8", "< 3", "top 20%", "bottom 20%" or rest, quoted'
_BandName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]

# a cut on the line of numbers; 0: the number itself lies above the cut, 1: below
Edge = tuple[Fraction, int]


class Split(Record):
    """How one source is cut: the number ``by`` of each document, and the bands in the order in
    which they are tried.
    """

    by: str = Field(min_length=1, description="a signal column, STEP.COLUMN, or cluster_size")
    bands: dict[_BandName, str] = Field(
        min_length=2, description="condition of each band, tried in this order"
    )

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(band, condition) in order; a mapping in a content key would lose it."""
        return tuple(self.bands.items())


@dataclass(frozen=True)
class Condition:
    """One band's condition: the half-line above (``upper``) or below ``edge``; of a share in
    percent from the bottom.
    """

    upper: bool
    edge: Edge
    share: bool


def check_bands(bands: Mapping[str, str], field: str | Address) -> None:
    """Refuse bands that contradict one another. ``field``: where ``bands`` stand in the recipe.

    Raises: UserError for a condition that is none, a second ``rest``, a mixture of thresholds and
    shares, a band that no document can reach, and numbers that no band takes.
    """
    field = address_of(field)
    conditions = {name: parse_condition(text, (*field, name)) for name, text in bands.items()}
    rests = [name for name, condition in conditions.items() if condition is None]
    if len(rests) > 1:
        raise UserError(
            "two bands take the rest",
            field=(*field, rests[1]),
            found=", ".join(rests),
            fix="give one of them a condition",
        )
    for name in bands:
        if is_held_out(name):
            message = "a band must not be called like held-out shards"
            raise UserError(
                message,
                field=(*field, name),
                found=name,
                fix=f"choose a name that does not end with {HELD_OUT}",
            )
    known = [condition for condition in conditions.values() if condition is not None]
    if len({condition.share for condition in known}) > 1:
        raise UserError(
            "the bands of a source go by thresholds or by shares, not by both",
            field=field,
            found=_spelled(bands),
            fix="use one kind",
        )
    _check_reach(conditions, bands, field)


def _check_reach(
    conditions: Mapping[str, Condition | None], bands: Mapping[str, str], field: Address
) -> None:
    """Walk along the bands: what earlier ones leave is one interval between two edges."""
    low: Edge | None = None
    high: Edge | None = None
    for name, condition in conditions.items():
        if condition is None:
            continue
        edge = condition.edge
        if condition.upper:
            covered = (high is not None and edge >= high) or (
                low is not None and high is not None and low >= high
            )
            high = edge if high is None else min(high, edge)
        else:
            covered = (low is not None and edge <= low) or (
                low is not None and high is not None and low >= high
            )
            low = edge if low is None else max(low, edge)
        if covered:
            fix = "put the narrower band first, or correct one of them"
            raise UserError(
                "the bands before take every document of this one",
                field=(*field, name),
                found=_spelled(bands),
                fix=fix,
            )
    whole = low is not None and high is not None and low >= high
    if REST not in bands.values() and not whole:
        raise UserError(
            "some numbers belong to no band",
            field=field,
            found=_spelled(bands),
            fix="add a band for the others: low: rest",
        )


def parse_condition(text: str, field: str | Address) -> Condition | None:
    """A band's condition, None for ``rest``. Raises: UserError when it is none."""
    said = text.strip()
    if said == REST:
        return None
    if threshold := _THRESHOLD.fullmatch(said):
        operator, number = threshold.groups()
        return Condition(
            operator[0] == ">", (Fraction(number), int(operator in (">", "<="))), share=False
        )
    if share := _SHARE.fullmatch(said):
        percent = Fraction(share[2])
        if not 0 < percent <= 100:
            raise UserError(
                "a share of documents is above 0% and at most 100%",
                field=field,
                found=text,
                fix=_FIX,
            )
        return Condition(
            share[1] == "top", (100 - percent if share[1] == "top" else percent, 0), share=True
        )
    raise UserError("not a condition of a band", field=field, found=text, fix=_FIX)


def assign(
    values: NDArray[np.float64], ids: pa.FixedSizeBinaryArray, conditions: Sequence[str]
) -> NDArray[np.int64]:
    """Number of the band of each document, -1 where it has none.

    ``values`` (n,): NaN where a document has no number. ``ids`` (n,) of 16 bytes. ``conditions`` in
    the order of the bands.
    """
    band = np.full(len(values), -1, np.int64)
    known = ~np.isnan(values)
    place = _places(values, ids, known) if any("%" in text for text in conditions) else None
    rest = -1
    for number, text in enumerate(conditions):
        condition = parse_condition(text, "bands")
        if condition is None:
            rest = number
            continue
        met = (
            _met_share(condition, place)
            if condition.share and place is not None
            else _met(condition, values)
        )
        band[(band < 0) & known & met] = number
    band[band < 0] = rest
    return band


def _met(condition: Condition, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    number, above = float(condition.edge[0]), condition.edge[1]
    with np.errstate(invalid="ignore"):  # comparisons with NaN are false, as they should be
        if condition.upper:
            met: NDArray[np.bool_] = values > number if above else values >= number
        else:
            met = values <= number if above else values < number
    return met


def _met_share(condition: Condition, place: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``place``: from the top, 0 = the highest, -1 without a number. Counts are rounded to the
    nearest document, halves up.
    """
    documents = int((place >= 0).sum())
    percent = 100 - condition.edge[0] if condition.upper else condition.edge[0]
    taken = (2 * documents * percent + 100) // 200
    met: NDArray[np.bool_] = (
        place < int(taken) if condition.upper else place >= documents - int(taken)
    )
    return met


def _places(
    values: NDArray[np.float64], ids: pa.FixedSizeBinaryArray, known: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Place of each document from the top among those with a number; equal numbers by id."""
    rows = np.flatnonzero(known)
    words = as_words(ids)[rows]
    order = rows[np.lexsort((words[:, 1], words[:, 0], -values[rows]))]
    place = np.full(len(values), -1, np.int64)
    place[order] = np.arange(len(order))
    return place


def _spelled(bands: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {text}" for name, text in bands.items())
