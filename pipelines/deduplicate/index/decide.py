"""Deciding on a batch that was read, and bringing it into the index: kept documents first, then the
segment, the head last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.fingerprints import content_key
from artifacts.ledger import Ledger
from artifacts.paths import Store
from artifacts.settings import key_settings
from dedup.index.columns import NewDocuments, Removed, Segment
from dedup.index.decide import EXACT, KEPT, NEAR, REASONS, Decision, decide, find_candidates
from dedup.index.files import (
    BatchRecord,
    InputRecord,
    TextFile,
    Texts,
    write_head,
)
from dedup.index.segments import StoredSegment, document_digest, kept_positions, write_segment
from dedup.words import Rows
from pipelines.deduplicate.index.documents import Read
from pipelines.deduplicate.index.opened import OpenIndex
from pipelines.deduplicate.index.output import (
    EVIDENCE,
    LEDGER,
    QUARANTINED,
    Format,
    files_of,
    write_kept,
)
from pipelines.deduplicate.index.texts import NativeIds, arranged, candidate_sets
from pipelines.readers import Fields

EVIDENCE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("native_id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("reason", pa.string()),
        ("similarity", pa.float32()),
        ("bands_hit", pa.int32()),
        ("kept_batch", pa.int64()),
        ("kept_id", pa.string()),
        ("kept_native_id", pa.string()),
        ("kept_file", pa.string()),
        ("kept_row", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Decided:
    """A batch and what becomes of it: ``order``, the documents read in keep order, in which ``new``
    and ``decision`` are; ``names``: native ids of earlier kept documents by number.
    """

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
    """Removed documents of a merged index that need no new decision: the columns of ``removed``
    (but for batch and row), ``stands``: row of ``decided.new`` that stands for each; places,
    inputs, offsets of them; ``ranks``: place of each row of ``decided.new``.
    """

    removed: Removed
    stands: Rows
    places: Rows
    inputs: Rows
    offsets: Rows
    ranks: Rows

    def count(self, reason: int) -> int:
        return int((self.removed.reason == reason).sum())


def decide_batch(index: OpenIndex, read: Read, priority: Rows) -> Decided:
    """Hold a batch against the index; texts are read again of candidates only. Raises: UserError
    for texts that are gone or changed.
    """
    settings = index.head.settings
    order = np.argsort(priority)
    new = read.new(order)
    found = find_candidates(index.columns, new, settings.max_comparisons)
    copied = np.unique(found.stands[found.stands >= 0])
    old, names = candidate_sets(
        index.head.batches, index.segments, found.earlier, copied, settings.config
    )
    wanted = np.zeros(len(read), bool)
    wanted[order] = found.wanted
    rows, parts = read.shingle_sets(wanted, settings.config)
    sets = arranged(priority[rows], parts, len(read))
    return Decided(
        read, order, new, decide(new, found, old, sets, settings.verify, index.kept), names
    )


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
    """Write the kept documents and the evidence to ``out``, the segment into the index, and name it
    in the head.

    ``fields``: names under which JSON Lines get texts and ids; ``inputs``: the files behind
    ``decided.read.files``, in their order.
    """
    number = len(index.head.batches) + 1
    read, decision = decided.read, decided.decision
    file, row, names = files_of(read, decided.order[decided.rows(KEPT)], format)
    for name in (EVIDENCE, QUARANTINED, LEDGER):
        out.delete(name)
    refs = write_kept(index, read, out, file, names, fields, format)
    texts = Texts(
        folder=out.root, format=format, text_field=fields.text_field, id_field=fields.id_field,
        files=[
            TextFile(name=ref.name, rows=ref.rows, bytes=ref.bytes, checksum=ref.checksum)
            for ref in refs
        ],
    )  # fmt: skip
    stored = _segment(index, decided, file, row, rest)
    counts = {
        reason: len(decided.rows(code)) + (rest.count(code) if rest else 0)
        for code, reason in enumerate(REASONS)
    }
    facts = {
        "compared": decision.compared,
        "skipped": decision.skipped,
        "bounded": decision.bounded,
    }
    _write_table(out, EVIDENCE, _evidence(index, decided, stored, texts, number))
    _write_table(out, QUARANTINED, read.quarantine)
    ledgers = [part.to_json() for part in (*read.ledgers, _ledger(decided))]
    out.write(LEDGER, orjson.dumps(ledgers, option=orjson.OPT_INDENT_2) + b"\n")
    digest = document_digest(read.ids, read.hashes)
    decides = {
        "settings": key_settings(index.head.settings), "documents": digest, "keep": keep,
        "texts": [ref.checksum for ref in refs],
        "earlier": content_key({"batches": [batch.checksum for batch in index.head.batches]}),
    }  # fmt: skip
    segment, checksum = write_segment(index.store, number, stored, decides)
    record = BatchRecord(
        number=number, segment=segment, checksum=checksum, documents=digest, keep=keep,
        counts=counts, facts=facts, texts=texts, inputs=inputs,
    )  # fmt: skip
    write_head(
        index.store, index.head.model_copy(update={"batches": [*index.head.batches, record]})
    )
    return record


def _segment(
    index: OpenIndex, decided: Decided, file: Rows, row: Rows, rest: Rest | None
) -> StoredSegment:
    new, decision, read = decided.new, decided.decision, decided.read
    kept, gone = decided.order[decided.rows(KEPT)], decided.rows(EXACT, NEAR)
    batch, place = _standing(index, decided, gone)
    removed = Removed(
        new.ids[gone],
        new.hashes[gone],
        batch.astype(np.uint32),
        place.astype(np.uint32),
        decision.similarity[gone],
        decision.bands_hit[gone].astype(np.uint16),
        decision.reason[gone],
    )
    listed = np.isin(decision.reason, (KEPT, EXACT, NEAR))
    ranks = (np.cumsum(listed) - 1)[gone]
    origin = decided.order[gone]
    inputs, offsets = read.file[origin], read.offset[origin]
    if rest is not None:
        own = (np.cumsum(decision.kept) - 1)[rest.stands].astype(np.uint32)
        there = rest.removed
        this = np.full(len(own), len(index.segments)).astype(np.uint32)
        there = Removed(
            there.ids, there.hashes, this, own, there.similarity, there.bands_hit, there.reason
        )
        columns = (
            np.concatenate([getattr(removed, name), getattr(there, name)])
            for name in Removed.__dataclass_fields__
        )
        removed = Removed(*columns)
        present = np.sort(np.concatenate([rest.ranks[listed], rest.places]))
        ranks = np.searchsorted(present, np.concatenate([rest.ranks[gone], rest.places]))
        inputs, offsets = (
            np.concatenate([inputs, rest.inputs]),
            np.concatenate([offsets, rest.offsets]),
        )
    return StoredSegment(
        Segment.kept_of(new, decision.kept, removed),
        file[kept].astype(np.uint32),
        row[kept].astype(np.uint32),
        ranks.astype(np.uint32),
        inputs.astype(np.uint32),
        offsets.astype(np.uint64),
    )


def _standing(index: OpenIndex, decided: Decided, rows: Rows) -> tuple[Rows, Rows]:
    """Batch (from 0) and row among its kept documents of who stands for the given rows."""
    numbers, before = decided.decision.stands[rows], index.kept
    own = numbers >= before
    batch, place = np.full(len(rows), len(index.segments), np.int64), np.zeros(len(rows), np.int64)
    batch[~own], place[~own] = kept_positions(index.segments, numbers[~own])
    place[own] = (np.cumsum(decided.decision.kept) - 1)[numbers[own] - before]
    return batch, place


def _evidence(
    index: OpenIndex, decided: Decided, stored: StoredSegment, texts: Texts, number: int
) -> pa.Table:
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
    facts: dict[str, list[Any]] = {
        name: [None] * len(rows) for name in EVIDENCE_SCHEMA.names if name.startswith("kept_")
    }
    for where, b, p, n in zip(
        np.flatnonzero(known).tolist(),
        batch.tolist(),
        place.tolist(),
        standing.tolist(),
        strict=True,
    ):
        record, segment = records[b], segments[b]
        own_texts = texts if record is None else record.texts
        facts["kept_batch"][where] = number if record is None else record.number
        facts["kept_id"][where] = segment.segment.ids[p].tobytes().hex()
        facts["kept_native_id"][where] = (
            native[decided.order[n - index.kept]] if n >= index.kept else decided.names.get(n)
        )
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
    return pa.table(
        [pa.array(columns[field.name], field.type) for field in EVIDENCE_SCHEMA],
        schema=EVIDENCE_SCHEMA,
    )


def _ledger(decided: Decided) -> Ledger:
    """What the index did with the documents of each source, bytes being those of texts. Raises:
    LedgerError.
    """
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
