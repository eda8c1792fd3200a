"""Files of benchmarks as their publishers lay them out, and what a model is asked of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from trainer.evaluation.tasks import layouts
from trainer.evaluation.tasks.items import Item, Task
from trainer.evaluation.tasks.layouts import LAYOUTS, Layout, read_task

ROOT = Path(__file__).resolve().parents[4]

ARC = {
    "id": "Mercury_7",
    "question": {
        "stem": "What melts?",
        "choices": [{"text": "ice", "label": "A"}, {"text": "granite", "label": "B"}],
    },
    "answerKey": "A",
}
HELLASWAG = {
    "ind": 24,
    "activity_label": "Roof shingle removal",
    "ctx_a": "A man is sitting on a roof.",
    "ctx_b": "he",
    "ctx": "A man is sitting on a roof. he",
    "endings": ["is using wrap [substeps] here.", "[header] sings", "cuts.", "flies."],
    "source_id": "activitynet~v_1",
    "label": 3,
}


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def table(*rows: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Task]:
    def reading(name: str, text: str | bytes, **options: Any) -> Task:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_task([path], **options)

    return reading


Read = Callable[..., Task]


def test_hellaswag_is_cleaned_of_its_markup_and_its_videos_are_clusters(read: Read) -> None:
    task = read("hellaswag_val.jsonl", lines(HELLASWAG))
    assert (task.layout, task.norm, task.chance) == ("hellaswag", "per_character", 0.25)
    assert task.items == (
        Item(
            key="hellaswag_val#0",
            context="Roof shingle removal: A man is sitting on a roof. He",
            options=(" is using wrap here.", "  sings", " cuts.", " flies."),
            right=3,
            answer=" flies.",
            cluster="activitynet~v_1",
            text="A man is sitting on a roof. He\nis using wrap [substeps] here.\n[header] sings\n"
            "cuts.\nflies.",
        ),
    )
    assert task.records[0]["label"] == "3"
    assert task.records[0]["ind"] == 24


def test_arc_is_read_as_published_and_as_a_data_set_has_it(read: Read) -> None:
    published = read("ARC-Easy-Test.jsonl", lines(ARC))
    record = {
        "id": "Mercury_7",
        "question": "What melts?",
        "choices": {"text": ["ice", "granite"], "label": ["A", "B"]},
        "answerKey": "A",
    }
    hosted = read("test.jsonl", lines(record))
    assert published.items == hosted.items
    assert published.records == hosted.records == (record,)
    (item,) = hosted.items
    assert (item.key, item.context) == ("Mercury_7", "Question: What melts?\nAnswer:")
    assert (item.options, item.right, item.answer) == ((" ice", " granite"), 0, " ice")
    assert (published.name, hosted.name) == ("ARC-Easy-Test", "arc")


def test_the_challenge_of_arc_is_told_apart_by_its_files_name(read: Read) -> None:
    assert read("ARC-Challenge-Test.jsonl", lines(ARC)).norm == "pmi"
    assert read("ARC-Easy-Test.jsonl", lines(ARC)).norm == "per_character"


def test_mmlu_is_a_table_without_names_and_the_file_is_the_subject(read: Read) -> None:
    row = ['What is "2, 2"?\nSay.', "1", "2", "3", "4", "C"]
    task = read("abstract_algebra_test.csv", table(row, ["Q", "w", "x", "y", "z", "A"]))
    assert task.layout == "mmlu"
    assert task.records[0] == {
        "question": row[0],
        "subject": "abstract_algebra",
        "choices": ["1", "2", "3", "4"],
        "answer": 2,
    }
    assert task.items[0].context == f"Question: {row[0]}\nAnswer:"
    assert [item.key for item in task.items] == [
        "abstract_algebra_test#0",
        "abstract_algebra_test#1",
    ]
    hosted = {
        "question": row[0],
        "subject": "abstract_algebra",
        "choices": row[1:5],
        "answer": 2,
    }
    assert read("one.jsonl", lines(hosted)).records[0] == task.records[0]


def test_faulty_questions_of_mmlu_redux_are_left_out_and_counted(read: Read) -> None:
    good = {
        "question": "Q",
        "choices": ["a", "b", "c", "d"],
        "answer": 1,
        "error_type": "ok",
    }
    task = read("redux.jsonl", lines(good, good | {"error_type": "wrong_groundtruth"}, good))
    assert (task.layout, len(task.items)) == ("mmlu_redux", 2)
    assert task.note == "1 questions that their publisher found faulty are left out"
    columns = ["question", "choices", "groundtruth_answer", "error_type"]
    published = read("all.csv", table(columns, ["Q", "['a', 'b', 'c', 'd']", "1", "ok"]))
    assert published.records[0]["choices"] == good["choices"]
    assert published.items[0].answer == " b"


def test_chinese_exams_are_asked_in_chinese_without_a_space(read: Read) -> None:
    ceval = table(
        ["id", "question", "A", "B", "C", "D", "answer", "explanation"],
        ["0", "水的化学式是____", "H2O", "CO2", "O2", "H2", "A", ""],
    )
    cmmlu = table(
        ["", "Question", "A", "B", "C", "D", "Answer"],
        ["0", "水的化学式是____", "H2O", "CO2", "O2", "H2", "A"],
    )
    for name, text, layout in (
        ("chemistry_val.csv", ceval, "ceval"),
        ("chemistry.csv", cmmlu, "cmmlu"),
    ):
        task = read(name, text)
        assert task.layout == layout
        assert task.records[0]["subject"] == "chemistry"
        assert task.items[0].context == "问题：水的化学式是____\n答案："
        assert task.items[0].options == ("H2O", "CO2", "O2", "H2")
    assert task.records[0]["Answer"] == "A"


def test_an_answer_of_gsm8k_is_written_out(read: Read) -> None:
    answer = "3+4=<<3+4=7>>7\n#### 7"
    task = read("test.jsonl", lines({"question": "3 and 4?", "answer": answer}))
    (item,) = task.items
    assert (task.layout, task.name, task.chance) == ("gsm8k", "gsm8k", None)
    assert (item.options, item.right, item.answer) == ((), None, f" {answer}")


def test_options_of_bbh_are_taken_out_of_the_question(read: Read) -> None:
    examples = [
        {"input": "Which is round?\nOptions:\n(A) a ball\n(B) a cube", "target": "(B)"},
        {"input": "Is it so?\nOptions:\n- valid \n- invalid", "target": "invalid"},
        {"input": "not ( True ) is", "target": "False"},
        {"input": "Like X?\nOptions:\n(A) Monsters\n(B) Inc\n(C) Y", "target": "Monsters, Inc"},
    ]
    task = read("shapes.json", json.dumps({"canary": "c", "examples": examples}, indent=2))
    assert task.layout == "bbh"
    asked = [(item.context, item.options, item.right, item.answer) for item in task.items]
    assert asked == [
        ("Q: Which is round?\nA:", (" a ball", " a cube"), 1, " a cube"),
        ("Q: Is it so?\nA:", (" valid", " invalid"), 1, " invalid"),
        ("Q: not ( True ) is\nA:", (), None, " False"),
        (f"Q: {examples[3]['input']}\nA:", (), None, " Monsters, Inc"),
    ]
    assert task.chance == 0.5
    assert {record["task"] for record in task.records} == {"shapes"}
    assert read("shapes.jsonl", lines(*examples)).items == task.items


def test_records_of_this_project_hold_those_of_publishers(read: Read) -> None:
    exam = {"Question": "Q", "A": "a", "B": "b", "C": "c", "D": "d", "Answer": "C"}
    record = {
        "id": "cmmlu:dev/law#0",
        "benchmark": "cmmlu",
        "text": "Q",
        "answer": "C",
        "source_path": "data/dev/law_dev.csv",
        "meta": exam,
    }
    task = read("exams.jsonl", lines(record))
    assert (task.layout, task.items[0].key) == ("cmmlu", "cmmlu:dev/law#0")
    assert task.records == (exam | {"subject": "law"},)


@pytest.mark.parametrize(
    ("name", "layout", "options"),
    [("mmlu-redux", "mmlu_redux", 200), ("gsm8k-test", "gsm8k", 0), ("bbh", "bbh", 149)],
)
def test_the_benchmarks_that_come_along_are_read(name: str, layout: str, options: int) -> None:
    task = read_task([ROOT / f"examples/benchmarks/{name}.jsonl"])
    assert (task.name, task.layout, len(task.items)) == (name, layout, 200)
    assert sum(bool(item.options) for item in task.items) == options
    for item in task.items:
        assert item.key.partition(":")[0] == name
        assert item.right is None or item.options[item.right] == item.answer
    if name == "bbh":
        assert len({record["task"] for record in task.records}) == 27


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_line_ends_and_compression_change_nothing(read: Read, mark: str, end: str) -> None:
    text = (mark + lines(ARC, ARC | {"id": "b"}).replace("\n", end) + end).encode()
    plain = read("a.jsonl", lines(ARC, ARC | {"id": "b"}))
    halves = zstandard.compress(text[:99]) + zstandard.compress(text[99:])
    for name, raw in (
        ("a.jsonl", text),
        ("a.jsonl.gz", gzip.compress(text)),
        ("a.jsonl.zst", halves),
    ):
        assert read(name, raw).items == plain.items
    row = table(["Q", "w", "x", "y", "z", "A"])
    assert read("m.csv", mark + row).items == read("m.csv", row.replace("\r\n", end)).items


def test_a_limit_is_spread_over_all_files(tmp_path: Path) -> None:
    for subject in ("anatomy", "law"):
        rows = [[f"{subject} {number}", "w", "x", "y", "z", "B"] for number in range(10)]
        (tmp_path / f"{subject}_test.csv").write_text(table(*rows))
    task = read_task(sorted(tmp_path.iterdir()), limit=4)
    assert [item.key for item in task.items] == [
        "anatomy_test#0",
        "anatomy_test#5",
        "law_test#0",
        "law_test#5",
    ]
    assert (task.name, task.note) == ("mmlu", "4 of 20 items, evenly spread")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for part in ("dev", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "law.csv").write_text(table(["Q", "w", "x", "y", "z", "B"]))
    task = read_task([tmp_path / part / "law.csv" for part in ("dev", "test")])
    assert [item.key for item in task.items] == ["dev/law#0", "test/law#0"]


def test_a_layout_more_is_an_entry(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    def form(record: Any, key: str) -> Item:
        return Item(key, record["before"], (), None, record["after"], key, record["before"])

    own = Layout("own", (frozenset({"before", "after"}),), lambda row: dict(row.values), form)
    monkeypatch.setitem(LAYOUTS, "own", own)
    assert layouts.layout_named("own") is own
    task = read("a.jsonl", lines({"before": "one", "after": " two"}))
    assert (task.layout, task.items[0].answer) == ("own", " two")
