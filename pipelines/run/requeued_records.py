"""Single records read again: from their bytes in quarantine, or from their files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words, document_ids, place_key
from artifacts.paths import Store
from artifacts.schemas import DOCUMENTS, INSTRUCTIONS
from artifacts.tables import read_parquet
from pipelines.chunks.lost_files import ENDS_A_FILE
from pipelines.corpus.chunk import Chunk
from pipelines.readers import Fields, Limits, Span, format_of, read
from pipelines.stages.bounded_steps import TIME_LIMIT

_DUPLICATE = "duplicate_key"
_WORDS = np.dtype([("high", np.uint64), ("low", np.uint64)])
_AS_JSON = ("jsonl", "parquet")  # formats whose quarantined bytes are a record in JSON


class Outcome(NamedTuple):
    """A quarantined record with what became of it; ``now``: why it is no document, null for one."""

    row: dict[str, Any]  # as quarantined
    status: str
    now: str | None

    @property
    def reason(self) -> str:
        """That of the run."""
        return str(self.row["reason"])


class FileThen(NamedTuple):
    """A file where it lies now, and whether its content is what the run read."""

    url: str
    unchanged: Callable[[], bool]


class RunIds:
    """Ids of the documents that a run has of one source, and of those that are added to them."""

    def __init__(self, store: Store, chunks: Sequence[Chunk], source: str) -> None:
        parts = [
            as_words(
                read_parquet(store, chunk.records.name, "documents", ["id"])["id"].combine_chunks()
            )
            for chunk in chunks
            if chunk.source == source and chunk.records.rows
        ]
        words = np.concatenate([np.empty((0, 2), np.uint64), *parts])
        self._sorted = np.sort(np.ascontiguousarray(words).view(_WORDS).ravel())
        self._added: set[bytes] = set()

    def new(self, ids: pa.FixedSizeBinaryArray) -> NDArray[np.bool_]:
        """Which of these ids nobody has; they are then somebody's."""
        words = np.ascontiguousarray(as_words(ids)).view(_WORDS).ravel()
        place = np.searchsorted(self._sorted, words)
        there = np.zeros(len(words), np.bool_)
        inside = place < len(self._sorted)
        there[inside] = self._sorted[place[inside]] == words[inside]
        for row, value in enumerate(ids.to_pylist()):
            there[row] |= value in self._added
            self._added.add(value)
        return ~there


def _ids(store: Store, chunk: Chunk) -> pa.FixedSizeBinaryArray:
    return read_parquet(store, chunk.records.name, "documents", ["id"])["id"].combine_chunks()


class ReadAgain:
    """Reads quarantined records of one source; what needs its file waits for :meth:`files_of`."""

    def __init__(
        self,
        source: str,
        format: str,
        fields: Fields,
        limits: Limits,
        files: dict[str, FileThen],
        ids: RunIds,
    ) -> None:
        self._source = source
        self._format = format
        self._fields = fields
        self._limits = limits
        self._files = files
        self._ids = ids
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    def bytes_of(self, batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, list[Outcome]]]:
        """Documents and outcomes of the records whose bytes are whole."""
        ready, tried = [], []
        for row in batch.to_pylist():
            if row["reason"] == TIME_LIMIT:
                tried.append(Outcome(row, "still_quarantined", "the next call of its run tries it"))
            elif self._whole(row):
                ready.append(row)
            else:
                self._waiting.setdefault(row["path"], []).append(row)
        if tried:
            yield self._none(), tried
        if not ready:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "records.jsonl"
            path.write_bytes(b"".join(row["raw"] + b"\n" for row in ready))
            starts = np.cumsum([0, *(len(row["raw"]) + 1 for row in ready)])
            documents, rejected = self._read(Span(str(path), "records.jsonl"), "jsonl")
        rows = np.searchsorted(starts, documents["offset"].to_numpy())
        bad = {int(np.searchsorted(starts, place)): why for place, why in rejected}
        documents = self._placed(documents, [ready[row] for row in rows.tolist()])
        yield self._outcomes(documents, rows, ready, bad)

    def files_of(self) -> Iterator[tuple[pa.RecordBatch, list[Outcome]]]:
        """Documents and outcomes of the records that have to be read from their files."""
        for path, rows in sorted(self._waiting.items()):
            file = self._files.get(path)
            why = None
            if file is None:
                why = "its bytes are cut, and its file is not where the recipe says"
            elif not file.unchanged():
                why = "its bytes are cut, and its file is another now: a run reads it"
            if why is not None or file is None:
                yield self._none(), [Outcome(row, "not_possible", why) for row in rows]
                continue
            documents, rejected = self._read(Span(file.url, path), self._format)
            starts, ends = self._stretches(rows)
            owner = _owners(documents["offset"].to_numpy(), starts, ends)
            places = np.array([place for place, _ in rejected], np.int64)
            reasons = [why for _, why in rejected]
            bad = {
                int(row): why
                for row, why in zip(_owners(places, starts, ends).tolist(), reasons, strict=True)
                if row >= 0
            }
            mine = pa.array(owner >= 0)
            yield self._outcomes(documents.filter(mine), owner[owner >= 0], rows, bad)

    def _whole(self, row: dict[str, Any]) -> bool:
        """Whether a record's bytes in quarantine are all of it, as one line of JSON."""
        kind = format_of(row["path"], self._format)
        return (
            kind in _AS_JSON
            and row["reason"] not in (_DUPLICATE, *ENDS_A_FILE)
            and 0 < row["length"] == len(row["raw"])
            and b"\n" not in row["raw"]
        )

    def _stretches(self, rows: list[dict[str, Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets [start, end) that the records cover, ascending starts; those that end a file
        reach to its end.
        """
        starts = np.array([row["offset"] for row in rows], np.int64)
        in_rows = format_of(rows[0]["path"], self._format) == "parquet"
        ends = np.array(
            [
                np.iinfo(np.int64).max
                if row["reason"] in ENDS_A_FILE
                else row["offset"] + (1 if in_rows else max(1, row["length"]))
                for row in rows
            ],
            np.int64,
        )
        return starts, ends

    def _read(self, span: Span, format: str) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
        """All documents of a file, and where records are none, with the reason."""
        batches: list[pa.RecordBatch] = []
        rejected: list[tuple[int, str]] = []
        for batch in read(span, format, self._source, self._fields, self._limits):
            batches.append(batch.documents)
            bad = batch.quarantine
            rejected += zip(bad["offset"].to_pylist(), bad["reason"].to_pylist(), strict=True)
        if not batches:
            return self._none(), rejected
        table = pa.Table.from_batches(batches).combine_chunks()
        return (table.to_batches() or [self._none()])[0], rejected

    def _none(self) -> pa.RecordBatch:
        schema = INSTRUCTIONS if self._fields.messages_field else DOCUMENTS
        return pa.RecordBatch.from_pylist([], schema=schema)

    def _placed(self, documents: pa.RecordBatch, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        """Documents with the places of the records they come from, and the ids that follow."""
        natives = documents["native_id"].to_pylist()
        own = [place_key(row["path"], row["offset"]) for row in rows]
        by_place = document_ids(self._source, own).to_pylist()
        ids = [
            read if native is not None else placed
            for read, native, placed in zip(
                documents["id"].to_pylist(), natives, by_place, strict=True
            )
        ]
        columns = {
            "id": pa.array(ids, documents.schema.field("id").type),
            "path": pa.array([row["path"] for row in rows], pa.string()),
            "offset": pa.array([row["offset"] for row in rows], pa.int64()),
        }
        arrays = [columns.get(name, documents[name]) for name in documents.schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=documents.schema)

    def _outcomes(
        self,
        documents: pa.RecordBatch,
        owner: NDArray[np.int64],
        rows: list[dict[str, Any]],
        bad: dict[int, str],
    ) -> tuple[pa.RecordBatch, list[Outcome]]:
        """Documents whose ids are new, and what became of each record; owner: (d,) its record."""
        new = self._ids.new(documents["id"])
        became, copies = set(owner[new].tolist()), set(owner[~new].tolist())
        outcomes = []
        for number, row in enumerate(rows):
            if number in became:
                outcomes.append(Outcome(row, "document", None))
            elif number in bad:
                outcomes.append(Outcome(row, "still_quarantined", bad[number]))
            else:
                why = _DUPLICATE if number in copies else "left out by kind"
                outcomes.append(Outcome(row, "still_quarantined", why))
        return documents.filter(pa.array(new)), outcomes


def _owners(
    places: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each place the last stretch that begins at or before it and holds it, -1 for none."""
    order = np.argsort(starts, kind="stable")
    before = np.searchsorted(starts[order], places, side="right") - 1
    owner = np.where(before >= 0, order[np.maximum(before, 0)], -1)
    held = (owner >= 0) & (places < ends[np.maximum(owner, 0)])
    return np.where(held, owner, -1)
