"""Blocks of datatrove that do not end on a document: it is quarantined, the rest of the run goes on,
and the next call tries it again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil
import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.formatters import PIIFormatter

from artifacts.errors import UserError
from artifacts.publish import published
from artifacts.tables import read_parquet
from pipelines.datatrove.steps import WindtunnelStep
from pipelines.executors.progress import Silent
from pipelines.recipe.load import load_recipe
from pipelines.report.explain import explain_document, lines
from pipelines.report.page import write_report
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.requeue import requeue
from pipelines.signals.datatrove_blocks import BlockUse
from pipelines.stages.bounded_steps import CpuLimit
from pipelines.stages.datatrove import DatatroveMeasure
from tests.pipelines.run_trees import tree

DOTS = "1.1." * 16_384  # datatrove's expression for mail addresses takes 26 s on it
FEWER_DOTS = "1.1." * 3_072  # a second
NEVER = "a" * 60 + "b"  # (a+)+$ does not end on it
DOCUMENTS = 40

RECIPE = """
name: limited
corpus:
  chunk_mib: 0.0625
  sources:
    - {{name: web, paths: [web.jsonl], id_field: id}}
    - {{name: books, paths: [books.jsonl], id_field: id}}
  stages: {stages}
"""
PII = "[{{datatrove: {{block: PIIFormatter, name: pii, cpu_seconds: {seconds}}}}}]"


def written(folder: Path, stages: str, slow: Sequence[str] = (DOTS,)) -> Path:
    """A recipe over two sources; the slow texts are in the first."""
    folder.mkdir(exist_ok=True)
    texts = [f"Document {i} was sent by writer{i}@example.com in spring." for i in range(DOCUMENTS)]
    rows = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    mixed = [*rows[:20], *({"id": f"slow{i}", "text": text} for i, text in enumerate(slow))]
    for name, lines_ in (("web", [*mixed, *rows[20:]]), ("books", rows)):
        (folder / f"{name}.jsonl").write_bytes(
            b"".join(orjson.dumps(row) + b"\n" for row in lines_)
        )
    (folder / "recipe.yaml").write_text(RECIPE.format(stages=stages))
    return folder / "recipe.yaml"


class Notes(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def limited(recipe: Path, runs: Path, **options: Any) -> RunOutcome:
    return run_recipe(load_recipe(recipe), str(runs), until="corpus", **options)


def ledgers(outcome: RunOutcome) -> dict[str, Any]:
    return {ledger["step"]: ledger for ledger in outcome.record["ledgers"]}


def selected(outcome: RunOutcome, source: str) -> dict[str, str | None]:
    """Native id -> reason, of the final selection."""
    reasons = {}
    for chunk in outcome.record["chunks"]:
        if chunk["source"] == source:
            documents = read_parquet(outcome.store, chunk["documents"]["name"], "documents")
            ids = documents["id"].to_pylist()
            table = read_parquet(
                outcome.store, outcome.record["selection"][source]["name"], "selection"
            )
            by_id = dict(zip(table["id"].to_pylist(), table["reason"].to_pylist(), strict=True))
            natives = documents["native_id"].to_pylist()
            reasons |= {native: by_id[id_] for native, id_ in zip(natives, ids, strict=True)}
    return reasons


@pytest.fixture(scope="module")
def slow_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome, list[str]]:
    """A run whose first source has a document on which PIIFormatter does not end; what was said."""
    folder, notes = tmp_path_factory.mktemp("slow"), Notes()
    recipe = written(folder / "corpus", PII.format(seconds=0.2))
    return recipe, limited(recipe, folder / "runs", progress=notes), notes.said


def test_the_document_is_quarantined_with_the_block_and_the_others_are_rewritten(
    slow_run: tuple[Path, RunOutcome, list[str]],
) -> None:
    _, outcome, _ = slow_run
    gone = {native for native, reason in selected(outcome, "web").items() if reason is not None}
    assert gone == {"slow0"}
    assert selected(outcome, "web")["slow0"] == "time_limit"
    assert set(selected(outcome, "books").values()) == {None}
    [reference] = [
        ref for ref in outcome.record["quarantine"] if ref["name"].endswith("web.parquet")
    ]
    [row] = read_parquet(outcome.store, reference["name"], "quarantine").to_pylist()
    assert (row["path"], row["reason"]) == ("web.jsonl", "time_limit")
    assert row["detail"] == ("datatrove's PIIFormatter had not ended after 0.2 s of processor time")
    assert row["length"] > len(row["raw"]) == 64 * 1024
    assert row["raw"].startswith(b'{"date":null,')
    text = "Document 3 was sent by writer3@example.com in spring."
    explained = explain_document(outcome.store, outcome.record, "web:3")
    assert explained["excerpt"] == PIIFormatter().format(text) != text


def test_the_ledger_counts_it_as_quarantined_and_no_reader_is_blamed(
    slow_run: tuple[Path, RunOutcome, list[str]],
) -> None:
    _, outcome, _ = slow_run
    entry = ledgers(outcome)["pii-limit"]["sources"]["web"]
    assert entry["in"]["documents"] == DOCUMENTS + 1
    assert entry["kept"]["documents"] == DOCUMENTS
    assert entry["quarantined"] == {"time_limit": {"documents": 1, "bytes": len(DOTS)}}
    assert ledgers(outcome)["read"]["sources"]["web"]["quarantined"] == {}
    assert "books" in ledgers(outcome)["pii-limit"]["sources"]


def test_manifest_terminal_report_and_explain_say_that_the_machine_decided(
    slow_run: tuple[Path, RunOutcome, list[str]],
) -> None:
    _, outcome, said = slow_run
    marked = []
    for prefix in outcome.record["units"]:
        manifest = published(outcome.store, prefix)
        if manifest is not None and "depends_on_machine" in manifest.facts:
            fact = manifest.facts["depends_on_machine"]
            marked.append(prefix.rsplit("/", 1)[0])
            assert fact == {
                "documents": 1,
                "who": "datatrove's PIIFormatter",
                "cpu_seconds": 0.2,
            }
    assert sorted(marked) == ["documents/pii", "selection/pii-limit"]
    [note] = [note for note in said if "depends on the machine" in note]
    assert "1 document of source 'web'" in note
    assert "PIIFormatter" in note
    report = outcome.store.read(write_report(outcome.store, outcome.record)).decode()
    assert "This depends on the machine" in report
    assert "time_limit" in report
    explained = explain_document(outcome.store, outcome.record, "web:slow0")
    assert "  quarantined by pii-limit: time_limit" in lines(explained)


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(
    slow_run: tuple[Path, RunOutcome, list[str]], tmp_path: Path
) -> None:
    recipe, outcome, _ = slow_run
    limited(recipe, tmp_path / "two", workers=2)
    assert tree(tmp_path / "two" / "limited") == tree(Path(outcome.store.root))


def test_the_next_call_tries_it_again_and_makes_nothing_else_where_the_outcome_is_the_same(
    tmp_path: Path,
) -> None:
    recipe = written(tmp_path / "corpus", PII.format(seconds=0.2))
    first = limited(recipe, tmp_path / "runs")
    before = tree(tmp_path / "runs" / "limited")
    again = limited(recipe, tmp_path / "runs")
    assert [ledger.step for ledger in again.ledgers if ledger.computed] == ["pii (measure)"]
    assert again.computed == 1
    assert tree(tmp_path / "runs" / "limited") == before
    assert selected(again, "web") == selected(first, "web")


@pytest.mark.slow
def test_a_document_that_gets_longer_is_decided_and_that_of_a_run_that_always_gave_it_longer(
    tmp_path: Path,
) -> None:
    short = written(tmp_path / "short", PII.format(seconds=0.1), [FEWER_DOTS])
    assert selected(limited(short, tmp_path / "runs"), "web")["slow0"] == "time_limit"
    longer = written(tmp_path / "short", PII.format(seconds=60), [FEWER_DOTS])
    decided = limited(longer, tmp_path / "runs")
    assert set(selected(decided, "web").values()) == {None}
    assert "pii-limit" not in ledgers(decided)
    assert ledgers(decided)["pii (measure)"]["computed"] == 1
    fresh = limited(longer, tmp_path / "fresh")
    assert decided.record["chunks"] == fresh.record["chunks"]
    assert decided.record["selection"] == fresh.record["selection"]
    assert decided.record["quarantine"] == fresh.record["quarantine"]
    written(tmp_path / "short", PII.format(seconds=0.1), [FEWER_DOTS])
    assert limited(short, tmp_path / "runs").computed == 0  # what was decided stays


@pytest.mark.slow
def test_a_filter_quarantines_it_before_it_chooses(tmp_path: Path) -> None:
    stages = (
        "[{datatrove: {block: RegexFilter, settings: {regex_exp: '(a+)+$|writer2[0-9]@'}, "
        "name: federal, cpu_seconds: 0.1, sources: [web]}}, "
        "{datatrove: {block: SymbolLinesFormatter}}]"
    )
    outcome = limited(written(tmp_path / "corpus", stages, [NEVER, NEVER]), tmp_path / "runs")
    reasons = selected(outcome, "web")
    assert {native for native, reason in reasons.items() if reason == "time_limit"} == {
        "slow0",
        "slow1",
    }
    assert {native for native, reason in reasons.items() if reason == "filtered"} == {
        str(i) for i in range(20, 30)
    }
    names = [ledger.step for ledger in outcome.ledgers]
    assert names.index("federal-limit") < names.index("federal")
    assert ledgers(outcome)["federal"]["sources"]["web"]["in"]["documents"] == DOCUMENTS
    assert limited(tmp_path / "corpus" / "recipe.yaml", tmp_path / "runs").computed == 1


def test_documents_within_the_limit_have_the_units_they_had_and_the_limit_is_in_no_key(
    tmp_path: Path,
) -> None:
    recipe = written(tmp_path / "corpus", PII.format(seconds=10), [])
    outcome = limited(recipe, tmp_path / "runs")
    assert "pii-limit" not in ledgers(outcome)
    assert "undecided" not in outcome.record["chunks"][0]
    for prefix in outcome.record["units"]:
        manifest = published(outcome.store, prefix)
        assert manifest is not None
        assert "cpu_seconds" not in str(manifest.inputs)
        assert "depends_on_machine" not in manifest.facts
    other = written(tmp_path / "corpus", PII.format(seconds=20), [])
    assert limited(other, tmp_path / "runs").computed == 0


def test_requeue_leaves_it_to_the_next_call(
    slow_run: tuple[Path, RunOutcome, list[str]],
) -> None:
    recipe, outcome, _ = slow_run
    runs = str(Path(outcome.store.root).parent)
    done = requeue(runs, "limited", load_recipe(recipe), reasons=["time_limit"])
    assert done.totals() == {"document": 0, "still_quarantined": 1, "not_possible": 0}
    assert done.why == {("web", "time_limit"): {"the next call of its run tries it": 1}}


def test_a_step_of_a_datatrove_pipeline_drops_it() -> None:
    documents = [
        Document(text=text, id=str(i)) for i, text in enumerate(["a@b.com", DOTS, "c@d.com"])
    ]
    step = WindtunnelStep("datatrove", {"block": "PIIFormatter", "cpu_seconds": 0.2})
    passed = list(step.run(documents))
    assert [document.id for document in passed] == ["0", "2"]
    assert [document.text for document in passed] == [
        PIIFormatter().format(text) for text in ("a@b.com", "c@d.com")
    ]


def test_a_process_that_dies_on_a_document_is_an_error_that_names_both() -> None:
    """As the system ends one that takes too much memory."""
    use = BlockUse("RegexFilter", {"regex_exp": "(a+)+$"})
    batch = pa.record_batch(
        {
            "text": pa.array(["a", NEVER, "b"], pa.large_string()),
            "native_id": ["first", "second", "third"],
            "source": ["web"] * 3,
            "path": ["web.jsonl"] * 3,
            "offset": pa.array([0, 1_234, 2_345], pa.int64()),
        }
    )
    measure = DatatroveMeasure(use, 600.0)
    assert measure.measure_within(batch.slice(0, 1))[0][0].to_pylist() == ["filtered"]
    children = [
        child
        for child in psutil.Process().children()
        if "killable_child" in " ".join(child.cmdline())
    ]
    assert len(children) == 1
    killer = threading.Thread(target=_kill_at_work, args=children)
    killer.start()
    with pytest.raises(UserError) as raised:
        measure.measure_within(batch)
    killer.join()
    assert "datatrove's RegexFilter works ended by SIGKILL" in raised.value.message
    assert raised.value.found == "source web: web.jsonl at 1,234 (second)"


def _kill_at_work(child: psutil.Process) -> None:
    before = child.cpu_times().user
    while child.cpu_times().user < before + 0.1:
        time.sleep(0.01)
    child.kill()


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", ".nan"])
def test_a_limit_out_of_range_is_refused(tmp_path: Path, seconds: str) -> None:
    recipe = written(tmp_path / "corpus", PII.format(seconds=seconds))
    with pytest.raises(UserError) as raised:
        load_recipe(recipe)
    assert re.search("cpu_seconds", str(raised.value))


def test_a_longer_text_has_a_longer_limit() -> None:
    limit = CpuLimit("somebody", 10.0)
    assert [limit.of(size) for size in (0, 100, 1 << 20, 3 << 20)] == [10.0, 10.0, 10.0, 30.0]
    assert limit.detail(3 << 20) == "somebody had not ended after 30 s of processor time"


def test_an_expression_that_does_not_end_on_a_short_text_is_refused_with_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.stages.datatrove.CPU_SECONDS", 0.3)
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    recipe = tmp_path / "endless.yaml"
    recipe.write_text(
        "name: endless\ncorpus:\n  sources: [{name: s, paths: [a.jsonl]}]\n  stages:\n"
        "    - datatrove: {block: RegexFilter, settings: {regex_exp: '^(([a-zA-Z,.\\s])+)+;$'}}\n"
    )
    with pytest.raises(UserError, match="cannot work with these settings") as error:
        run_recipe(load_recipe(recipe), str(tmp_path / "runs"))
    assert "no end on a short text" in str(error.value.found)
