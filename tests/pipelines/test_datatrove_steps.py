"""Our stages and runs inside datatrove's own pipelines."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from artifacts.errors import UserError
from artifacts.tables import read_parquet
from pipelines.datatrove.reader import WindtunnelReader
from pipelines.datatrove.steps import WindtunnelStep
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.stages.language import LanguageStage

FRENCH = "Les maisons du village sont blanches et les rues restent calmes pendant que le vent souffle sur la mer.\n"
ROWS = "[{language: {keep: [en]}}, {heuristics: {thresholds: {min_words: 120}}}, {decontaminate: {against: [data/benchmark.jsonl]}}]"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's folder, its web source, a foreign page and a copied benchmark item cut into
    three files.
    """
    from pipelines.starter.write import write_starter

    folder = tmp_path_factory.mktemp("steps") / "starter"
    write_starter(folder)
    lines = (folder / "data" / "web.jsonl").read_bytes().splitlines(keepends=True)
    item = orjson.loads((folder / "data" / "benchmark.jsonl").read_bytes().splitlines()[0])["text"]
    page = orjson.loads(lines[0])["text"]
    for name, text in (("foreign", FRENCH * 9), ("copied", f"{page}\n{item}\n{page}")):
        lines.append(orjson.dumps({"id": name, "text": text}) + b"\n")
    for number in range(3):
        (folder / "data" / f"web-{number}.jsonl").write_bytes(b"".join(lines[number::3]))
    return folder


@pytest.fixture(scope="module")
def ours(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """A run of the row-by-row stages over the web source."""
    sources = "corpus.sources=[{name: web, paths: ['data/web-*.jsonl'], id_field: id}]"
    overrides = [sources, f"corpus.stages={ROWS}", "corpus.chunk_mib=0.05", "tokenizer=null"]
    return run_recipe(
        load_recipe(corpus / "recipe.yaml", overrides),
        str(tmp_path_factory.mktemp("runs")),
        until="corpus",
    )


def verdicts(outcome: RunOutcome) -> dict[str, str | None]:
    """Native id -> reason, None where kept."""
    found = {}
    for chunk in outcome.record["chunks"]:
        documents = read_parquet(
            outcome.store, chunk["documents"]["name"], "documents", ["native_id"]
        )
        selection = read_parquet(outcome.store, chunk["selection"]["name"], "selection")
        found |= dict(
            zip(documents["native_id"].to_pylist(), selection["reason"].to_pylist(), strict=True)
        )
    return found


def written(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [
        line
        for path in sorted(folder.rglob("*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    documents = [orjson.loads(line) for line in lines]
    assert len({document["id"] for document in documents}) == len(documents)
    return {document["id"]: document for document in documents}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_our_stages_in_a_datatrove_pipeline_keep_and_drop_what_our_run_does(
    corpus: Path, ours: RunOutcome, tmp_path: Path, workers: int
) -> None:
    steps = [
        WindtunnelStep(
            "language",
            {"keep": ["en"]},
            exclusion_writer=JsonlWriter(str(tmp_path / "dropped" / "language")),
        ),
        WindtunnelStep(
            "heuristics",
            {"thresholds": {"min_words": 120}},
            exclusion_writer=JsonlWriter(str(tmp_path / "dropped" / "heuristics")),
            batch_mib=0.01,
        ),
        WindtunnelStep(
            "decontaminate",
            {"against": ["data/benchmark.jsonl"]},
            folder=str(corpus),
            exclusion_writer=JsonlWriter(str(tmp_path / "dropped" / "decontaminate")),
        ),
    ]
    LocalPipelineExecutor(
        [
            JsonlReader(str(corpus / "data"), glob_pattern="web-*.jsonl"),
            *steps,
            JsonlWriter(str(tmp_path / "kept")),
        ],
        tasks=2,
        workers=workers,
        logging_dir=str(tmp_path / "logs"),
        start_method="spawn",
    ).run()
    kept, dropped, expected = (
        written(tmp_path / "kept"),
        written(tmp_path / "dropped"),
        verdicts(ours),
    )
    assert set(kept) == {native for native, reason in expected.items() if reason is None}
    assert {
        native: document["metadata"]["filter_reason"] for native, document in dropped.items()
    } == {native: reason for native, reason in expected.items() if reason is not None}
    assert set(expected.values()) >= {
        None,
        "language_not_kept",
        "gopher_short_doc",
        "benchmark_overlap",
    }
    assert all(
        document["metadata"]["language"] == "en" and document["metadata"]["words"] >= 120
        for document in kept.values()
    )
    stats = {
        step["name"]: step["stats"]
        for step in orjson.loads((tmp_path / "logs" / "stats.json").read_bytes())
    }
    assert (
        stats["FILTER: heuristics"]["forwarded"] + stats["FILTER: heuristics"]["dropped"]
        == stats["FILTER: heuristics"]["total"]
    )


def through(step: WindtunnelStep, documents: Iterable[Document]) -> list[Document]:
    return list(step.run(iter(documents)))


def test_a_rewriting_stage_changes_the_text_and_order_stays() -> None:
    kept = through(
        WindtunnelStep("newlines"),
        [Document(text=f"a\r\nb{number}", id=str(number)) for number in range(5)],
    )
    assert [(document.id, document.text) for document in kept] == [
        (str(number), f"a\nb{number}") for number in range(5)
    ]


def test_batches_are_bounded_by_text_and_do_not_change_the_outcome() -> None:
    documents = [("1 2 3 " * number, str(number)) for number in range(30)]
    signals = []
    for batch_mib in (1e-6, 1.0):
        step = WindtunnelStep("heuristics", {"thresholds": {"min_words": 20}}, batch_mib=batch_mib)
        signals.append(
            [
                (doc.id, doc.metadata)
                for doc in through(step, [Document(text=text, id=id_) for text, id_ in documents])
            ]
        )
        sizes = [
            len(batch)
            for batch in step._batches(Document(text=text, id=id_) for text, id_ in documents)
        ]
        assert sum(sizes) == 30
        assert sizes[-1] == (1 if batch_mib < 1 else 30)
    assert signals[0] == signals[1]


def test_a_text_that_is_no_unicode_is_dropped_with_a_reason_and_can_be_written(
    tmp_path: Path,
) -> None:
    step = WindtunnelStep(LanguageStage(), exclusion_writer=JsonlWriter(str(tmp_path)))
    kept = through(
        step,
        [Document(text="all is well", id="good"), Document(text="half \ud800 of a pair", id="bad")],
    )
    assert [document.id for document in kept] == ["good"]
    assert written(tmp_path)["bad"]["metadata"]["filter_reason"] == "not_unicode"


def test_an_empty_pipeline_gives_nothing() -> None:
    assert through(WindtunnelStep("language"), []) == []


@pytest.mark.parametrize("stage", ["exact_dedup", "minhash_dedup", "substring_dedup", "line_dedup"])
def test_a_comparing_stage_is_refused_with_the_way_to_run_it(stage: str) -> None:
    with pytest.raises(UserError, match="compares documents with each other") as raised:
        WindtunnelStep(stage)
    assert "put it into a recipe: windtunnel run RECIPE" in str(raised.value.fix)


@pytest.mark.parametrize(
    ("stage", "settings", "field", "nearest"),
    [
        ("langage", {}, "stage", "language"),
        ("language", {"kep": ["en"]}, "settings.kep", None),
        ("language", {"min_score": 2}, "settings.min_score", None),
        (
            "heuristics",
            {"thresholds": {"min_word": 1}},
            "heuristics.thresholds.min_word",
            "min_words",
        ),
    ],
)
def test_wrong_settings_are_user_errors_when_the_step_is_made(
    stage: str, settings: dict[str, Any], field: str, nearest: str | None
) -> None:
    with pytest.raises(UserError) as raised:
        WindtunnelStep(stage, settings)
    assert raised.value.field == field
    assert nearest is None or raised.value.nearest == nearest


@pytest.mark.parametrize("ranks", [1, 2, 50])
def test_a_run_is_read_by_rank_each_selected_document_once(ours: RunOutcome, ranks: int) -> None:
    expected = verdicts(ours)
    shares = [
        list(WindtunnelReader(ours.store.root).run(rank=rank, world_size=ranks))
        for rank in range(ranks)
    ]
    found = [document for share in shares for document in share]
    assert sorted(document.metadata["native_id"] for document in found) == sorted(
        native for native, why in expected.items() if why is None
    )
    assert len(ours.record["chunks"]) > 2
    assert sum(bool(share) for share in shares) == min(ranks, len(ours.record["chunks"]))
    assert all(
        len(bytes.fromhex(document.id)) == 16 and document.metadata["source"] == "web"
        for document in found
    )


def test_the_newest_text_version_and_the_conversation_are_read(
    starter: Path, tmp_path: Path
) -> None:
    (starter.parent / "data" / "web.jsonl").write_text(
        '{"id": "a", "text": "one\\r\\ntwo", "kind": "note"}\n'
    )
    outcome = run_recipe(
        load_recipe(starter, ["corpus.stages=[newlines]"]), str(tmp_path / "runs"), until="corpus"
    )
    (document,) = WindtunnelReader("starter", str(tmp_path / "runs"), sources=["web"]).run()
    assert document.text == "one\ntwo"
    assert document.metadata["meta"] == {"kind": "note"}
    conversations = list(WindtunnelReader(outcome.store.root, sources=["instructions"]).run())
    assert conversations[0].metadata["messages"][0].keys() == {"role", "content"}
    with pytest.raises(UserError, match="no such source"):
        WindtunnelReader(outcome.store.root, sources=["wb"])


def test_a_run_that_selected_nothing_yet_is_a_user_error(starter: Path, tmp_path: Path) -> None:
    run_recipe(load_recipe(starter), str(tmp_path / "runs"), until="read")
    with pytest.raises(UserError, match="selected no documents yet") as raised:
        WindtunnelReader("starter", str(tmp_path / "runs"))
    assert "--until corpus" in str(raised.value.fix)
