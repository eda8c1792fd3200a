"""Deciding on a batch that was read, and bringing it into the index: kept documents first, then the segment, the head last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import UserError
from artifacts.ledger import Ledger
from artifacts.paths import Store
from artifacts.publish import FileRef, publish, published
from dedup.index import EXACT, KEPT, NEAR, REASONS, Decision, decide, find_candidates
from dedup.index_columns import NewDocuments, Removed, Segment
from dedup.index_files import (
    BatchRecord,
    IndexHead,
    InputRecord,
    StoredSegment,
    TextFile,
    Texts,
    document_digest,
    kept_positions,
    read_head,
    read_segment,
    write_head,
    write_segment,
)  # fmt: skip
from dedup.words import Rows
from pipelines.index_documents import Read
from pipelines.index_texts import NativeIds, arranged, candidate_sets
from pipelines.kept_documents import _clear as clear_kept
from pipelines.kept_documents import _write_lines as write_lines
from pipelines.kept_documents import _write_table as write_table
from pipelines.readers import Fields

Format = Literal["parquet", "jsonl"]

KEPT_FOLDER, EVIDENCE, QUARANTINED, LEDGER = "kept", "evidence.parquet", "quarantine.parquet", "ledger.json"
FILE_BYTES = 256 << 20  # of text in one file of kept documents
GROUP_BYTES = 4 << 20  # of text in one of its row groups: what is read again for one candidate

EVIDENCE_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("native_id", pa.string()), ("source", pa.string()), ("path", pa.string()), ("offset", pa.int64()),
        ("reason", pa.string()), ("similarity", pa.float32()), ("bands_hit", pa.int32()), ("kept_batch", pa.int64()),
        ("kept_id", pa.string()), ("kept_native_id", pa.string()), ("kept_file", pa.string()), ("kept_row", pa.int64()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class OpenIndex:
    """An index as it is: its head and the columns of its batches."""

    store: Store
    head: IndexHead
    segments: list[StoredSegment]

    @staticmethod
    def of(store: Store, head: IndexHead) -> OpenIndex:
        """Open all batches. Raises: UserError for one that is not whole."""
        return OpenIndex(store, head, [read_segment(store, batch) for batch in head.batches])

    @staticmethod
    def at(index: str) -> OpenIndex:
        """Open the index in a folder. Raises: UserError where there is none."""
        store = existing_index(index)
        head = read_head(store)
        assert head is not None
        return OpenIndex.of(store, head)

    @property
    def columns(self) -> list[Segment]:
        return [stored.segment for stored in self.segments]

    @property
    def kept(self) -> int:
        """Kept documents of all batches."""
        return sum(len(stored.segment) for stored in self.segments)


@dataclass(frozen=True)
class Decided:
    """A batch and what becomes of it: ``order``, the documents read in keep order, in which ``new`` and ``decision`` are; ``names``:
    native ids of earlier kept documents by number."""

    read: Read
    order: Rows
    new: NewDocuments
    decision: Decision
    names: NativeIds

    def rows(self, *reasons: int) -> Rows:
        """Rows, in keep order, of which this becomes."""
        return np.flatnonzero(np.isin(self.decision.reason, reasons))


@dataclass(frozen=True)
class Rest:
    """Removed documents of a merged index that need no new decision: the columns of ``removed`` (but for batch and row), ``stands``:
    row of ``decided.new`` that stands for each; places, inputs, offsets of them; ``ranks``: place of each row of ``decided.new``."""

    removed: Removed
    stands: Rows
    places: Rows
    inputs: Rows
    offsets: Rows
    ranks: Rows

    def count(self, reason: int) -> int:
        return int((self.removed.reason == reason).sum())


def decide_batch(index: OpenIndex, read: Read, priority: Rows) -> Decided:
    """Hold a batch against the index; texts are read again of candidates only. Raises: UserError for texts that are gone or changed."""
    settings = index.head.settings
    order = np.argsort(priority)
    new = read.new(order)
    found = find_candidates(index.columns, new, settings.max_comparisons)
    copied = np.unique(found.stands[found.stands >= 0])
    copied = np.unique(found.stands[found.stands >= 0])
    old, names = candidate_sets(index.head.batches, index.segments, found.earlier, copied, settings.config)
    wanted = np.zeros(len(read), bool)
    wanted[order] = found.wanted
    rows, parts = read.shingle_sets(wanted, settings.config)
    sets = arranged(priority[rows], parts, len(read))
    return Decided(read, order, new, decide(new, found, old, sets, settings.verify, index.kept), names)


def publish_batch(
    index: OpenIndex,
    decided: Decided,
    out: Store,
    fields: Fields,
    format: Format,
    keep: str,
    inputs: list[InputRecord],
    rest: Rest | None = None,
) -> BatchRecord:
    """Write the kept documents and the evidence to ``out``, the segment into the index, and name it in the head.

    ``fields``: names under which JSON Lines get texts and ids; ``inputs``: the files behind ``decided.read.files``, in their order.
    """
    number = len(index.head.batches) + 1
    read, decision = decided.read, decided.decision
    file, row, names = _files_of(read, decided.order[decided.rows(KEPT)], format)
    for name in (EVIDENCE, QUARANTINED, LEDGER):
        out.delete(name)
    refs = _write_kept(index, decided, out, file, names, fields, format)
    texts = Texts(
        folder=out.root, format=format, text_field=fields.text_field, id_field=fields.id_field,
        files=[TextFile(name=ref.name, rows=ref.rows, bytes=ref.bytes, checksum=ref.checksum) for ref in refs],
    )  # fmt: skip
    stored = _segment(index, decided, file, row, rest)
    counts = {reason: len(decided.rows(code)) + (rest.count(code) if rest else 0) for code, reason in enumerate(REASONS)}
    facts = {"compared": decision.compared, "skipped": decision.skipped, "bounded": decision.bounded}
    ledger = _ledger(decided)
    _write_table(out, EVIDENCE, _evidence(index, decided, stored, texts, number))
    _write_table(out, QUARANTINED, read.quarantine)
    out.write(LEDGER, orjson.dumps([part.to_json() for part in (*read.ledgers, ledger)], option=orjson.OPT_INDENT_2) + b"\n")
    digest = document_digest(read.ids, read.hashes)
    decides = {
        "settings": index.head.settings.model_dump(), "documents": digest, "keep": keep, "texts": [ref.checksum for ref in refs],
        "earlier": [batch.checksum for batch in index.head.batches],
    }  # fmt: skip
    segment, checksum = write_segment(index.store, number, stored, decides)
    record = BatchRecord(
        number=number, segment=segment, checksum=checksum, documents=digest, keep=keep, counts=counts, facts=facts, texts=texts,
        inputs=inputs,
    )  # fmt: skip
    write_head(index.store, index.head.model_copy(update={"batches": [*index.head.batches, record]}))
    return record


def existing_index(index: str) -> Store:
    """The store of an index that is there. Raises: UserError."""
    store = Store(index.rstrip("/") or "/")
    if read_head(store) is None:
        raise UserError("no index here", file=store.root, field="index", fix="name its folder; `windtunnel dedup index add` makes one")
    return store


def check_output(index: OpenIndex, out: Store) -> None:
    """Refuse a folder that lies in the index, or that holds what another one wrote. Raises: UserError."""
    there = published(out, KEPT_FOLDER)
    if there is not None and there.inputs.get("index") != index.store.root:
        message = "this folder holds kept documents that are not of this index"
        raise UserError(message, file=out.full(KEPT_FOLDER), field="output", fix="choose another folder, or remove them first")
    if f"{out.root}/".startswith(f"{index.store.root}/"):
        raise UserError("this folder lies in the index", file=out.root, field="output", fix="choose a folder beside it")


def check_unused(index: OpenIndex, out: Store) -> None:
    """Refuse a folder whose kept documents the index rests on. Raises: UserError."""
    for batch in index.head.batches:
        if batch.texts.folder == out.root:
            fix = f"choose another folder, or take the batch back first: rollback {batch.number} --cascade"
            raise UserError(f"this folder holds the kept documents of batch {batch.number}", file=out.root, field="output", fix=fix)


def _files_of(read: Read, kept: Rows, format: str) -> tuple[Rows, Rows, list[str]]:
    """For each document read the number of the file it goes to (-1: none) and its row there; and the files' names."""
    rows = np.sort(kept)
    source, sizes = read.source[rows], read.columns["bytes"].to_numpy()[rows]
    part = np.zeros(len(rows), np.int64)
    for number in np.unique(source):
        here = source == number
        part[here] = (np.cumsum(sizes[here]) - sizes[here]) // FILE_BYTES
    pairs, file_of, counts = np.unique(source << 32 | part, return_inverse=True, return_counts=True)
    place: dict[int, int] = {}
    names = []
    for pair in pairs.tolist():  # files are numbered without gaps, whatever the sizes of documents
        number = place[pair >> 32] = place.get(pair >> 32, -1) + 1
        names.append(f"{read.sources[pair >> 32]}-{number:05d}.{'parquet' if format == 'parquet' else 'jsonl.zst'}")
    file, row = np.full(len(read), -1, np.int64), np.zeros(len(read), np.int64)
    file[rows] = file_of
    grouped = np.argsort(file_of, kind="stable")
    row[rows[grouped]] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return file, row, names


def _write_kept(
    index: OpenIndex, decided: Decided, out: Store, file: Rows, names: list[str], fields: Fields, format: Format
) -> list[FileRef]:
    clear_kept(out, KEPT_FOLDER)
    read = decided.read
    documents = document_digest(read.ids, read.hashes)
    inputs = {"work": "index_kept", "version": 1, "index": index.store.root, "number": len(index.segments) + 1, "documents": documents}
    with publish(out, KEPT_FOLDER, inputs) as unit:
        for place, name in enumerate(names):
            if format == "parquet":
                write_table(unit, name, _grouped(read, file == place))
            else:
                write_lines(unit, name, _grouped(read, file == place), fields)
    return list(unit.files)


def _grouped(read: Read, mask: Any) -> Iterator[pa.RecordBatch]:
    """Documents in batches of about GROUP_BYTES."""
    for _, batch in read.batches(mask):
        step = max(1, batch.num_rows * GROUP_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def _segment(index: OpenIndex, decided: Decided, file: Rows, row: Rows, rest: Rest | None) -> StoredSegment:
    new, decision, read = decided.new, decided.decision, decided.read
    kept, gone = decided.order[decided.rows(KEPT)], decided.rows(EXACT, NEAR)
    batch, place = _standing(index, decided, gone)
    removed = Removed(
        new.ids[gone], new.hashes[gone], batch.astype(np.uint32), place.astype(np.uint32), decision.similarity[gone],
        decision.bands_hit[gone].astype(np.uint16), decision.reason[gone],
    )  # fmt: skip
    listed = np.isin(decision.reason, (KEPT, EXACT, NEAR))
    ranks = (np.cumsum(listed) - 1)[gone]
    origin = decided.order[gone]
    inputs, offsets = read.file[origin], read.offset[origin]
    if rest is not None:
        own = (np.cumsum(decision.kept) - 1)[rest.stands].astype(np.uint32)
        there = rest.removed
        this = np.full(len(own), len(index.segments)).astype(np.uint32)
        there = Removed(there.ids, there.hashes, this, own, there.similarity, there.bands_hit, there.reason)
        columns = (np.concatenate([getattr(removed, name), getattr(there, name)]) for name in Removed.__dataclass_fields__)
        removed = Removed(*columns)
        present = np.sort(np.concatenate([rest.ranks[listed], rest.places]))
        ranks = np.searchsorted(present, np.concatenate([rest.ranks[gone], rest.places]))
        inputs, offsets = np.concatenate([inputs, rest.inputs]), np.concatenate([offsets, rest.offsets])
    return StoredSegment(
        Segment.kept_of(new, decision.kept, removed), file[kept].astype(np.uint32), row[kept].astype(np.uint32), ranks.astype(np.uint32),
        inputs.astype(np.uint32), offsets.astype(np.uint64),
    )  # fmt: skip


def _standing(index: OpenIndex, decided: Decided, rows: Rows) -> tuple[Rows, Rows]:
    """Batch (from 0) and row among its kept documents of who stands for the given rows."""
    numbers, before = decided.decision.stands[rows], index.kept
    own = numbers >= before
    batch, place = np.full(len(rows), len(index.segments), np.int64), np.zeros(len(rows), np.int64)
    batch[~own], place[~own] = kept_positions(index.segments, numbers[~own])
    place[own] = (np.cumsum(decided.decision.kept) - 1)[numbers[own] - before]
    return batch, place


def _evidence(index: OpenIndex, decided: Decided, stored: StoredSegment, texts: Texts, number: int) -> pa.Table:
    """What did not stay, in keep order, and who stands for it."""
    read, decision = decided.read, decided.decision
    rows = np.flatnonzero(~decision.kept)
    known = decision.stands[rows] >= 0
    batch, place = _standing(index, decided, rows[known])
    records = [*index.head.batches, None]
    segments = [*index.segments, stored]
    standing = decision.stands[rows[known]]
    own = decided.order[standing[standing >= index.kept] - index.kept]
    asked = np.zeros(len(read), bool)
    asked[decided.order[rows]] = asked[own] = True
    native, path = np.full(len(read), None, object), np.full(len(read), None, object)
    for some, documents in read.batches(asked):
        native[some], path[some] = documents["native_id"].to_pylist(), documents["path"].to_pylist()
    facts: dict[str, list[Any]] = {name: [None] * len(rows) for name in EVIDENCE_SCHEMA.names if name.startswith("kept_")}
    for where, b, p, n in zip(np.flatnonzero(known).tolist(), batch.tolist(), place.tolist(), standing.tolist(), strict=True):
        record, segment = records[b], segments[b]
        own_texts = texts if record is None else record.texts
        facts["kept_batch"][where] = number if record is None else record.number
        facts["kept_id"][where] = segment.segment.ids[p].tobytes().hex()
        facts["kept_native_id"][where] = native[decided.order[n - index.kept]] if n >= index.kept else decided.names.get(n)
        facts["kept_file"][where] = own_texts.url(own_texts.files[segment.file[p]])
        facts["kept_row"][where] = int(segment.row[p])
    origin = decided.order[rows]
    columns = {
        "id": [value.tobytes().hex() for value in decided.new.ids[rows]],
        "native_id": native[origin].tolist(),
        "source": [read.sources[source] for source in read.source[origin]],
        "path": path[origin].tolist(),
        "offset": read.offset[origin],
        "reason": [REASONS[code] for code in decision.reason[rows]],
        "similarity": pa.array(decision.similarity[rows], mask=~known),
        "bands_hit": pa.array(decision.bands_hit[rows], mask=~known),
        **facts,
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in EVIDENCE_SCHEMA], schema=EVIDENCE_SCHEMA)


def _ledger(decided: Decided) -> Ledger:
    """What the index did with the documents of each source, bytes being those of texts. Raises: LedgerError."""
    ledger, read = Ledger("index"), decided.read
    sizes, source = read.columns["bytes"].to_numpy()[decided.order], read.source[decided.order]
    for number, name in enumerate(read.sources):
        entry, here = ledger.entry(name), source == number
        entry.entered.add(int(here.sum()), int(sizes[here].sum()))
        for code, reason in enumerate(REASONS):
            mask = here & (decided.decision.reason == code)
            if code == KEPT:
                entry.kept.add(int(mask.sum()), int(sizes[mask].sum()))
            elif mask.any():
                entry.drop(reason, int(mask.sum()), int(sizes[mask].sum()))
    ledger.check()
    return ledger


def _write_table(out: Store, name: str, table: pa.Table) -> None:
    with out.writer(name) as file:
        pq.write_table(table, pa.PythonFile(file, mode="w"), compression="zstd")
