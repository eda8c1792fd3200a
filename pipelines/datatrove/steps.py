"""Our row-by-row stages as steps of a datatrove pipeline."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.typeshelper import StatHints
from pydantic import ValidationError

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key, text_hashes
from artifacts.paths import Store
from artifacts.schemas import DOCUMENTS
from pipelines.chunks.resources import PrepareTask, prepare
from pipelines.executors.termination import end_with_parent
from pipelines.stages import STAGES
from pipelines.stages.base import (
    CompareStep,
    PrepareStep,
    RowStep,
    SpanStep,
    StageSettings,
    Surroundings,
)
from pipelines.stages.chunk_work import PreparedFiles
from pipelines.stages.size import size_step
from pipelines.stages.step_names import signal_columns

SOURCE = "datatrove"
NOT_UNICODE = "not_unicode"
_BATCH_DOCUMENTS = 10_000


class WindtunnelStep(PipelineStep):  # type: ignore[misc]
    """A stage of this house in a datatrove pipeline: signals go to each document's metadata,
    dropped ones to a writer.

    Documents pass in batches of ``batch_mib`` of text, in their order. A text that is no Unicode
    (lone surrogates) is dropped with reason not_unicode.

    Parameters: ``stage``: the name a recipe uses, with its ``settings``, or a stage object;
    ``folder``: what relative paths in the settings start from; ``exclusion_writer``: a datatrove
    writer for dropped documents, whose ``filter_reason`` says why.
    Raises: UserError for wrong settings, and for a stage that compares documents with each other.
    """

    type = "FILTER"

    def __init__(
        self,
        stage: str | StageSettings,
        settings: Mapping[str, Any] | None = None,
        *,
        folder: str = ".",
        exclusion_writer: DiskWriter | None = None,
        batch_mib: float = 8.0,
    ) -> None:
        self.stage = _stage(stage, settings or {}) if isinstance(stage, str) else stage
        self.name = self.stage.name or self.stage.kind
        super().__init__()
        around = Surroundings(str(Path(folder).resolve()), (SOURCE,), signal_columns([size_step()]))
        self.steps = _Steps(self.stage.kind)
        for step in [size_step(), *self.stage.steps(around, self.name)]:
            step.join(self.steps)
        self.exclusion_writer = exclusion_writer
        self.batch_bytes = int(batch_mib * (1 << 20))

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        end_with_parent()
        resources = self.steps.opened()
        with self.exclusion_writer or contextlib.nullcontext() as writer:
            for documents in self._batches(data or ()):
                with self.track_time("batch"):
                    reasons = self.steps.apply(documents, resources)
                for document, reason in zip(documents, reasons, strict=True):
                    self.stat_update(StatHints.total)
                    if reason is None:
                        self.stat_update(StatHints.forwarded)
                        self.update_doc_stats(document)
                        yield document
                        continue
                    self.stat_update(StatHints.dropped, f"dropped_{reason}")
                    if writer is not None:
                        document.metadata["filter_reason"] = reason
                        writer.write(document, rank)

    def _batches(self, data: Any) -> Iterator[list[Document]]:
        batch: list[Document] = []
        size = 0
        for document in data:
            batch.append(document)
            size += len(document.text)
            if size >= self.batch_bytes or len(batch) == _BATCH_DOCUMENTS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def _stage(kind: str, settings: Mapping[str, Any]) -> StageSettings:
    if kind not in STAGES:
        raise UserError(
            "no such stage",
            field="stage",
            found=kind,
            allowed=sorted(STAGES),
            fix="use one of the stages above",
        )
    try:
        return STAGES[kind].model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"wrong settings for stage {kind}: {first['msg'].lower()}",
            field=f"settings.{place}",
            found=first["input"],
            allowed=sorted(STAGES[kind].model_fields),
        ) from None


class _Steps:
    """Steps of a stage that can be applied to documents in memory; an order of steps
    (:class:`pipelines.stages.base.StepOrder`) that takes no comparison.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._prepare: list[PrepareStep] = []
        self._steps: list[RowStep] = []

    def before(self, step: PrepareStep) -> None:
        self._prepare.append(step)

    def alone(self, step: CompareStep | SpanStep) -> None:
        raise UserError(
            "this stage compares documents with each other, which the ranks of a pipeline "
            "cannot do",
            field="stage",
            found=self._kind,
            fix=(
                "use the steps of pipelines.datatrove.dedup_steps, or put it into a recipe: ",
                Command("run RECIPE"),
            ),
        )

    def chained(self, step: RowStep) -> None:
        self._steps.append(step)

    def opened(self) -> dict[str, Any]:
        """What the measures need, made in a folder that is gone afterwards."""
        opened: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            for step in self._prepare:
                made = prepare(PrepareTask(folder, step))
                assert made is not None
                opened[step.name] = step.rule.open(PreparedFiles(Store(folder), made.prepared))
        return opened

    def apply(self, documents: list[Document], resources: dict[str, Any]) -> list[str | None]:
        """Take documents through the steps; their text and metadata change. Returns each one's
        first reason, None where it stays.
        """
        batch = _Documents(documents, resources)
        for step in self._steps:
            step.apply(batch)
        return batch.reasons


class _Documents:
    """Documents of datatrove, and the same as a batch of the documents format."""

    def __init__(self, documents: list[Document], resources: dict[str, Any]) -> None:
        self.documents = documents
        self.resources = resources
        self.signals: dict[str, pa.Table] = {}
        self.reasons = [
            None if _is_unicode(document.text) else NOT_UNICODE for document in documents
        ]
        for document, reason in zip(documents, self.reasons, strict=True):
            if reason is not None:
                document.text = document.text.encode("utf-8", "replace").decode()
        self.batch = _arrow(documents)

    def measured(self, step: str, signals: pa.Table) -> None:
        self.signals[step] = signals
        if step != size_step().name:
            _annotate(self.documents, signals)

    def rewritten(self, texts: pa.LargeStringArray) -> None:
        for document, text in zip(self.documents, texts.to_pylist(), strict=True):
            document.text = text
        self.batch = _arrow(self.documents)

    def chosen(self, reasons: pa.StringArray) -> None:
        pairs = zip(self.reasons, reasons.to_pylist(), strict=True)
        self.reasons = [before or now for before, now in pairs]


def _arrow(documents: list[Document]) -> pa.RecordBatch:
    """Documents as a batch of the documents format; ``native_id`` is datatrove's id, ``lang`` what
    their metadata say.
    """
    texts = pa.array([document.text for document in documents], pa.large_string())
    native = [str(document.id) for document in documents]
    columns: dict[str, pa.Array] = {
        "id": document_ids(SOURCE, [native_key(value) for value in native]),
        "native_id": pa.array(
            [value.encode("utf-8", "replace").decode() for value in native], pa.string()
        ),
        "text": texts,
        "text_hash": text_hashes(texts),
        "source": pa.repeat(SOURCE, len(documents)),
        "lang": pa.array([_language(document) for document in documents], pa.string()),
        "path": pa.repeat("", len(documents)),
        "offset": pa.array(np.arange(len(documents))),
    }
    arrays = [columns.get(field.name, pa.nulls(len(documents), field.type)) for field in DOCUMENTS]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENTS)


def _language(document: Document) -> str | None:
    """The language of a document by its metadata, where language filters and stages put it."""
    for name in ("language", "lang"):
        value = document.metadata.get(name)
        if isinstance(value, str) and _is_unicode(value):
            return value
    return None


def _annotate(documents: list[Document], signals: pa.Table) -> None:
    for name in signals.column_names:
        for document, value in zip(documents, signals[name].to_pylist(), strict=True):
            document.metadata[name] = value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
