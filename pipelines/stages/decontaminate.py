"""The decontaminate stage: documents that contain benchmark items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from artifacts.errors import UserError
from artifacts.fingerprints import file_digest
from artifacts.publish import Publication
from artifacts.schemas import signals
from artifacts.tables import write_parquet
from dedup.ngrams import OVERLAP, SHORTEST, NgramIndex
from dedup.words import ALGORITHM
from pipelines.readers import Fields, Limits, Span, discover, libraries_of, read
from pipelines.stages.base import (
    PrepareStep,
    RowVerdict,
    StageSettings,
    Step,
    Surroundings,
)
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep
from pipelines.stages.chunk_work import PreparedFiles
from pipelines.stages.verdicts import first_reason

INDEX = "table.parquet"
NOTE = b"note"  # in the metadata of its schema


class DecontaminateStage(StageSettings):
    """Drop documents that hold a benchmark item: at least ``overlap`` of one item's word
    n-grams.
    """

    kind: ClassVar[str] = "decontaminate"

    against: tuple[str, ...] = Field(
        min_length=1, description="benchmark files (jsonl): paths or globs"
    )
    text_field: str = Field(default="text", description="field of a benchmark record to look for")
    ngrams: int = Field(
        default=13,
        ge=8,
        le=256,
        description="words per n-gram (characters in Han, Kana, Hangul, Thai)",
    )
    overlap: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of an item's n-grams found in a document from which it is dropped",
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        files = discover(name, self.against, base=around.folder)
        index = BenchmarkIndex(
            tuple(file.url for file in files),
            tuple(file.format for file in files),
            self.text_field,
            self.ngrams,
        )
        prepare = PrepareStep(f"{name}-index", index)
        return [
            prepare,
            MeasureStep(name, OverlapMeasure(self.ngrams), self.sources, prepare),
            ChooseStep(name, OverlapChoose(name, self.overlap), self.sources),
        ]


@dataclass(frozen=True)
class BenchmarkIndex:
    """The n-grams of all benchmark items as one table, one row: the arrays of
    :class:`NgramIndex`.
    """

    files: tuple[str, ...]
    formats: tuple[str, ...]
    text_field: str
    ngrams: int
    version: ClassVar[int] = 4

    @property
    def libraries(self) -> tuple[str, ...]:
        return ("numba", *libraries_of(self.formats))

    def settings(self) -> dict[str, Any]:
        files = [
            [file_digest(url), kind] for url, kind in zip(self.files, self.formats, strict=True)
        ]
        return {
            "files": files,
            "text_field": self.text_field,
            "ngrams": self.ngrams,
            "words": ALGORITHM,
        }

    def prepare(self, unit: Publication) -> None:
        table = self._table()
        write_parquet(unit, INDEX, table.schema, [table])

    def open(self, files: PreparedFiles) -> NgramIndex:
        table = files.table(INDEX)
        return NgramIndex.from_arrays(
            {
                name: np.asarray(table[name].combine_chunks().flatten())
                for name in table.column_names
            }
        )

    def note(self, files: PreparedFiles) -> str | None:
        note = (files.schema(INDEX).metadata or {}).get(NOTE)
        return None if note is None else note.decode()

    def _table(self) -> pa.Table:
        parts = []
        for url, format_name in zip(self.files, self.formats, strict=True):
            span = Span(url=url, path=url.rsplit("/", 1)[-1], start=0, end=None)
            for batch in read(
                span, format_name, "benchmark", Fields(text_field=self.text_field), Limits()
            ):
                if batch.quarantine.num_rows:
                    first = batch.quarantine.slice(0, 1).to_pylist()[0]
                    raise UserError(
                        "a benchmark record cannot be read",
                        file=url,
                        field=f"byte {first['offset']}",
                        found=f"{first['reason']}: {first['detail']}",
                        fix="mend the record, or name its text with text_field",
                    )
                parts.append(batch.documents["text"])
        items = pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())
        index = NgramIndex.build(items, self.ngrams)
        arrays = index.to_arrays()
        columns = {
            name: pa.array([values], pa.large_list(pa.from_numpy_dtype(values.dtype)))
            for name, values in arrays.items()
        }
        return pa.table(columns).replace_schema_metadata(
            {**(signals([]).metadata or {}), **self._note(index.item_ngrams)}
        )

    def _note(self, item_ngrams: NDArray[np.int32]) -> dict[bytes, bytes]:
        """How many items can never be found. Raises: UserError when that is all of them."""
        items, lost = len(item_ngrams), int((item_ngrams == 0).sum())
        if lost == items:
            found = (
                f"{items:,} items, none of which has {SHORTEST} words to look for"
                if items
                else "no items"
            )
            fix = (
                "name files with benchmark items, "
                "and the field that holds their text with text_field"
            )
            raise UserError(
                "the benchmarks hold nothing to look for", field="against", found=found, fix=fix
            )
        return (
            {
                NOTE: (
                    f"{lost:,} of {items:,} benchmark items are too short or too common to be found"
                ).encode()
            }
            if lost
            else {}
        )


@dataclass(frozen=True)
class OverlapMeasure:
    """How much of which benchmark item a document holds."""

    ngrams: int
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    def settings(self) -> dict[str, Any]:
        return {"ngrams": self.ngrams, "words": ALGORITHM}

    def fields(self) -> list[pa.Field]:
        return [pa.field(f"benchmark_{field.name}", field.type) for field in OVERLAP]

    def measure(self, documents: pa.RecordBatch, resource: NgramIndex) -> list[pa.Array]:
        return list(resource.overlap(documents["text"]).columns)


@dataclass(frozen=True)
class OverlapChoose:
    measure: str
    overlap: float
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.measure,)

    def settings(self) -> dict[str, Any]:
        return {"overlap": self.overlap}

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict:
        share = pc.fill_null(signals[self.measure]["benchmark_fullest_fraction"], 0).to_numpy()
        rules = np.where(share >= np.float32(self.overlap), 1, 0).astype(np.uint64)
        return RowVerdict(
            ("benchmark_overlap",), rules, first_reason(("benchmark_overlap",), rules)
        )
