"""Steps over one chunk: measure, rewrite, choose. Each says what its unit follows from, makes it,
and moves the chunk on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.ids import text_hashes
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Manifest, Publication
from artifacts.schemas import REWRITE, SELECTION, signals
from artifacts.tables import read_parquet, write_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import all_kept, drop, kept_mask
from pipelines.stages.base import (
    Choose,
    Measure,
    PrepareStep,
    Rewrite,
    Step,
    StepOrder,
    fingerprint,
)
from pipelines.stages.chunk_work import ChunkWork, DocumentsInMemory, Resources

DOCUMENTS_READ = "documents/read"
"""The table of columns of the documents as read; no step can have this name."""

JUDGED = "judged"
"""The fact of a choosing step's unit that counts whom its rule sets were applied to."""


@dataclass(frozen=True)
class MeasureStep(Step):
    """Adds signal columns. ``resource``: makes the files that the measure reads."""

    rule: Measure
    resource: PrepareStep | None = None

    area: ClassVar[str] = "signals"
    chooses: ClassVar[bool] = False
    needs_text_alone: ClassVar[bool] = True

    def join(self, order: StepOrder) -> None:
        order.chained(self)

    def signals(self) -> Sequence[pa.Field]:
        return self.rule.fields()

    def passed_over(self, store: Store, chunk: Chunk) -> None:
        return None

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        inputs = {**fingerprint(self.rule), "text": chunk.text_version()}
        if self.resource is not None:
            inputs["resource"] = resources.prepared[self.resource.name].version()
        return inputs

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        schema = signals(self.rule.fields())
        resource = None
        if self.resource is not None:
            resource = self.resource.rule.open(work.prepared(self.resource.name))
        entry = Entry()
        measure = self.measure(work, unit, resource)

        def measured() -> Iterator[pa.RecordBatch]:
            for batch in work.texts.batches():
                columns = measure(batch)
                size = int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)
                entry.entered.add(batch.num_rows, size)
                entry.kept.add(batch.num_rows, size)
                yield pa.RecordBatch.from_arrays(
                    [batch["id"], batch["text_hash"], *columns], schema=schema
                )

        write_parquet(unit, "signals.parquet", schema, measured())
        return entry

    def measure(
        self, work: ChunkWork, unit: Publication, resource: Any
    ) -> Callable[[pa.RecordBatch], list[pa.Array]]:
        """What gives the signal columns of a batch; it is called with all batches, in order."""
        return lambda batch: self.rule.measure(batch, resource)

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        return chunk.with_signal(self.name, manifest.file("signals.parquet"))

    def apply(self, documents: DocumentsInMemory) -> None:
        resource = None if self.resource is None else documents.resources[self.resource.name]
        columns = self.rule.measure(documents.batch, resource)
        names = [field.name for field in self.rule.fields()]
        documents.measured(self.name, pa.table(columns, names=names))


@dataclass(frozen=True)
class RewriteStep(Step):
    """Makes a new text version."""

    rule: Rewrite

    area: ClassVar[str] = "documents"
    chooses: ClassVar[bool] = False
    rewrites: ClassVar[bool] = True
    needs_text_alone: ClassVar[bool] = False
    resource: ClassVar[PrepareStep | None] = None

    def join(self, order: StepOrder) -> None:
        order.chained(self)

    def passed_over(self, store: Store, chunk: Chunk) -> None:
        return None

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        return {**fingerprint(self.rule), "text": chunk.text_version()}

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        entry = Entry()
        facts = {"rewritten": 0, "bytes_before": 0, "bytes_after": 0}
        write_parquet(unit, "rewrite.parquet", REWRITE, self.changed(work, unit, entry, facts))
        unit.facts.update(facts)
        return entry

    def changed(
        self, work: ChunkWork, unit: Publication, entry: Entry, facts: dict[str, int]
    ) -> Iterable[pa.RecordBatch]:
        """Rows that the rule changes, of each batch of the chunk."""
        start = 0
        for batch in work.texts.batches():
            yield changed_rows(batch, self.rule.rewrite(batch["text"]), start, entry, facts)
            start += batch.num_rows

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        return replace(chunk, rewrites=(*chunk.rewrites, manifest.file("rewrite.parquet")))

    def apply(self, documents: DocumentsInMemory) -> None:
        documents.rewritten(self.rule.rewrite(documents.batch["text"]))


@dataclass(frozen=True)
class ChooseStep(Step):
    """Decides row by row who stays.

    where_measured: measures whose signals the rule gets of chunks that have them. columns: of the
    documents, which it gets as the table :data:`DOCUMENTS_READ`.
    """

    rule: Choose
    where_measured: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    area: ClassVar[str] = "selection"
    chooses: ClassVar[bool] = True
    needs_text_alone: ClassVar[bool] = False
    resource: ClassVar[PrepareStep | None] = None

    def join(self, order: StepOrder) -> None:
        order.chained(self)

    def passed_over(self, store: Store, chunk: Chunk) -> Entry:
        return all_kept(store, chunk)

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        return {
            **fingerprint(self.rule),
            "text": chunk.text_version(),
            "signals": {name: chunk.signals[name].checksum for name in self._signals(chunk)},
            "selection": chunk.selection_version(),
        }

    def _signals(self, chunk: Chunk) -> tuple[str, ...]:
        """Measures that decide its unit."""
        there = (name for name in self.where_measured if name in chunk.signals)
        return tuple(dict.fromkeys(("size", *self.rule.needs, *there)))

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        wanted = {*self.rule.needs, *self.where_measured}
        tables = {name: work.signal(name) for name in self._signals(work.chunk) if name in wanted}
        if self.columns:
            records = work.chunk.records.name
            tables[DOCUMENTS_READ] = read_parquet(work.store, records, "documents", self.columns)
        verdict = self.rule.choose(tables)
        schema = signals([pa.field("rules", pa.uint64()), pa.field("reason", pa.string())])
        size = work.chunk.signals["size"].name
        ids = read_parquet(work.store, size, "signals", ["id", "text_hash"])
        columns = [*ids.columns, verdict.rules, verdict.reason]
        write_parquet(unit, "verdicts.parquet", schema, [pa.table(columns, schema.names)])
        broken = verdict.reason.is_valid().to_numpy(zero_copy_only=False)
        selection, entry = drop(work.store, work.chunk, self.name, broken, verdict.reason)
        write_parquet(unit, "selection.parquet", SELECTION, [selection])
        unit.facts["rules"] = list(verdict.names)
        if verdict.judged is not None:
            unit.facts[JUDGED] = verdict.judged.facts(kept_mask(work.store, work.chunk))
        return entry

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        verdicts = {**chunk.verdicts, self.name: manifest.file("verdicts.parquet")}
        return replace(chunk, selection=manifest.file("selection.parquet"), verdicts=verdicts)

    def apply(self, documents: DocumentsInMemory) -> None:
        there = [name for name in self.where_measured if name in documents.signals]
        signals = {name: documents.signals[name] for name in (*self.rule.needs, *there)}
        if self.columns:
            read = documents.batch.select(list(self.columns))
            signals[DOCUMENTS_READ] = pa.Table.from_batches([read])
        documents.chosen(self.rule.choose(signals).reason)


def changed_rows(
    batch: pa.RecordBatch,
    texts: pa.LargeStringArray,
    start: int,
    entry: Entry,
    facts: dict[str, int],
) -> pa.RecordBatch:
    """The rows of a batch whose text a rewrite changed; a null changes nothing. Conversations are
    left alone: their messages decide.
    """
    changed = pc.fill_null(pc.not_equal(batch["text"], texts), False).to_numpy(zero_copy_only=False)
    if "messages" in batch.schema.names:
        changed &= batch["messages"].is_null().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(changed)
    before = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
    new = texts.take(pa.array(rows))
    entry.entered.add(batch.num_rows, int(before.sum()))
    entry.kept.add(batch.num_rows, int(before.sum()))
    facts["rewritten"] += len(rows)
    facts["bytes_before"] += int(before[rows].sum())
    facts["bytes_after"] += int(pc.sum(pc.binary_length(new)).as_py() or 0)
    return pa.RecordBatch.from_arrays(
        [pa.array(rows + start), batch["id"].take(pa.array(rows)), new, text_hashes(new)],
        schema=REWRITE,
    )
