"""Batches a reader hands on, and the collector that fills them.

A batch accounts for every record it saw: ``records = documents + quarantine rows + dropped``.
Blank lines are counted apart. The ``bytes`` of the batches of a file add up to its uncompressed
length, so that a missing piece shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa

from artifacts.ids import (
    conversation_hashes,
    document_ids,
    native_key,
    place_key,
    place_keys,
    text_hashes,
)
from artifacts.schemas import DOCUMENTS, INSTRUCTIONS, MESSAGES, QUARANTINE
from pipelines.readers.rows.messages import NO_MEMBERS, Members
from pipelines.readers.rows.plain import Columns
from pipelines.readers.rows.records import RecordRejectedError, Row
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.damage import Damage
from pipelines.readers.suspect import marked

_COLUMNS = ("text", "native_id", "lang", "url", "license", "date", "meta")  # of a Row, in its order


@dataclass(frozen=True)
class Batch:
    """Documents and quarantine of a stretch of one input.

    ``documents``: schema DOCUMENTS, or INSTRUCTIONS where the fields name ``messages_field``.
    ``quarantine``: schema QUARANTINE. ``records``: records seen. ``blank``: empty lines. ``bytes``:
    bytes of the uncompressed stream covered. ``dropped``: reason → (records, bytes) of records that
    are well-formed but no documents, such as the requests of a WARC. ``suspect``: offsets [start,
    end) of what failed a checksum once it had been read, in this batch or before it; read again
    with the span's ``suspect`` set to them, its documents are marked.
    """

    documents: pa.RecordBatch
    quarantine: pa.RecordBatch
    records: int
    blank: int
    bytes: int
    dropped: dict[str, tuple[int, int]] = field(default_factory=dict)
    suspect: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        dropped = sum(records for records, _ in self.dropped.values())
        if self.records != self.documents.num_rows + self.quarantine.num_rows + dropped:
            raise RuntimeError(
                f"a reader lost records: {self.records} seen, {self.documents.num_rows} documents, "
                f"{self.quarantine.num_rows} quarantined, {dropped} dropped"
            )


SHORT_STRETCH = 64

_KINDS = {name: DOCUMENTS.field(name).type for name in _COLUMNS if name != "text"}
_NONE_REJECTED = pa.RecordBatch.from_pylist([], schema=QUARANTINE)


class Collector:
    """Rows and rejections of one span on their way into batches."""

    def __init__(self, span: Span, source_name: str, fields: Fields, limits: Limits) -> None:
        self._span = span
        self._source = source_name
        self._instructions = fields.messages_field is not None
        self._limits = limits
        self._clear()

    def _clear(self) -> None:
        self._parts: list[pa.RecordBatch] = []
        self._rejected: list[tuple[int, int, str, str | None, bytes]] = []
        self._dropped: dict[str, tuple[int, int]] = {}
        self._suspect: list[tuple[int, int]] = []
        self._records = self._blank = self._bytes = self._held = 0
        self._clear_rows()

    def _clear_rows(self) -> None:
        # Flat lists of strings: every garbage collection would walk objects that hold objects.
        self._columns: dict[str, list[str | None]] = {name: [] for name in _COLUMNS}
        self._offsets: list[int] = []
        self._message_ends: list[int] = [0]
        self._roles: list[str] = []
        self._contents: list[str] = []
        self._members: dict[int, Members] = {}  # of those messages that have any

    def add(self, row: Row, offset: int) -> None:
        """A document at ``offset`` of the uncompressed stream (row number in Parquet)."""
        self._records += 1
        self._offsets.append(offset)
        for column, value in zip(self._columns.values(), row[:-1], strict=True):
            column.append(value)  # type: ignore[arg-type]  # all but the last, the messages, are strings
        if row.messages is not None:
            for place, members in row.messages.members.items():
                self._members[len(self._roles) + place] = members
            self._roles.extend(row.messages.roles)
            self._contents.extend(row.messages.contents)
        self._message_ends.append(len(self._roles))

    def extend(self, columns: Columns, offsets: list[int]) -> None:
        """Documents at ascending offsets, none of them a conversation.

        A short stretch joins the rows: a record batch of its own takes 8 KiB whatever is in it.
        """
        self._records += len(offsets)
        if len(offsets) < SHORT_STRETCH:
            self._offsets.extend(offsets)
            for name, column in self._columns.items():
                values = columns[name]
                column.extend(values.to_pylist() if isinstance(values, pa.Array) else values)
            self._message_ends.extend([len(self._roles)] * len(offsets))
            return
        self._close_rows()
        self._parts.append(self._documents(columns, offsets))

    def reject(self, offset: int, length: int, raw: bytes, rejection: RecordRejectedError) -> None:
        """A record for quarantine; ``length`` is its true length, ``raw`` is cut to the limit."""
        self._records += 1
        kept = raw[: self._limits.quarantine_bytes]
        self._rejected.append((offset, length, rejection.reason, rejection.detail, kept))

    def damaged(self, damage: Damage, offset: int, length: int, raw: bytes) -> None:
        """Damage of the stream at ``offset``, with the record that it breaks off; a record of no
        length where there is none.
        """
        if damage.suspect is not None:
            self._suspect.append(damage.suspect)
        detail = f"{damage.detail}; {offset + length} bytes were decoded"
        self.reject(offset, length, raw, RecordRejectedError(damage.reason, detail))

    def drop(self, reason: str, length: int) -> None:
        """A well-formed record of ``length`` bytes that is no document."""
        self._records += 1
        records, total = self._dropped.get(reason, (0, 0))
        self._dropped[reason] = (records + 1, total + length)

    def blank(self, lines: int = 1) -> None:
        """Empty lines."""
        self._blank += lines

    def advance(self, length: int) -> None:
        """Count ``length`` further bytes of the stream as covered."""
        self._bytes += length

    def hold(self, length: int) -> None:
        """Count bytes that documents take in memory, where their input may be much shorter."""
        self._held += length

    @property
    def room(self) -> int:
        """Bytes until the batch is full."""
        return self._limits.batch_bytes - self._bytes

    @property
    def room_held(self) -> int:
        """Bytes of documents in memory until the batch is full."""
        return 2 * self._limits.batch_bytes - self._held

    @property
    def full(self) -> bool:
        """True when the batch covers enough bytes to be handed on, or holds twice as many."""
        return self.room <= 0 or self.room_held <= 0

    @property
    def empty(self) -> bool:
        """True when nothing at all was covered since the last batch."""
        return not (self._records or self._blank or self._bytes)

    def take(self) -> Batch:
        """The batch so far; the collector starts afresh."""
        self._close_rows()
        parts = self._parts or [self._documents(self._columns, self._offsets)]
        documents = (
            parts[0]
            if len(parts) == 1
            else pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
        )
        batch = Batch(
            marked(documents, self._span.suspect),
            self._quarantine(),
            self._records,
            self._blank,
            self._bytes,
            self._dropped,
            tuple(self._suspect),
        )
        self._clear()
        return batch

    def _close_rows(self) -> None:
        """Make the rows that were added one by one a part of the batch."""
        if self._offsets:
            self._parts.append(self._documents(self._columns, self._offsets))
            self._clear_rows()

    def _documents(self, values: Columns, offsets: list[int]) -> pa.RecordBatch:
        path, count = self._span.path, len(offsets)
        texts = _array(values["text"], pa.large_string())
        columns = {
            **{name: _array(values[name], kind) for name, kind in _KINDS.items()},
            "id": document_ids(self._source, _keys(path, values["native_id"], offsets)),
            "text": texts,
            "text_hash": text_hashes(texts),
            "source": _repeated(self._source, count),
            "path": _repeated(path, count),
            "offset": pa.array(offsets, pa.int64()),
        }
        if self._instructions:
            columns["messages"] = self._messages()
            columns["text_hash"] = conversation_hashes(columns["messages"])
        schema = INSTRUCTIONS if self._instructions else DOCUMENTS
        return pa.record_batch([columns[name] for name in schema.names], schema=schema)

    def _messages(self) -> pa.ListArray:
        """Conversations, one per document."""
        fields = list(MESSAGES.value_type)
        count, further = len(self._roles), fields[2:]
        columns = [
            pa.array(self._roles, pa.string()),
            pa.array(self._contents, pa.large_string()),
        ]
        if self._members:
            members = [self._members.get(place, NO_MEMBERS) for place in range(count)]
            columns += [
                pa.array(list(values), field.type)
                for values, field in zip(zip(*members, strict=True), further, strict=True)
            ]
        else:
            columns += [pa.nulls(count, field.type) for field in further]
        return pa.ListArray.from_arrays(
            pa.array(self._message_ends, pa.int32()),
            pa.StructArray.from_arrays(columns, fields=fields),
            type=MESSAGES,
        )

    def _quarantine(self) -> pa.RecordBatch:
        if not self._rejected:
            return _NONE_REJECTED
        offsets, lengths, reasons, details, raws = zip(*self._rejected, strict=True)
        count = len(self._rejected)
        columns = [
            _repeated(self._source, count),
            _repeated(self._span.path, count),
            pa.array(offsets, pa.int64()),
            pa.array(lengths, pa.int64()),
            pa.array(reasons, pa.string()),
            pa.array(details, pa.string()),
            pa.array(raws, pa.large_binary()),
        ]
        return pa.record_batch(columns, schema=QUARANTINE)


def _repeated(value: str, count: int) -> pa.Array:
    return pa.array([value]) if count == 1 else pa.repeat(pa.scalar(value, pa.string()), count)


def _array(values: list[str | None] | pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if values.count(None) < len(values):
        return pa.array(values, kind)
    return _no_value(kind) if len(values) == 1 else pa.nulls(len(values), kind)


@cache
def _no_value(kind: pa.DataType) -> pa.Array:
    return pa.nulls(1, kind)


def _keys(path: str, natives: Any, offsets: list[int]) -> list[bytes]:
    """What each record's id is made from."""
    natives = (
        natives.to_pylist()
        if isinstance(natives, pa.Array) and natives.null_count < len(natives)
        else natives
    )
    if isinstance(natives, pa.Array) or natives.count(None) == len(natives):
        return place_keys(path, offsets)
    return [
        place_key(path, offset) if native is None else native_key(native)
        for native, offset in zip(natives, offsets, strict=True)
    ]
