"""What a worker does to one chunk: read it, then measure, rewrite and choose, in one task.

Steps that need nothing but their own chunk are fused into one task, so that the text is decoded
once. Each step still publishes its own unit under its own key; a step whose unit is there already
is skipped, and one run with ``compute=False`` only looks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.errors import UserError
from artifacts.fingerprints import content_key, libraries, stamp
from artifacts.ids import text_hashes
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Manifest, Publication, found_or_made
from artifacts.schemas import DOCUMENTS, INSTRUCTIONS, QUARANTINE, REWRITE, SELECTION, signals
from artifacts.tables import open_parquet, read_parquet, read_schema, write_parquet
from pipelines.chunks.reading import ReadStep, RemoveRowsStep, account, duplicates
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.document_files import open_documents
from pipelines.corpus.outcomes import ChunkResult, StepOutcome
from pipelines.corpus.selection import all_kept, drop
from pipelines.corpus.texts import ChunkTexts, HeldBatches
from pipelines.executors.memory import peak_bytes, reset_peak
from pipelines.readers import format_of, libraries_of, read
from pipelines.stages.base import (
    ChooseStep,
    MeasureStep,
    Resources,
    RewriteStep,
    applies,
    fingerprint,
)

ChunkStep = ReadStep | RemoveRowsStep | MeasureStep | RewriteStep | ChooseStep


@dataclass(frozen=True)
class ChunkTask:
    """Everything a worker needs, nothing else."""

    root: str  # of the run's store
    chunk: Chunk
    steps: tuple[ChunkStep, ...]
    resources: Resources = field(default_factory=lambda: Resources({}))


def run_chunk(task: ChunkTask, compute: bool = True) -> ChunkResult | None:
    """Take a chunk through its steps; None if ``compute`` is off and something has to be made."""
    reset_peak()
    worker = _Worker(Store(task.root), task.chunk, task.resources, compute)
    outcomes = worker.outcomes(task.steps)
    return None if outcomes is None else ChunkResult(worker.chunk, outcomes, peak_bytes())


def read_chunk(task: ChunkTask, compute: bool = True) -> ChunkResult | None:
    """Carry out a task's first step, which reads, and behind it the others while the text is in
    memory.

    The result is that of the first step alone: whether the others' units are there decides nothing,
    and a mistake in them is left to the task they belong to.
    """
    found = run_chunk(replace(task, steps=task.steps[:1]), compute=False)
    if found is not None or not compute:
        return found
    worker = _Worker(
        Store(task.root), task.chunk, task.resources, compute=True, hold=len(task.steps) > 1
    )
    reset_peak()
    outcomes = worker.outcomes(task.steps[:1])
    assert outcomes is not None
    read, ahead = worker.chunk, None
    with contextlib.suppress(UserError):
        ahead = worker.outcomes(task.steps[1:])
    return ChunkResult(read, outcomes, peak_bytes(), ahead or ())


class _Worker:
    """The state of one task: the chunk as it grows, and its text while in memory."""

    def __init__(
        self, store: Store, chunk: Chunk, resources: Resources, compute: bool, hold: bool = False
    ) -> None:
        self.store = store
        self.chunk = chunk
        self.resources = resources
        self.compute = compute
        self.hold = hold  # what is read, for steps that follow
        self.just_read: list[pa.RecordBatch] | None = None
        self.texts = ChunkTexts(store, chunk)

    def outcomes(self, steps: Sequence[ChunkStep]) -> tuple[StepOutcome, ...] | None:
        """Take the chunk through steps, in order; None if ``compute`` is off and something has to
        be made.
        """
        outcomes = []
        for step in steps:
            started = time.monotonic()
            if not isinstance(step, ReadStep | RemoveRowsStep) and not applies(
                step, self.chunk.source
            ):
                if isinstance(step, ChooseStep):
                    outcomes.append(self.passed_over(step))
                continue
            made = self.apply(step)
            if made is None:
                return None
            manifest, computed = made
            facts = {name: value for name, value in manifest.facts.items() if name != "entry"}
            chooses = not isinstance(step, MeasureStep | RewriteStep)
            entry = Entry.from_json(manifest.facts["entry"])
            seconds = time.monotonic() - started
            outcomes.append(
                StepOutcome(
                    step.name,
                    chooses,
                    self.chunk.source,
                    entry,
                    computed,
                    seconds,
                    facts,
                    (manifest.prefix,),
                )
            )
        return tuple(outcomes)

    def apply(self, step: ChunkStep) -> tuple[Manifest, bool] | None:
        if isinstance(step, ReadStep):
            return self._made(
                "documents", step, self._read_inputs(step), lambda unit: self._read(step, unit)
            )
        if isinstance(step, RemoveRowsStep):
            inputs = self._remove_inputs(step)
            return self._made("documents", step, inputs, lambda unit: self._remove_rows(step, unit))
        inputs = {**fingerprint(step.rule), "text": self._text_version()}
        if isinstance(step, MeasureStep):
            if step.resource is not None:
                inputs["resource"] = self.resources.refs[step.resource].checksum
            return self._made("signals", step, inputs, lambda unit: self._measure(step, unit))
        if isinstance(step, RewriteStep):
            return self._made("documents", step, inputs, lambda unit: self._rewrite(step, unit))
        inputs["signals"] = {
            name: self.chunk.signals[name].checksum for name in ("size", *step.rule.needs)
        }
        inputs["selection"] = self.chunk.selection_version()
        return self._made("selection", step, inputs, lambda unit: self._choose(step, unit))

    def passed_over(self, step: ChooseStep) -> StepOutcome:
        """The ledger entry of a chunk whose source a choosing step leaves alone: all that enters is
        kept.
        """
        entry = all_kept(self.store, self.chunk)
        return StepOutcome(step.name, True, self.chunk.source, entry, False, 0.0, {})

    def _made(
        self,
        area: str,
        step: ChunkStep,
        inputs: dict[str, Any],
        make: Callable[[Publication], Entry],
    ) -> tuple[Manifest, bool] | None:
        """Find a step's unit or make it, then move the chunk on to it."""

        def body(unit: Publication) -> None:
            unit.facts["entry"] = make(unit).to_json()

        prefix = f"{area}/{step.name}/{content_key({'area': area, **inputs})}"
        made = found_or_made(self.store, prefix, inputs, body, self.compute)
        if made is not None:
            self._advance(step, made[0])
        return made

    def _advance(self, step: ChunkStep, manifest: Manifest) -> None:
        if isinstance(step, ReadStep | RemoveRowsStep):
            self.chunk = replace(
                self.chunk,
                documents=manifest.file("documents.parquet"),
                quarantine=manifest.file("quarantine.parquet"),
            )
            self.texts = ChunkTexts(self.store, self.chunk, held=self.just_read)
            self.just_read = None
        elif isinstance(step, MeasureStep):
            self.chunk = self.chunk.with_signal(step.name, manifest.file("signals.parquet"))
        elif isinstance(step, RewriteStep):
            self.chunk = replace(
                self.chunk, rewrites=(*self.chunk.rewrites, manifest.file("rewrite.parquet"))
            )
            self.texts = self.texts.rewritten(self.chunk)
        else:
            verdicts = {**self.chunk.verdicts, step.name: manifest.file("verdicts.parquet")}
            self.chunk = replace(
                self.chunk, selection=manifest.file("selection.parquet"), verdicts=verdicts
            )

    # -- the bodies, one per kind of step -------------------------------------------------------

    def _read_inputs(self, step: ReadStep) -> dict[str, Any]:
        spans = [
            [digest, span.path, span.start, span.end]
            for digest, span in zip(self.chunk.digests, self.chunk.spans, strict=True)
        ]
        formats = [format_of(span.path, step.format) for span in self.chunk.spans]
        return {
            "source": self.chunk.source,
            "version": step.version,
            "libraries": libraries(*libraries_of(formats)),
            "settings": step.settings(),
            "spans": spans,
        }

    def _remove_inputs(self, step: RemoveRowsStep) -> dict[str, Any]:
        assert self.chunk.quarantine is not None
        decides = {
            "rows": list(step.rows),
            "quarantine_bytes": step.quarantine_bytes,
            "compression": step.compression,
        }
        files = {"documents": self._text_version(), "quarantine": self.chunk.quarantine.checksum}
        return {
            **decides,
            **files,
            "version": step.version,
            "libraries": libraries(*step.libraries),
        }

    def _read(self, step: ReadStep, unit: Publication) -> Entry:
        schema = INSTRUCTIONS if step.fields.messages_field else DOCUMENTS
        entry = Entry()
        held = HeldBatches()
        with (
            open_documents(unit, schema, step.compression) as documents,
            open_parquet(unit, "quarantine.parquet", QUARANTINE) as bad,
        ):
            for span, mark in zip(self.chunk.spans, self.chunk.stamps, strict=True):
                for batch in read(span, step.format, self.chunk.source, step.fields, step.limits):
                    account(entry, batch)
                    documents.write(batch.documents)
                    bad.write(batch.quarantine)
                    if self.hold:
                        held.add(batch.documents)
                if stamp(span.url) != mark:
                    raise UserError(
                        "the file changed while it was read",
                        file=span.url,
                        fix="run again once it is no longer written to",
                    )
        self.just_read = held.batches if self.hold else None
        return entry

    def _remove_rows(self, step: RemoveRowsStep, unit: Publication) -> Entry:
        chunk, entry, start = self.chunk, Entry(), 0
        assert chunk.documents is not None
        assert chunk.quarantine is not None
        removed: list[pa.Table] = []
        schema = read_schema(self.store, chunk.documents.name)
        with open_documents(unit, schema, step.compression) as documents:
            for batch in self.texts.batches():
                stay = ~np.isin(np.arange(start, start + batch.num_rows), step.rows)
                start += batch.num_rows
                sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
                documents.write(batch.filter(pa.array(stay)))
                removed.append(
                    duplicates(
                        pa.Table.from_batches([batch.filter(pa.array(~stay))]),
                        step.quarantine_bytes,
                    )
                )
                entry.entered.add(batch.num_rows, int(sizes.sum()))
                entry.kept.add(int(stay.sum()), int(sizes[stay].sum()))
                entry.quarantine("duplicate_key", int((~stay).sum()), int(sizes[~stay].sum()))
        old = read_parquet(self.store, chunk.quarantine.name, "quarantine")
        table = pa.concat_tables([old, *removed]).sort_by(
            [("path", "ascending"), ("offset", "ascending")]
        )
        write_parquet(unit, "quarantine.parquet", QUARANTINE, [table])
        return entry

    def _measure(self, step: MeasureStep, unit: Publication) -> Entry:
        schema = signals(step.rule.fields())
        table = None
        if step.resource is not None:
            table = read_parquet(self.store, self.resources.refs[step.resource].name, "signals")
        entry = Entry()

        def measured() -> Any:
            for batch in self.texts.batches():
                columns = step.rule.measure(batch, table)
                size = int(pc.sum(pc.binary_length(batch["text"])).as_py() or 0)
                entry.entered.add(batch.num_rows, size)
                entry.kept.add(batch.num_rows, size)
                yield pa.RecordBatch.from_arrays(
                    [batch["id"], batch["text_hash"], *columns], schema=schema
                )

        write_parquet(unit, "signals.parquet", schema, measured())
        return entry

    def _rewrite(self, step: RewriteStep, unit: Publication) -> Entry:
        entry = Entry()
        facts = {"rewritten": 0, "bytes_before": 0, "bytes_after": 0}

        def changed() -> Any:
            start = 0
            for batch in self.texts.batches():
                yield _changed_rows(batch, step.rule.rewrite(batch["text"]), start, entry, facts)
                start += batch.num_rows

        write_parquet(unit, "rewrite.parquet", REWRITE, changed())
        unit.facts.update(facts)
        return entry

    def _choose(self, step: ChooseStep, unit: Publication) -> Entry:
        verdict = step.rule.choose({name: self._signal(name) for name in step.rule.needs})
        schema = signals([pa.field("rules", pa.uint64()), pa.field("reason", pa.string())])
        size = self.chunk.signals["size"].name
        ids = read_parquet(self.store, size, "signals", ["id", "text_hash"])
        columns = [*ids.columns, verdict.rules, verdict.reason]
        write_parquet(unit, "verdicts.parquet", schema, [pa.table(columns, schema.names)])
        broken = verdict.reason.is_valid().to_numpy(zero_copy_only=False)
        selection, entry = drop(self.store, self.chunk, step.name, broken, verdict.reason)
        write_parquet(unit, "selection.parquet", SELECTION, [selection])
        unit.facts["rules"] = list(verdict.names)
        return entry

    # -- what the bodies share ------------------------------------------------------------------

    def _text_version(self) -> list[str]:
        return self.chunk.text_version()

    def _signal(self, name: str) -> pa.Table:
        return read_parquet(self.store, self.chunk.signals[name].name, "signals")


def _changed_rows(
    batch: pa.RecordBatch,
    texts: pa.LargeStringArray,
    start: int,
    entry: Entry,
    facts: dict[str, int],
) -> pa.RecordBatch:
    """The rows of a batch whose text a rewrite changed. Conversations are left alone: their
    messages decide.
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


__all__ = ["ChunkStep", "ChunkTask", "read_chunk", "run_chunk"]
