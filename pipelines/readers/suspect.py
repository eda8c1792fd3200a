"""Marks of documents whose bytes may be altered: they came from under a checksum that fails.

A checksum stands behind the bytes it is about, so a document is read before it is known. A reader
therefore tells which stretch failed (``Batch.suspect``), and reading the span once more with that
stretch in ``Span.suspect`` marks its documents.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.readers.jsonl.values import parse_record
from pipelines.readers.rows.records import canonical_json

DAMAGED = "damaged"  # the key in ``meta``
CHECKSUM = "checksum"  # its value: the stream fails one


def marked(documents: pa.RecordBatch, stretches: tuple[tuple[int, int], ...]) -> pa.RecordBatch:
    """Documents with a mark in ``meta`` where they start in one of these stretches [start, end)."""
    if not stretches:
        return documents
    offsets = documents["offset"].to_numpy()
    inside = np.zeros(len(offsets), np.bool_)
    for start, end in stretches:
        inside |= (offsets >= start) & (offsets < end)
    if not inside.any():
        return documents
    meta = documents["meta"].to_pylist()
    for row in np.flatnonzero(inside).tolist():
        meta[row] = with_mark(meta[row], CHECKSUM)
    place = documents.schema.get_field_index("meta")
    kind = documents.schema.field(place).type
    return documents.set_column(place, documents.schema.field(place), pa.array(meta, kind))


def with_mark(meta: str | None, value: str) -> str:
    """``meta`` with the mark; a member of that name moves into an object ``meta``, as all members
    do whose names are taken.
    """
    members = parse_record(meta.encode()) if meta else {}  # digits of any length stay
    if DAMAGED in members:
        inner = members.get("meta")
        inner = inner if isinstance(inner, dict) else {} if inner is None else {"meta": inner}
        members["meta"] = {**inner, DAMAGED: members[DAMAGED]}
    return canonical_json({**members, DAMAGED: value})
