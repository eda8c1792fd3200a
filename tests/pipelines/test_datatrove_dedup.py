"""Deduplication in datatrove's own executor, against our run over the same documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multiprocess
import orjson
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from artifacts.errors import UserError
from artifacts.tables import read_parquet
from pipelines.datatrove.dedup_steps import MinHashDecision, MinHashFilter, MinHashSignatures
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from tests.pipelines.test_datatrove_steps import verdicts, written

FILES = 5


@pytest.fixture(autouse=True)
def start_method_as_before() -> Iterator[None]:
    """datatrove's executor settles the start method of the whole process; other tests look whether
    ours leaves it open.
    """
    yield
    multiprocess.set_start_method(None, force=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's web source and edited copies of a third of it, cut into five files so that
    copies lie in other files.
    """
    from pipelines.starter.write import write_starter

    folder = tmp_path_factory.mktemp("datatrove-dedup")
    write_starter(folder / "starter")
    records = [
        orjson.loads(line)
        for line in (folder / "starter" / "data" / "web.jsonl").read_bytes().splitlines()
    ]
    copies = [
        {"id": f"copy-{place}", "text": f"{record['text']} Read more about {place}."}
        for place, record in enumerate(records[::3])
    ]
    rows = (
        [{"id": record["id"], "text": record["text"]} for record in records]
        + copies
        + [{"id": "short", "text": "few words"}]
    )
    for number in range(FILES):
        (folder / f"web-{number}.jsonl").write_bytes(
            b"".join(orjson.dumps(row) + b"\n" for row in rows[number::FILES])
        )
    return folder


@pytest.fixture(scope="module")
def ours(data: Path) -> RunOutcome:
    """The same by a recipe; the source's name makes ids the same, which break ties."""
    sources = [{"name": "datatrove", "paths": ["web-*.jsonl"], "id_field": "id"}]
    recipe = {
        "name": "ours",
        "corpus": {"sources": sources, "stages": [{"minhash_dedup": {"verify": 0.6}}]},
    }
    (data / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    return run_recipe(load_recipe(data / "recipe.yaml"), str(data / "runs"))


def reader(data: Path) -> JsonlReader:
    return JsonlReader(str(data), glob_pattern="web-*.jsonl")


def execute(data: Path, out: Path, tasks: int, workers: int = 1, **signatures: Any) -> None:
    """The three pipelines, one after another."""

    def pipeline(
        name: str, steps: list[Any], tasks: int, before: LocalPipelineExecutor | None = None
    ) -> LocalPipelineExecutor:
        return LocalPipelineExecutor(
            steps,
            tasks=tasks,
            workers=workers if tasks > 1 else 1,
            logging_dir=str(out / "logs" / name),
            start_method="spawn",
            depends=before,
        )

    folder = str(out / "dedup")
    signed = pipeline("signed", [reader(data), MinHashSignatures(folder, **signatures)], tasks)
    decided = pipeline("decided", [MinHashDecision(folder, [reader(data)], verify=0.6)], 1, signed)
    dropped = JsonlWriter(str(out / "dropped"))
    pipeline(
        "kept",
        [
            reader(data),
            MinHashFilter(folder, exclusion_writer=dropped),
            JsonlWriter(str(out / "kept")),
        ],
        tasks,
        decided,
    ).run()


def evidence_of(outcome: RunOutcome) -> dict[str, tuple[str, float]]:
    names = {}
    for chunk in outcome.record["chunks"]:
        table = read_parquet(
            outcome.store, chunk["documents"]["name"], "documents", ["id", "native_id"]
        )
        names |= dict(zip(table["id"].to_pylist(), table["native_id"].to_pylist(), strict=True))
    rows = read_parquet(
        outcome.store, outcome.record["evidence"]["minhash_dedup"]["file"]["name"], "evidence"
    ).to_pylist()
    return {names[row["id"]]: (names[row["kept_id"]], row["similarity"]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (3, 1), (FILES, 2)])
def test_it_keeps_and_drops_what_our_run_does_under_any_number_of_tasks(
    data: Path, ours: RunOutcome, tmp_path: Path, tasks: int, workers: int
) -> None:
    execute(data, tmp_path, tasks, workers)
    kept, dropped, expected = (
        written(tmp_path / "kept"),
        written(tmp_path / "dropped"),
        evidence_of(ours),
    )
    assert len(expected) > 30
    assert set(kept) == {native for native, reason in verdicts(ours).items() if reason is None}
    assert {
        native: (
            document["metadata"]["duplicate_of"],
            pytest.approx(document["metadata"]["similarity"]),
        )
        for native, document in dropped.items()
    } == expected
    assert {document["metadata"]["filter_reason"] for document in dropped.values()} == {
        "near_duplicate"
    }
    counts = {
        native: document["metadata"].get("stands_for", 1) for native, document in kept.items()
    }
    assert sum(counts.values()) == len(kept) + len(dropped)
    assert counts["short"] == 1
    facts = orjson.loads((tmp_path / "dedup" / "decision.json").read_bytes())
    assert (facts["ranks"], facts["documents"], facts["removed"]) == (
        tasks,
        len(kept) + len(dropped),
        len(dropped),
    )
    stats = {
        step["name"]: step["stats"]
        for step in orjson.loads((tmp_path / "logs" / "kept" / "stats.json").read_bytes())
    }
    stats = next(found for name, found in stats.items() if "Windtunnel near-duplicates" in name)
    assert (stats["total"], stats["dropped_near_duplicate"]) == (
        len(kept) + len(dropped),
        len(dropped),
    )


def signed(folder: Path, documents: list[list[Document]], **settings: Any) -> None:
    for rank, mine in enumerate(documents):
        step = MinHashSignatures(str(folder), **settings)
        assert list(step.run(iter(mine), rank, len(documents))) == mine


class Given:
    """Documents of each rank, as a step that a decision reads again."""

    def __init__(self, documents: list[list[Document]]) -> None:
        self.documents = documents

    def run(self, data: Any, rank: int, world_size: int) -> Any:
        return iter(self.documents[rank])


def texts(*found: str) -> list[Document]:
    return [Document(text=text, id=str(number)) for number, text in enumerate(found)]


PAGE = " ".join(f"word{number}" for number in range(40))


def test_a_number_in_the_metadata_decides_before_length(tmp_path: Path) -> None:
    documents = [texts(PAGE, f"{PAGE} longer"), []]
    documents[0][0].metadata["quality"] = 0.9
    documents[0][1].metadata["quality"] = 0.1
    for name, prefer, stays in (("quality", "quality", "0"), ("length", None, "1")):
        signed(tmp_path / name, documents, prefer=prefer)
        list(MinHashDecision(str(tmp_path / name), [Given(documents)]).run())  # type: ignore[list-item]
        left = list(MinHashFilter(str(tmp_path / name)).run(iter(documents[0]), 0, 2))
        assert [document.id for document in left] == [stays]
        assert left[0].metadata["stands_for"] == 2
        assert list(MinHashFilter(str(tmp_path / name)).run(iter([]), 1, 2)) == []


def test_steps_before_the_signatures_are_run_again_for_the_decision(
    data: Path, tmp_path: Path
) -> None:
    """A filter before deduplication: documents are counted behind it."""
    steps = [reader(data), LambdaFilter(_even)]
    folder = str(tmp_path / "dedup")
    for name, pipeline, tasks in (
        ("signed", [*steps, MinHashSignatures(folder)], 2),
        ("decided", [MinHashDecision(folder, steps, verify=0.6)], 1),
        ("kept", [*steps, MinHashFilter(folder), JsonlWriter(str(tmp_path / "kept"))], 2),
    ):
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=1, logging_dir=str(tmp_path / "logs" / name)
        ).run()
    kept = written(tmp_path / "kept")
    assert kept
    assert all(len(document["text"]) % 2 == 0 for document in kept.values())


def _even(document: Document) -> bool:
    return len(document.text) % 2 == 0


def test_text_that_is_no_unicode_is_compared_as_well(tmp_path: Path) -> None:
    documents = [texts(f"{PAGE} \ud800", f"{PAGE} x y")]
    signed(tmp_path, documents)
    list(MinHashDecision(str(tmp_path), [Given(documents)]).run())  # type: ignore[list-item]
    assert len(list(MinHashFilter(str(tmp_path)).run(iter(documents[0])))) == 1


def test_mistakes_say_what_is_missing(tmp_path: Path) -> None:
    documents = [texts(PAGE, f"{PAGE} longer"), texts("other words entirely " * 9)]
    folder, source = str(tmp_path), Given(documents)

    def refused(step: Any, *arguments: Any) -> UserError:
        with pytest.raises(UserError) as caught:
            list(step.run(*arguments))
        assert caught.value.fix
        return caught.value

    decision = MinHashDecision(folder, [source])  # type: ignore[list-item]
    assert refused(decision).message == "no signatures"
    signed(tmp_path, documents)
    assert refused(decision, None, 0, 2).field == "tasks"
    assert refused(MinHashFilter(folder), iter([]), 0, 2).message == "nothing was decided"
    source.documents = [documents[0], texts("another text altogether")]
    list(decision.run())  # the id is the same; what counts is the candidates' text as it is now
    source.documents = [documents[0][::-1], documents[1]]
    assert "'1'" in str(refused(decision).found)
    source.documents = [documents[0], []]
    assert "0 documents, 1 were signed" in str(refused(decision).found)
    source.documents = documents
    list(decision.run())
    assert refused(MinHashFilter(folder), iter(documents[0]), 0, 3).allowed == ["2"]
    assert "'1'" in str(refused(MinHashFilter(folder), iter(documents[0][::-1]), 0, 2).found)
    assert "1 documents, 2 were signed" in str(
        refused(MinHashFilter(folder), iter(documents[0][:1]), 0, 2).found
    )
    list(MinHashSignatures(folder, bands=3).run(iter(documents[1]), 1, 2))
    assert "bands 14 and 3" in str(refused(decision).found)
    os.remove(tmp_path / "signatures" / "00001.parquet")
    assert refused(decision).message == "a rank has not signed"
    with pytest.raises(UserError):
        MinHashSignatures(folder, ngrams=0)
