"""Steps whose rule may take a bounded time of the processor on a document, as foreign code does.

    text ─ measure or rewrite ─▶ signals or texts of those it decided, ids of the undecided
    undecided ─ set aside ─▶ selection, quarantine

Which documents are undecided follows from the machine, not from the inputs. So a unit that has some
lies under a key of its own (:meth:`artifacts.publish.Publication.observe`) and is marked in its
manifest by the fact :data:`MACHINE`; that of the inputs alone is made once all are decided, and
until then every call of a run tries again. Whose documents are all decided has a unit that no limit
decides, so a limit stands in no key of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Manifest, Publication
from artifacts.schemas import QUARANTINE, SELECTION, signals
from artifacts.tables import read_parquet, write_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import all_kept, drop, kept_mask
from pipelines.corpus.set_aside import in_place_order, quarantine_rows
from pipelines.stages.base import (
    Measure,
    PrepareStep,
    Rewrite,
    Rule,
    Step,
    StepOrder,
    fingerprint,
)
from pipelines.stages.chunk_steps import MeasureStep, RewriteStep, changed_rows
from pipelines.stages.chunk_work import ChunkWork, DocumentsInMemory, Resources

MIB = 1 << 20

TIME_LIMIT = "time_limit"
"""The reason of documents that a rule did not decide within its limit."""

MACHINE = "depends_on_machine"
"""The fact of a unit that counts verdicts which the machine decided."""

_UNDECIDED = "undecided.parquet"


@dataclass(frozen=True)
class CpuLimit:
    """``who`` may work on one document for ``seconds`` of processor time, and as many again for
    each MiB beyond the first: honest work grows with the text.
    """

    who: str
    seconds: float

    def facts(self, documents: int) -> dict[str, Any]:
        """How many documents it decided on, as a fact."""
        return {"documents": documents, "who": self.who, "cpu_seconds": self.seconds}

    def of(self, text_bytes: int) -> float:
        """Seconds for a text of this length."""
        return self.seconds * max(1.0, text_bytes / MIB)

    def detail(self, text_bytes: int) -> str:
        """What happened to a document beyond it."""
        return f"{self.who} had not ended after {self.of(text_bytes):g} s of processor time"


class BoundedMeasure(Measure, Protocol):
    """A measure with a limit."""

    @property
    def limit(self) -> CpuLimit: ...

    def measure_within(self, documents: pa.RecordBatch) -> tuple[list[pa.Array], NDArray[np.bool_]]:
        """Columns, null where undecided, and who is, (n,)."""
        ...


class BoundedRewrite(Rewrite, Protocol):
    """A rewrite with a limit."""

    @property
    def limit(self) -> CpuLimit: ...

    def rewrite_within(
        self, documents: pa.RecordBatch
    ) -> tuple[pa.LargeStringArray, NDArray[np.bool_]]:
        """New texts, null where unchanged or undecided, and who is undecided, (n,)."""
        ...


@dataclass(frozen=True)
class BoundedMeasureStep(MeasureStep):
    """Adds signal columns, null where the rule did not decide within its limit."""

    rule: BoundedMeasure

    tried_again: ClassVar[bool] = True

    def measure(
        self, work: ChunkWork, unit: Publication, resource: Any
    ) -> Callable[[pa.RecordBatch], list[pa.Array]]:
        answers = [self.rule.measure_within(batch) for batch in work.texts.batches()]
        _observe(work, unit, self.rule.limit, [undecided for _, undecided in answers])
        columns = iter([columns for columns, _ in answers])
        return lambda batch: next(columns)

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        return _with_undecided(super().moved(chunk, manifest), self.name, manifest)

    def apply(self, documents: DocumentsInMemory) -> None:
        columns, undecided = self.rule.measure_within(documents.batch)
        names = [field.name for field in self.rule.fields()]
        documents.measured(self.name, pa.table(columns, names=names))
        documents.chosen(_reasons(undecided))


@dataclass(frozen=True)
class BoundedRewriteStep(RewriteStep):
    """Makes a new text version; a text that the rule did not decide within its limit stays."""

    rule: BoundedRewrite

    tried_again: ClassVar[bool] = True

    def changed(
        self, work: ChunkWork, unit: Publication, entry: Entry, facts: dict[str, int]
    ) -> Sequence[pa.RecordBatch]:
        start, changed, masks = 0, [], []
        for batch in work.texts.batches():
            texts, undecided = self.rule.rewrite_within(batch)
            if "messages" in batch.schema.names:
                undecided &= batch["messages"].is_null().to_numpy(zero_copy_only=False)
            changed.append(changed_rows(batch, texts, start, entry, facts))
            masks.append(undecided)
            start += batch.num_rows
        _observe(work, unit, self.rule.limit, masks)
        return changed

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        return _with_undecided(super().moved(chunk, manifest), self.name, manifest)

    def apply(self, documents: DocumentsInMemory) -> None:
        texts, undecided = self.rule.rewrite_within(documents.batch)
        documents.chosen(_reasons(undecided))
        documents.rewritten(pc.coalesce(texts, documents.batch["text"]))


class SetAside(Rule, Protocol):
    """Takes the undecided documents of a step out of the selection, into quarantine."""

    @property
    def of(self) -> str: ...  # the step

    @property
    def limit(self) -> CpuLimit: ...

    @property
    def quarantine_bytes(self) -> int: ...


@dataclass(frozen=True)
class SetAsideStep(Step):
    """Quarantines the documents that a step did not decide. It is about chunks that have some."""

    rule: SetAside

    area: ClassVar[str] = "selection"
    chooses: ClassVar[bool] = True
    needs_text_alone: ClassVar[bool] = False
    occasional: ClassVar[bool] = True
    resource: ClassVar[PrepareStep | None] = None

    def join(self, order: StepOrder) -> None:
        order.chained(self)

    def has_work(self, chunk: Chunk) -> bool:
        return super().has_work(chunk) and self.rule.of in chunk.undecided

    def passed_over(self, store: Store, chunk: Chunk) -> Entry:
        return all_kept(store, chunk)

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        assert chunk.quarantine is not None
        return {
            **fingerprint(self.rule),
            "text": chunk.text_version(),
            "undecided": chunk.undecided[self.rule.of].checksum,
            "selection": chunk.selection_version(),
            "quarantine": chunk.quarantine.checksum,
        }

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        chunk = work.chunk
        assert chunk.quarantine is not None
        kept = kept_mask(work.store, chunk)
        undecided = np.zeros(len(kept), np.bool_)
        file = chunk.undecided[self.rule.of]
        undecided[read_parquet(work.store, file.name, "signals", ["row"])["row"].to_numpy()] = True
        selection, entry = drop(
            work.store, chunk, self.name, undecided, TIME_LIMIT, quarantines=True
        )
        write_parquet(unit, "selection.parquet", SELECTION, [selection])
        gone, start = undecided & kept, 0
        rows = []
        for batch in work.texts.batches():
            own = batch.filter(pa.array(gone[start : start + batch.num_rows]))
            start += batch.num_rows
            sizes = pc.binary_length(own["text"]).to_pylist()
            details = [self.rule.limit.detail(size) for size in sizes]
            table = pa.Table.from_batches([own])
            rows.append(quarantine_rows(table, TIME_LIMIT, details, self.rule.quarantine_bytes))
        before = read_parquet(work.store, chunk.quarantine.name, "quarantine")
        write_parquet(unit, "quarantine.parquet", QUARANTINE, [in_place_order(before, *rows)])
        unit.facts[MACHINE] = self.rule.limit.facts(int(gone.sum()))
        return entry

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        return replace(
            chunk,
            selection=manifest.file("selection.parquet"),
            quarantine=manifest.file("quarantine.parquet"),
        )

    def apply(self, documents: DocumentsInMemory) -> None:
        """Nothing: the step before said why they go."""


def _observe(
    work: ChunkWork, unit: Publication, limit: CpuLimit, masks: Sequence[NDArray[np.bool_]]
) -> None:
    """Mark a unit whose rule left documents undecided, and write which: ``masks`` has who is of
    each batch.
    """
    undecided = np.concatenate([np.zeros(0, np.bool_), *masks])
    rows = np.flatnonzero(undecided)
    if not len(rows):
        return
    seen = {"cpu_seconds": limit.seconds, "rows": xxhash.xxh3_128_hexdigest(rows.tobytes())}
    unit.observe(undecided=seen)
    unit.facts[MACHINE] = limit.facts(len(rows))
    schema = signals([pa.field("row", pa.int64())])
    start, found = 0, []
    for batch in work.texts.batches():
        own = np.flatnonzero(undecided[start : start + batch.num_rows])
        places = pa.array(own)
        columns = [batch["id"].take(places), batch["text_hash"].take(places), pa.array(own + start)]
        found.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        start += batch.num_rows
    write_parquet(unit, _UNDECIDED, schema, found)


def _with_undecided(chunk: Chunk, step: str, manifest: Manifest) -> Chunk:
    if MACHINE not in manifest.facts:
        return chunk
    return replace(chunk, undecided={**chunk.undecided, step: manifest.file(_UNDECIDED)})


def _reasons(undecided: NDArray[np.bool_]) -> pa.StringArray:
    return pa.array([TIME_LIMIT if over else None for over in undecided.tolist()], pa.string())


__all__ = ["MACHINE", "TIME_LIMIT", "BoundedMeasureStep", "BoundedRewriteStep", "CpuLimit"]
