"""Our row-by-row stages as steps of a datatrove pipeline."""

from __future__ import annotations

import contextlib
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

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key, text_hashes
from artifacts.schemas import DOCUMENTS
from pipelines.stages import STAGES
from pipelines.stages.base import (
    ChooseStep,
    CompareStep,
    MeasureStep,
    PrepareStep,
    RewriteStep,
    SpanStep,
    StageSettings,
    Step,
    Surroundings,
    signal_columns,
)
from pipelines.stages.size import size_step

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
        self.stage = stage if isinstance(stage, StageSettings) else _stage(stage, settings or {})
        self.name = self.stage.name or self.stage.kind
        super().__init__()
        around = Surroundings(str(Path(folder).resolve()), (SOURCE,), signal_columns([size_step()]))
        self.steps = self.stage.steps(around, self.name)
        if any(isinstance(step, CompareStep | SpanStep) for step in self.steps):
            raise UserError(
                "this stage compares documents with each other, which the ranks of a pipeline "
                "cannot do",
                field="stage",
                found=self.stage.kind,
                fix=(
                    "use the steps of pipelines.datatrove.dedup_steps, or put it into a recipe and "
                    "use windtunnel run"
                ),
            )
        self.exclusion_writer = exclusion_writer
        self.batch_bytes = int(batch_mib * (1 << 20))

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        resources = {
            step.name: step.rule.prepare() for step in self.steps if isinstance(step, PrepareStep)
        }
        with self.exclusion_writer or contextlib.nullcontext() as writer:
            for documents in self._batches(data or ()):
                with self.track_time("batch"):
                    reasons = _apply(self.steps, documents, resources)
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


def _apply(
    steps: list[Step], documents: list[Document], resources: dict[str, pa.Table]
) -> list[str | None]:
    """Take documents through the steps; their text and metadata change. Returns each one's first
    reason, None where it stays.
    """
    reasons = [None if _is_unicode(document.text) else NOT_UNICODE for document in documents]
    for document, reason in zip(documents, reasons, strict=True):
        if reason is not None:
            document.text = document.text.encode("utf-8", "replace").decode()
    batch = _arrow(documents)
    signals: dict[str, pa.Table] = {}
    for step in [size_step(), *steps]:
        if isinstance(step, MeasureStep):
            table = None if step.resource is None else resources[step.resource]
            signals[step.name] = pa.table(
                step.rule.measure(batch, table), names=[field.name for field in step.rule.fields()]
            )
            if step.name != size_step().name:
                _annotate(documents, signals[step.name])
        elif isinstance(step, RewriteStep):
            for document, text in zip(
                documents, step.rule.rewrite(batch["text"]).to_pylist(), strict=True
            ):
                document.text = text
            batch = _arrow(documents)
        elif isinstance(step, ChooseStep):
            found = step.rule.choose(
                {name: signals[name] for name in step.rule.needs}
            ).reason.to_pylist()
            reasons = [before or now for before, now in zip(reasons, found, strict=True)]
    return reasons


def _arrow(documents: list[Document]) -> pa.RecordBatch:
    """Documents as a batch of the documents format; ``native_id`` is datatrove's id."""
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
        "path": pa.repeat("", len(documents)),
        "offset": pa.array(np.arange(len(documents))),
    }
    arrays = [columns.get(field.name, pa.nulls(len(documents), field.type)) for field in DOCUMENTS]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENTS)


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
