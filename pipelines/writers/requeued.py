"""Files of records that were read again: documents, and what is quarantined still."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.paths import Store
from artifacts.schemas import QUARANTINE

FORMATS = ("jsonl", "parquet")

REMAINING = pa.schema([*QUARANTINE, pa.field("now", pa.string())])
"""A quarantined record, with why it is no document now."""


class Remaining(Protocol):
    """A record that is no document now."""

    @property
    def row(self) -> dict[str, Any]: ...

    @property
    def now(self) -> str | None: ...


class RequeuedFiles:
    """``documents/SOURCE`` and ``quarantine/SOURCE`` in a folder, written piece by piece, each made
    with its first rows; nothing without a folder.
    """

    def __init__(self, output: str | None, source: str, format: str) -> None:
        self._store = None if output is None else Store(output.rstrip("/") or "/")
        self._source = source
        self._format = format
        self._open = contextlib.ExitStack()
        self._writers: dict[str, Any] = {}
        self.written: list[str] = []

    def __enter__(self) -> RequeuedFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def documents(self, rows: pa.RecordBatch) -> None:
        """Add documents."""
        if rows.num_rows and self._store is not None:
            self._write("documents", rows)

    def remaining(self, source: str, outcomes: Sequence[Remaining]) -> None:
        """Add records that are quarantined still."""
        if outcomes and self._store is not None:
            rows = [{**outcome.row, "now": outcome.now} for outcome in outcomes]
            self._write("quarantine", pa.RecordBatch.from_pylist(rows, REMAINING))

    def _write(self, folder: str, rows: pa.RecordBatch) -> None:
        assert self._store is not None
        if folder not in self._writers:
            name = f"{folder}/{self._source}.{self._format}"
            out = self._open.enter_context(self._store.writer(name))
            if self._format == "parquet":
                file = pa.PythonFile(out, mode="w")
                writer: Any = pq.ParquetWriter(file, rows.schema, compression="zstd")
                out = self._open.enter_context(writer)
            self._writers[folder] = out
            self.written.append(self._store.full(name))
        if self._format == "parquet":
            self._writers[folder].write_batch(rows)
        else:
            lines = [orjson.dumps(_plain(row)) + b"\n" for row in rows.to_pylist()]
            self._writers[folder].write(b"".join(lines))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a record: ids in hex, ``meta`` as an object, raw bytes as text, or in base64 where
    they are none.
    """
    plain = {name: value for name, value in row.items() if value is not None}
    plain.pop("text_hash", None)
    if "id" in plain:
        plain["id"] = plain["id"].hex()
    if "meta" in plain:
        plain["meta"] = orjson.loads(plain["meta"])
    if "raw" in plain:
        raw = plain.pop("raw")
        try:
            plain["raw"] = raw.decode()
        except UnicodeDecodeError:
            plain["raw_base64"] = base64.b64encode(raw).decode()
    return plain
