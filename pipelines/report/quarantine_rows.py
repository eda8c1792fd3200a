"""The first rows of quarantine, with the raw bytes as one can look at them safely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from artifacts.paths import Store
from artifacts.schemas import check_format
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
            with store.open(file["name"]) as opened:
                table = pq.ParquetFile(opened)
                check_format(table.schema_arrow, "quarantine", store.full(file["name"]))
                batch = next(
                    table.iter_batches(ROWS - len(found), columns=_COLUMNS, use_threads=False)
                )
            found += [_row(value) for value in batch.to_pylist()]
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
