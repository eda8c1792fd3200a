"""A step may prepare files of any kind for a measure: here words, in two text files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document

from artifacts.publish import Publication
from pipelines.corpus.chunk import Chunk
from pipelines.datatrove.steps import WindtunnelStep
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.stages import STAGES
from pipelines.stages.base import PrepareStep, StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import MeasureStep
from pipelines.stages.chunk_work import PreparedFiles

CALLS: list[str] = []


class WordsStage(StageSettings):
    """Count some words."""

    kind: ClassVar[str] = "words"

    words: tuple[str, ...]

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        prepare = PrepareStep(f"{name}-list", WordList(self.words))
        return [prepare, MeasureStep(name, WordCount(), self.sources, prepare)]


@dataclass(frozen=True)
class WordList:
    words: tuple[str, ...]
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {"words": list(self.words)}

    def prepare(self, unit: Publication) -> None:
        CALLS.append("prepare")
        for name, words in (("short.txt", 4), ("long.txt", 1 << 20)):
            least = 0 if name == "short.txt" else 4
            with unit.file(name) as out:
                out.raw.write("\n".join(w for w in self.words if least < len(w) <= words).encode())

    def open(self, files: PreparedFiles) -> list[str]:
        CALLS.append("open")
        return (files.read("short.txt") + b"\n" + files.read("long.txt")).decode().split()

    def note(self, files: PreparedFiles) -> str | None:
        return f"{len(self.words)} words"


@dataclass(frozen=True)
class WordCount:
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {}

    def fields(self) -> list[pa.Field]:
        return [pa.field("listed_words", pa.int64())]

    def measure(self, documents: pa.RecordBatch, resource: list[str]) -> list[pa.Array]:
        counts = pa.array([0] * documents.num_rows, pa.int64())
        for word in resource:
            counts = pc.add(counts, pc.count_substring(documents["text"], word).cast(pa.int64()))
        return [counts]


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES, WordsStage.kind, WordsStage)
    CALLS.clear()


def run(starter: Path, words: str) -> RunOutcome:
    loaded = load_recipe(starter, [f"corpus.stages=[words: {{words: [{words}]}}]"])
    return run_recipe(loaded, str(starter.parent / "runs"), until="corpus")


def counted(outcome: RunOutcome) -> int:
    refs = [Chunk.from_json(chunk).signals["words"] for chunk in outcome.record["chunks"]]
    tables = [pq.read_table(outcome.store.full(ref.name)) for ref in refs]
    return sum(pc.sum(table["listed_words"]).as_py() or 0 for table in tables)


def test_a_measure_reads_what_a_step_before_it_wrote(starter: Path) -> None:
    outcome = run(starter, "the, and, which")
    files = sorted(ref.rsplit("/", 1)[-1] for ref in outcome.store.names("signals/words-list"))
    assert files == ["long.txt", "manifest.json", "short.txt"]
    assert CALLS.count("prepare") == 1
    assert CALLS.count("open") == len(outcome.record["chunks"])
    assert counted(outcome) == counted(run(starter, "the")) + counted(run(starter, "and, which"))
    assert counted(outcome) > 0


def test_a_resumed_run_prepares_and_opens_nothing(starter: Path) -> None:
    first = run(starter, "the, which")
    CALLS.clear()
    again = run(starter, "the, which")
    assert (again.computed, CALLS) == (0, [])
    assert again.record["chunks"] == first.record["chunks"]


def test_other_content_is_measured_anew(starter: Path) -> None:
    first = run(starter, "the, which")
    other = run(starter, "the, where")
    chunks = [outcome.record["chunks"] for outcome in (first, other)]
    names = [{chunk["signals"]["words"]["name"] for chunk in of_run} for of_run in chunks]
    assert not names[0] & names[1]
    assert other.computed > 0


def test_a_datatrove_pipeline_prepares_the_same(starter: Path) -> None:
    step = WindtunnelStep("words", {"words": ["the", "which"]})
    documents = list(step.run([Document(text="the other, which the first is not", id="1")]))
    assert documents[0].metadata["listed_words"] == 4  # one of them in "other"
