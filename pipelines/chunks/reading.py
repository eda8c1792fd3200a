"""Reading a chunk's spans into documents, and taking repeated keys out again: the steps of a run
that no stage asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.errors import UserError
from artifacts.fingerprints import libraries, stamp
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Manifest, Publication
from artifacts.schemas import DOCUMENTS, INSTRUCTIONS, QUARANTINE
from artifacts.settings import key_settings
from artifacts.tables import open_parquet, read_parquet, read_schema, write_parquet
from pipelines.chunks.lost_files import SpanDamage, lost_file
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.document_files import Compression, open_documents
from pipelines.corpus.set_aside import in_place_order, quarantine_rows
from pipelines.corpus.texts import HeldBatches
from pipelines.readers import Fields, Limits, Span, format_of, libraries_of, read
from pipelines.stages.chunk_work import ChunkWork, Resources

Stretches = tuple[tuple[int, int], ...]  # offsets [start, end) of a stream

LOST = "lost"
"""The fact of a unit of :class:`ReadStep` that names files of which a part is gone."""


class _OwnStep:
    """What the run's own steps have in common: they are about every chunk, and make its documents
    and quarantine.
    """

    area: ClassVar[str] = "documents"
    chooses: ClassVar[bool] = True
    occasional: ClassVar[bool] = False

    def has_work(self, chunk: Chunk) -> bool:
        return True

    def passed_over(self, store: Store, chunk: Chunk) -> None:
        return None

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        return replace(
            chunk,
            documents=manifest.file("documents.parquet"),
            quarantine=manifest.file("quarantine.parquet"),
        )


@dataclass(frozen=True)
class ReadStep(_OwnStep):
    """Turns a chunk's spans into documents and quarantine."""

    format: str
    fields: Fields
    limits: Limits
    compression: Compression = "zstd"
    name: str = "read"
    version: ClassVar[int] = 8

    def settings(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "fields": key_settings(self.fields),
            "limits": key_settings(self.limits),
            "compression": self.compression,
        }

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        spans = [
            [digest, span.path, span.start, span.end]
            for digest, span in zip(chunk.digests, chunk.spans, strict=True)
        ]
        formats = [format_of(span.path, self.format) for span in chunk.spans]
        return {
            "source": chunk.source,
            "version": self.version,
            "libraries": libraries(*libraries_of(formats)),
            "settings": self.settings(),
            "spans": spans,
        }

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        """Read every span; once more where a stretch failed its checksum, to mark its documents.
        Raises: UserError where a file changed since the run was planned.
        """
        spans = work.chunk.spans
        entry, suspect = self._read(work, unit, spans)
        if any(suspect):
            unit.begin_again()
            pairs = zip(spans, suspect, strict=True)
            entry, _ = self._read(
                work, unit, [replace(span, suspect=stretches) for span, stretches in pairs]
            )
        return entry

    def _read(
        self, work: ChunkWork, unit: Publication, spans: Sequence[Span]
    ) -> tuple[Entry, list[Stretches]]:
        """What was read, and of each span the stretches that failed a checksum."""
        chunk, entry, held = work.chunk, Entry(), HeldBatches()
        suspect: list[Stretches] = []
        lost: list[dict[str, Any]] = []
        schema = DOCUMENTS if self.fields.messages_field is None else INSTRUCTIONS
        with (
            open_documents(unit, schema, self.compression) as documents,
            open_parquet(unit, "quarantine.parquet", QUARANTINE) as bad,
        ):
            for span, mark in zip(spans, chunk.stamps, strict=True):
                suspect.append(())
                damage = SpanDamage()
                for batch in read(span, self.format, chunk.source, self.fields, self.limits):
                    account(entry, batch)
                    suspect[-1] += batch.suspect
                    damage.add(batch)
                    documents.write(batch.documents)
                    bad.write(batch.quarantine)
                    if work.hold:
                        held.add(batch.documents)
                if stamp(span.url) != mark:
                    raise UserError(
                        "the file changed while it was read",
                        file=span.url,
                        fix="run again once it is no longer written to",
                    )
                if (gone := lost_file(span, damage, self.limits)) is not None:
                    lost.append(gone)
        if lost:
            unit.facts[LOST] = lost
        work.just_read = held.batches if work.hold else None
        return entry, suspect


@dataclass(frozen=True)
class RemoveRowsStep(_OwnStep):
    """Moves records whose key was seen before out of a chunk's documents, into quarantine."""

    rows: tuple[int, ...]
    quarantine_bytes: int
    compression: Compression = "zstd"
    name: str = "unique"
    version: ClassVar[int] = 4
    libraries: ClassVar[tuple[str, ...]] = ("pyarrow", "orjson")

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        assert chunk.quarantine is not None
        return {
            "rows": list(self.rows),
            "quarantine_bytes": self.quarantine_bytes,
            "compression": self.compression,
            "documents": chunk.text_version(),
            "quarantine": chunk.quarantine.checksum,
            "version": self.version,
            "libraries": libraries(*self.libraries),
        }

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        chunk, entry, start = work.chunk, Entry(), 0
        assert chunk.quarantine is not None
        removed: list[pa.Table] = []
        schema = read_schema(work.store, chunk.records.name)
        with open_documents(unit, schema, self.compression) as documents:
            for batch in work.texts.batches():
                stay = ~np.isin(np.arange(start, start + batch.num_rows), self.rows)
                start += batch.num_rows
                sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
                documents.write(batch.filter(pa.array(stay)))
                gone = pa.Table.from_batches([batch.filter(pa.array(~stay))])
                removed.append(duplicates(gone, self.quarantine_bytes))
                entry.entered.add(batch.num_rows, int(sizes.sum()))
                entry.kept.add(int(stay.sum()), int(sizes[stay].sum()))
                entry.quarantine("duplicate_key", int((~stay).sum()), int(sizes[~stay].sum()))
        old = read_parquet(work.store, chunk.quarantine.name, "quarantine")
        table = in_place_order(old, *removed)
        write_parquet(unit, "quarantine.parquet", QUARANTINE, [table])
        return entry


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
    """Quarantine rows for documents whose key came twice."""
    details = [f"id {value.hex()} was seen before" for value in documents["id"].to_pylist()]
    return quarantine_rows(documents, "duplicate_key", details, most_bytes)
