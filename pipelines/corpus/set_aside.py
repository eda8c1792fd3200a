"""Documents as rows of quarantine, after they were read: the record is spelled anew as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pyarrow as pa

from artifacts.messages import without_nulls
from artifacts.schemas import QUARANTINE

_NOT_THE_RECORDS = ("id", "text_hash", "source", "path", "offset")


def quarantine_rows(
    documents: pa.Table, reason: str, details: Sequence[str], most_bytes: int
) -> pa.Table:
    """Rows of quarantine for documents (d,) of the documents format, with a detail each.

    ``raw`` is all columns but the hashes and the place, at most ``most_bytes`` of it; ``length``
    counts all.
    """
    columns = [name for name in documents.column_names if name not in _NOT_THE_RECORDS]
    records = documents.select(columns).to_pylist()
    for record in records:
        if record.get("messages") is not None:
            record["messages"] = without_nulls(record["messages"])
    raw = [orjson.dumps(record, option=orjson.OPT_SORT_KEYS) for record in records]
    return pa.table(
        [
            documents["source"],
            documents["path"],
            documents["offset"],
            pa.array([len(record) for record in raw], pa.int64()),
            pa.array([reason] * len(raw), pa.string()),
            pa.array(details, pa.string()),
            pa.array([record[:most_bytes] for record in raw], pa.large_binary()),
        ],
        schema=QUARANTINE,
    )


def in_place_order(*tables: pa.Table) -> pa.Table:
    """Rows of quarantine together, by path and offset."""
    return pa.concat_tables(tables).sort_by([("path", "ascending"), ("offset", "ascending")])
