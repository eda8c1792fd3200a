"""The first rows of quarantine, with the raw bytes as one can look at them safely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.paths import Store
from artifacts.tables import open_table
from artifacts.visible_text import on_one_line

ROWS = 20
RAW_BYTES = 160
_COLUMNS = ["source", "path", "offset", "length", "reason", "detail", "raw"]


@dataclass(frozen=True)
class QuarantineRow:
    """One record that could not be read. ``raw``: its first bytes, other than printable ASCII and
    UTF-8 spelled out.
    """

    source: str
    path: str
    offset: int
    length: int
    reason: str
    detail: str
    raw: str


def first_rows(store: Store, files: Sequence[dict[str, Any]]) -> list[QuarantineRow]:
    """The first :data:`ROWS` rows over the quarantine tables in the order given."""
    found: list[QuarantineRow] = []
    for file in files:
        if len(found) < ROWS and file["rows"]:
            with open_table(store, file["name"], "quarantine") as table:
                batch = next(table.batches(ROWS - len(found), _COLUMNS), None)
            found += [] if batch is None else [_row(value) for value in batch.to_pylist()]
    return found


def quarantined_by_reason(record: dict[str, Any]) -> list[tuple[str, str, int]]:
    """(source, reason, records), as the ledgers have them, sorted."""
    counts: dict[tuple[str, str], int] = {}
    for ledger in record["ledgers"]:
        for source, entry in ledger["sources"].items():
            for reason, count in entry["quarantined"].items():
                counts[source, reason] = counts.get((source, reason), 0) + count["documents"]
    return [(source, reason, records) for (source, reason), records in sorted(counts.items())]


def _row(value: dict[str, Any]) -> QuarantineRow:
    raw = value["raw"]
    shown = on_one_line(
        raw[:RAW_BYTES]
        .decode("utf-8", "backslashreplace")
        .replace("\n", "\\n")
        .replace("\t", "\\t")
    )
    if value["length"] > RAW_BYTES:
        shown += " …"
    return QuarantineRow(
        value["source"],
        value["path"],
        value["offset"],
        value["length"],
        value["reason"],
        value["detail"] or "",
        shown,
    )
