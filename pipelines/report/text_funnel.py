"""The funnel in tokens: how much of each source's text left at each step, and how much stayed.

Tokens that stay are counted. What was dropped was never encoded, so its tokens are estimated: its
bytes, at the bytes per token of what stays of the same source, or of all sources where nothing
does. Before there are tokens the same stands in bytes of text, which ledgers have exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.report.funnel import Funnel, choosing_ledgers

Unit = Literal["tokens", "bytes"]
_WITHOUT_TEXT = ("read", "unique")
"""Steps before texts are measured: their ledgers count bytes of records, or none."""


@dataclass(frozen=True)
class TextRow:
    """The text of one source (or all), in the unit of its funnel. ``dropped`` has an entry per step
    of the funnel; ``cut`` is what rewrites took out of texts, negative where they made them longer.
    """

    source: str
    entered: int
    dropped: tuple[int, ...]
    cut: int
    kept: int


@dataclass(frozen=True)
class TextFunnel:
    """A row per source in the order of the recipe, and their sum."""

    unit: Unit
    rows: tuple[TextRow, ...]
    total: TextRow


def read_text_funnel(record: dict[str, Any], funnel: Funnel) -> TextFunnel:
    """The funnel of texts of a run record, whose funnel of documents is given."""
    ledgers = choosing_ledgers(record)
    rows = [
        _bytes(row.source, [ledger["sources"].get(row.source) for ledger in ledgers], funnel)
        for row in funnel.rows
    ]
    if funnel.total.tokens is None:
        return TextFunnel("bytes", tuple(rows), _sum(rows))
    used = {row.source: record["encoded"].get(row.source) for row in funnel.rows}
    known = [use for use in used.values() if use]
    overall = _ratio(sum(use["tokens"] for use in known), sum(use["bytes"] for use in known))
    tokens = [_in_tokens(row, used[row.source], overall) for row in rows]
    return TextFunnel("tokens", tuple(tokens), _sum(tokens))


def _bytes(source: str, entries: Sequence[dict[str, Any] | None], funnel: Funnel) -> TextRow:
    measured = [
        entry
        if entry is not None and step.name not in _WITHOUT_TEXT and entry["in"]["documents"]
        else None
        for entry, step in zip(entries, funnel.steps, strict=True)
    ]
    known = [entry for entry in measured if entry is not None]
    dropped = tuple(0 if entry is None else _gone(entry) for entry in measured)
    entered = known[0]["in"]["bytes"] if known else 0
    kept = known[-1]["kept"]["bytes"] if known else 0
    return TextRow(source, entered, dropped, entered - sum(dropped) - kept, kept)


def _gone(entry: dict[str, Any]) -> int:
    """Bytes of text that a step dropped or put into quarantine."""
    return sum(
        count["bytes"] for what in ("dropped", "quarantined") for count in entry[what].values()
    )


def _in_tokens(row: TextRow, use: dict[str, int] | None, overall: float) -> TextRow:
    per_byte = _ratio(use["tokens"], use["bytes"]) if use else 0.0
    per_byte = per_byte or overall
    dropped = tuple(round(gone * per_byte) for gone in row.dropped)
    cut, kept = round(row.cut * per_byte), use["tokens"] if use else 0
    return TextRow(row.source, sum(dropped) + cut + kept, dropped, cut, kept)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _sum(rows: Sequence[TextRow]) -> TextRow:
    return TextRow(
        "all",
        sum(row.entered for row in rows),
        tuple(map(sum, zip(*(row.dropped for row in rows), strict=True))),
        sum(row.cut for row in rows),
        sum(row.kept for row in rows),
    )
