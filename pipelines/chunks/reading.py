"""Reading a chunk's spans into documents, and taking repeated keys out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.ledger import Entry
from artifacts.schemas import QUARANTINE
from artifacts.settings import key_settings
from pipelines.corpus.document_files import Compression
from pipelines.readers import Fields, Limits


@dataclass(frozen=True)
class ReadStep:
    """Turns a chunk's spans into documents and quarantine."""

    format: str
    fields: Fields
    limits: Limits
    compression: Compression = "zstd"
    name: str = "read"
    version: ClassVar[int] = 6

    def settings(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "fields": key_settings(self.fields),
            "limits": key_settings(self.limits),
            "compression": self.compression,
        }


@dataclass(frozen=True)
class RemoveRowsStep:
    """Moves records whose key was seen before out of a chunk's documents, into quarantine."""

    rows: tuple[int, ...]
    quarantine_bytes: int
    compression: Compression = "zstd"
    name: str = "unique"
    version: ClassVar[int] = 4
    libraries: ClassVar[tuple[str, ...]] = ("pyarrow", "orjson")


def account(entry: Entry, batch: Any) -> None:
    """Book one batch of a reader: every record seen is a document, dropped, or quarantined."""
    entry.entered.add(batch.records + batch.blank, batch.bytes)
    rest = batch.bytes
    for reason, (records, size) in sorted(batch.dropped.items()):
        entry.drop(reason, records, size)
        rest -= size
    bad = batch.quarantine
    for reason in sorted(set(bad["reason"].to_pylist())):
        mask = pc.equal(bad["reason"], reason)
        size = int(pc.sum(bad["length"].filter(mask)).as_py())
        entry.quarantine(reason, int(pc.sum(mask).as_py()), size)
        rest -= size
    if batch.blank:
        entry.drop("blank_line", batch.blank, 0)
    entry.kept.add(batch.documents.num_rows, rest)


def duplicates(documents: pa.Table, most_bytes: int) -> pa.Table:
    """Quarantine rows for documents whose key came twice; ``raw`` is the record spelled anew as
    JSON, all columns but the hashes.
    """
    columns = [
        name
        for name in documents.column_names
        if name not in ("id", "text_hash", "source", "path", "offset")
    ]
    raw = [
        orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
        for record in documents.select(columns).to_pylist()
    ]
    return pa.table(
        [
            documents["source"],
            documents["path"],
            documents["offset"],
            pa.array([len(record) for record in raw], pa.int64()),
            pa.array(["duplicate_key"] * len(raw), pa.string()),
            pa.array(
                [f"id {value.hex()} was seen before" for value in documents["id"].to_pylist()],
                pa.string(),
            ),
            pa.array([record[:most_bytes] for record in raw], pa.large_binary()),
        ],
        schema=QUARANTINE,
    )
