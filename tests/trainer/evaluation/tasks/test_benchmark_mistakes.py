"""What is wrong with a benchmark's file is said with file, line, field and fix; nothing is skipped."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from trainer.evaluation.tasks import files
from trainer.evaluation.tasks.layouts import LAYOUTS, read_task

GSM8K = {"question": "3 and 4?", "answer": "#### 7"}
MMLU = {"question": "Q", "choices": ["a", "b", "c", "d"], "answer": 1}
ARC = {"question": "Q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}
OWN = {"id": "x:1", "benchmark": "gsm8k", "text": "3 and 4?", "answer": "7", "meta": GSM8K}
GOOD = json.dumps(GSM8K)


def without(record: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != field}


def refused(path: Path, layout: str | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        read_task([path], layout)
    assert str(path) in str(caught.value)
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        (GSM8K, without(GSM8K, "answer"), "answer"),
        (GSM8K, GSM8K | {"answer": None}, "answer"),
        (GSM8K, GSM8K | {"answer": "seven"}, "answer"),
        (GSM8K, GSM8K | {"question": 7}, "question"),
        (GSM8K, GSM8K | {"question": "  "}, "question"),
        (GSM8K, GSM8K | {"question": "a\ud800"}, "question"),
        (MMLU, MMLU | {"answer": 4}, "answer"),
        (MMLU, MMLU | {"answer": -1}, "answer"),
        (MMLU, MMLU | {"answer": True}, "answer"),
        (MMLU, MMLU | {"answer": 1.0}, "answer"),
        (MMLU, MMLU | {"answer": "E"}, "answer"),
        (MMLU, MMLU | {"answer": "９"}, "answer"),
        (MMLU, MMLU | {"choices": ["a"]}, "choices"),
        (MMLU, MMLU | {"choices": "abcd"}, "choices"),
        (MMLU, MMLU | {"choices": ["a", "b", "c", ""]}, "choices"),
        (MMLU, MMLU | {"choices": ["a", "b", "c", 4]}, "choices"),
        (ARC, without(ARC, "answerKey"), "answerKey"),
        (ARC, ARC | {"answerKey": "C"}, "answerKey"),
        (ARC, ARC | {"choices": ["a", "b"]}, "choices"),
        (ARC, ARC | {"choices": {"text": ["a", "b"], "label": ["A", "A"]}}, "choices"),
        (ARC, ARC | {"choices": {"text": ["a", "b"], "label": ["A", "B", "C"]}}, "choices"),
        (ARC, ARC | {"question": {"stem": "Q"}}, "question.choices"),
        (OWN, OWN | {"id": "x:2", "answer": None}, "answer"),
        (OWN, OWN | {"id": "x:2", "meta": {"question": "Q"}}, "meta.answer"),
        (OWN, OWN | {"id": "x:2", "meta": 3}, "meta"),
        (OWN, OWN, "meta.id"),
        (
            {"input": "2?", "target": "2"},
            {"input": "2?\nOptions:\n(A) 2\n(B) 3", "target": "(C)"},
            "target",
        ),
    ],
)
def test_a_record_without_a_right_answer_is_named_by_line_and_field(
    tmp_path: Path, first: Any, second: Any, field: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(first)}\n\n{json.dumps(second)}\n")
    error = refused(path)
    assert (error.field, error.line) == (field, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ('{"question": NaN}', "not JSON"),
        ('{"question": 1' + "0" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "a record is a JSON object"),
        ("7", "a record is a JSON object"),
        ('{"question": "a", "question": "b"}', "a key stands twice"),
        ("\x00", "not JSON"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{GOOD}\n{line}\n{GOOD}\n")
    error = refused(path)
    assert message in error.message
    assert error.line == 2


@pytest.mark.parametrize(
    ("raw", "message", "line"),
    [
        (b"", "no items", None),
        (b"\n \n", "no items", None),
        (f"{GOOD}\n".encode() + b"\xff\n", "not UTF-8", 2),
        (GOOD.encode("utf-16"), "not UTF-8", 1),
        (b'{"title": "x"}', "no benchmark that is known", 1),
        (b'{"examples": 3}', "a list of records", None),
        (b'{"examples": [3]}', "a record is a JSON object", None),
    ],
)
def test_a_file_that_is_no_benchmark_is_refused(
    tmp_path: Path, raw: bytes, message: str, line: int | None
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    error = refused(path)
    assert message in error.message
    assert error.line == line


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("Q,a,b,c,d,A\nQ,a,b,c\n", 2, "another number of columns"),
        ('"Q\nQ",a,b,c,d,A\nQ,a,b,c,d,A,\n', 3, "another number of columns"),
        ('Q,a,b,c,d,A\n"Q,a,b,c,d,A\n', 2, "not CSV"),
        ("Q,a,b,c,d,A\nQ,a,b,c,d,E\n", 2, "none of the options"),
        ("Q,a,b,c,d,A\nQ,a,b,c,d,\n", 2, "none of the options"),
        ("Q,a,b,c,d,A\nQ,a,,c,d,A\n", 2, "the text is empty"),
        ("id,question,A,B,C,D\n0,Q,a,b,c,d\n", 2, "the record has no answer"),
        ("question,A,A,B,C,D\n", 1, "two columns have one name"),
    ],
)
def test_a_broken_table_is_named_by_the_line_its_record_begins_in(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    path = tmp_path / "law_test.csv"
    path.write_text(text)
    error = refused(path)
    assert message in error.message
    assert error.line == line


def test_files_that_cannot_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"{GOOD}\n" * 99
    for name, raw, message in (
        ("a.txt", b"x", "the suffix does not tell"),
        ("a", b"x", "the suffix does not tell"),
        ("a.jsonl.gz", b"x", "damaged"),
        ("a.jsonl.gz", gzip.compress(lines.encode())[:-9], "damaged"),
        ("a.jsonl.zst", b"x", "damaged"),
        ("a.jsonl.zst", zstandard.compress(lines.encode())[:-9], "damaged"),
    ):
        (tmp_path / name).write_bytes(raw)
        assert message in refused(tmp_path / name).message, name
    assert "no such file" in refused(tmp_path / "none.jsonl").message
    (tmp_path / "folder.jsonl").mkdir()
    assert "cannot read" in refused(tmp_path / "folder.jsonl").message
    monkeypatch.setattr(files, "LARGEST", 1000)
    for name, raw in (
        ("b.jsonl", lines.encode()),
        ("b.jsonl.gz", gzip.compress(lines.encode())),
        ("b.jsonl.zst", zstandard.compress(lines.encode())),
    ):
        (tmp_path / name).write_bytes(raw)
        assert "too large" in refused(tmp_path / name).message, name


def test_a_layout_that_the_file_is_not_in_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD)
    for layout in LAYOUTS:
        if layout != "gsm8k":
            assert refused(path, layout).line == 1
    with pytest.raises(UserError, match="no such layout") as caught:
        read_task([path], "gsm9k")
    assert caught.value.nearest == "gsm8k"
    for wrong in (0, -1):
        with pytest.raises(UserError, match="at least one item"):
            read_task([path], limit=wrong)
    with pytest.raises(UserError, match="no items"):
        read_task([])


def outcome(path: Path, layout: str | None = None) -> str:
    """The files of the task that was read, or what is said to be wrong."""
    try:
        return ", ".join(read_task([path], layout).files)
    except UserError as error:
        return str(error)


@given(raw=st.binary(max_size=200), suffix=st.sampled_from(["jsonl", "json", "csv", "jsonl.zst"]))
@settings(max_examples=150, deadline=None)
@pytest.mark.law
def test_hostile_bytes_are_a_task_or_a_mistake_that_is_said(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"hostile.{suffix}"
    path.write_bytes(raw)
    assert path.name in outcome(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
NAMES = sorted({name for layout in LAYOUTS.values() for one in layout.fields for name in one})


@given(
    record=st.dictionaries(st.sampled_from([*NAMES, "benchmark", "text", "meta", "label"]), VALUES),
    layout=st.sampled_from([None, *LAYOUTS]),
)
@settings(max_examples=300, deadline=None)
@pytest.mark.law
def test_hostile_fields_are_a_task_or_a_mistake_that_is_said(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any], layout: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "fields.jsonl"
    path.write_text(json.dumps(record))
    assert path.name in outcome(path, layout)


@pytest.mark.parametrize(
    ("options", "found", "told"),
    [
        ("(A) red\n(C) blue", "(B)", "(A), (C)"),
        ("(A) red\n(A) blue", "(A)", "two options have one name"),
    ],
)
def test_a_list_of_options_is_taken_as_it_is_lettered(
    tmp_path: Path, options: str, found: str, told: str
) -> None:
    path = tmp_path / "colours.json"
    example = {"input": f"Which?\nOptions:\n{options}", "target": found}
    path.write_text(json.dumps({"examples": [example]}))
    assert told in str(refused(path))


def test_a_file_of_faulty_questions_alone_says_so(tmp_path: Path) -> None:
    record = {"question": "Q", "choices": ["a", "b", "c", "d"], "answer": 0}
    path = tmp_path / "redux.jsonl"
    path.write_text(json.dumps({**record, "error_type": "wrong_groundtruth"}) + "\n")
    assert "every question in them was found faulty (1)" in str(refused(path))
