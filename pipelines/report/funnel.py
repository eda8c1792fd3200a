"""The funnel: how many documents of each source entered, left at each step, and stayed.

Everything here is read off the ledgers of a run record, so it equals them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.calls import shards_hold_the_corpus

# steps whose ledgers are about documents already chosen
AFTER_CORPUS = ("encode", "split", "shards")


@dataclass(frozen=True)
class FunnelStep:
    """One step that can take documents away. ``compares``: it looks at the whole corpus
    (deduplication).

    ``cut``: of a step that cuts spans out of texts the counts ``spans``, ``documents`` and
    ``bytes``.
    """

    name: str
    compares: bool
    cut: dict[str, int] | None = None

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class FunnelRow:
    """One source (or all), in documents. ``dropped`` and ``quarantined`` have one entry per
    step.
    """

    source: str
    entered: int
    entered_bytes: int  # as stored in the stream
    dropped: tuple[int, ...]
    quarantined: tuple[int, ...]
    kept: int
    kept_bytes: int  # of text
    before_dedup: int | None
    after_dedup: int | None
    tokens: int | None


@dataclass(frozen=True)
class Funnel:
    """Steps in order, a row per source in the order of the recipe, and their sum."""

    steps: tuple[FunnelStep, ...]
    rows: tuple[FunnelRow, ...]
    total: FunnelRow


def read_funnel(record: dict[str, Any]) -> Funnel:
    """The funnel of a run record."""
    ledgers = choosing_ledgers(record)
    cuts = {step for chunk in record["chunks"] for step in chunk.get("cuts", ())}
    steps = tuple(
        FunnelStep(
            ledger["step"],
            ledger["step"] in {*record["evidence"], *cuts},
            ledger["facts"] if ledger["step"] in cuts else None,
        )
        for ledger in ledgers
    )
    sources = [source["name"] for source in record["recipe"]["corpus"]["sources"]]
    rows = tuple(
        _row(source, [ledger["sources"].get(source) for ledger in ledgers], steps, record)
        for source in sources
    )
    return Funnel(steps, rows, _sum(rows, len(steps)))


def choosing_ledgers(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Ledgers in which documents can leave the corpus, in order; each enters with what the one
    before kept.
    """
    return [
        ledger
        for ledger in record["ledgers"]
        if ledger["sources"]
        and not ledger["step"].endswith(" (measure)")
        and ledger["step"] not in AFTER_CORPUS
    ]


def _row(
    source: str,
    entries: Sequence[dict[str, Any] | None],
    steps: Sequence[FunnelStep],
    record: dict[str, Any],
) -> FunnelRow:
    known = [entry for entry in entries if entry is not None]
    comparisons = [
        entry
        for entry, step in zip(entries, steps, strict=True)
        if step.compares and entry is not None
    ]
    encoded = record["encoded"].get(source) if shards_hold_the_corpus(record) else None
    return FunnelRow(
        source=source,
        entered=known[0]["in"]["documents"] if known else 0,
        entered_bytes=known[0]["in"]["bytes"] if known else 0,
        dropped=tuple(_documents(entry, "dropped") for entry in entries),
        quarantined=tuple(_documents(entry, "quarantined") for entry in entries),
        kept=known[-1]["kept"]["documents"] if known else 0,
        kept_bytes=_kept_bytes(known),
        before_dedup=comparisons[0]["in"]["documents"] if comparisons else None,
        after_dedup=comparisons[-1]["kept"]["documents"] if comparisons else None,
        tokens=encoded["tokens"] if encoded else None,
    )


def _kept_bytes(entries: Sequence[dict[str, Any]]) -> int:
    """Bytes of what stays; the ledger of the unique step counts documents only, so the one before
    it speaks.
    """
    for entry in reversed(entries):
        if entry["kept"]["bytes"] or not entry["kept"]["documents"]:
            return int(entry["kept"]["bytes"])
    return 0


def _documents(entry: dict[str, Any] | None, what: str) -> int:
    return sum(count["documents"] for count in entry[what].values()) if entry else 0


def _sum(rows: Sequence[FunnelRow], steps: int) -> FunnelRow:
    def whole(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    return FunnelRow(
        source="all",
        entered=sum(row.entered for row in rows),
        entered_bytes=sum(row.entered_bytes for row in rows),
        dropped=tuple(sum(row.dropped[step] for row in rows) for step in range(steps)),
        quarantined=tuple(sum(row.quarantined[step] for row in rows) for step in range(steps)),
        kept=sum(row.kept for row in rows),
        kept_bytes=sum(row.kept_bytes for row in rows),
        before_dedup=whole([row.before_dedup for row in rows]),
        after_dedup=whole([row.after_dedup for row in rows]),
        tokens=whole([row.tokens for row in rows]),
    )
