"""Rows as publishers lay them out to records with the fields of the Hugging Face data set.

    record = arc(row)        {"id": ..., "question": ..., "choices": {"text", "label"}, "answerKey"}

Those are the fields that the tasks of lm-evaluation-harness read, so the same record is asked there
and here. Both the publisher's form and that of the data set itself are taken. A record without an
answer, or with one that is none of its options, is an error that names the field.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from trainer.evaluation.tasks.option_lists import LETTER, listed
from trainer.evaluation.tasks.rows import Row, stem_of

Record = dict[str, Any]

LETTERS = ("A", "B", "C", "D")
_PART = re.compile(r"[_-](test|val|valid|validation|dev|train)$")
_SOLVED = re.compile(r"####\s*\S")
CANARY = "canary"


def unwrapped(row: Row) -> Row:
    """The publisher's fields of a record in this project's form for benchmarks: ``id``,
    ``benchmark``, ``text``, ``answer``, ``meta``; another row as it is.
    """
    values = row.values
    if not {"benchmark", "text", "meta"} <= set(values):
        return row
    meta = values["meta"]
    if not isinstance(meta, Mapping):
        raise row.error("the original fields belong here", "meta", found=type(meta).__name__)
    row.value("answer")
    given = {"id": row.text("id"), "task": row.text("benchmark").rpartition("/")[2]}
    source = values.get("source_path")
    if isinstance(source, str) and source.endswith(".csv"):
        given["subject"] = _PART.sub("", stem_of(source))
    if set(meta) <= {CANARY}:
        texts = {"input": values["text"], "target": values["answer"]}
        return Row(row.file, row.line, row.number, {**texts, **given}, row.under)
    inside = {**given, **meta, "id": given["id"]}
    return Row(row.file, row.line, row.number, inside, (*row.under, "meta"))


def subject_of(row: Row) -> str:
    """The subject that a record names, else its file: ``anatomy`` of ``anatomy_test.csv``."""
    named = row.values.get("subject")
    return named if isinstance(named, str) and named else _PART.sub("", row.stem)


def hellaswag(row: Row) -> Record:
    """``label`` becomes a text, as the data set has it; the part that is tested on has none."""
    endings = row.texts("endings")
    label = row.place(endings, False, "label")
    second = row.values.get("ctx_b", "")
    if not isinstance(second, str):
        raise row.error("a text belongs here", "ctx_b", found=repr(second)[:80])
    fields = {
        "activity_label": row.text("activity_label"),
        "ctx_a": row.text("ctx_a"),
        "ctx_b": row.unicode(second, "ctx_b"),
        "endings": endings,
        "label": str(label),
    }
    return {**dict(row.values), **fields}


def arc(row: Row) -> Record:
    """``question.stem`` and ``question.choices`` become ``question`` and ``choices``."""
    question = row.value("question")[1]
    nested = isinstance(question, Mapping)
    inside = Row(row.file, row.line, row.number, question, (*row.under, "question"))
    stem = inside.text("stem") if nested else row.text("question")
    holder = inside if nested else row
    choices = holder.value("choices")[1]
    if isinstance(choices, Mapping):
        texts, labels = choices.get("text"), choices.get("label")
    elif isinstance(choices, list) and all(isinstance(one, Mapping) for one in choices):
        texts, labels = ([one.get(name) for one in choices] for name in ("text", "label"))
    else:
        texts, labels = None, None
    options = holder.texts("choices", texts if isinstance(texts, list) else [])
    marks = holder.texts("choices", labels if isinstance(labels, list) else [])
    if len(marks) != len(options) or len(set(marks)) < len(marks):
        raise holder.error(
            "each option has a label of its own", "choices", found=", ".join(marks)[:80]
        )
    key = row.text("answerKey")
    if key not in marks:
        raise row.error("the answer is none of the options", "answerKey", found=key, allowed=marks)
    name = str(row.values.get("id", f"{row.stem}#{row.number}"))
    return {
        "id": name,
        "question": stem,
        "choices": {"text": options, "label": marks},
        "answerKey": key,
    }


def mmlu(row: Row) -> Record:
    """Columns ``A`` to ``D`` become ``choices``, the answer's letter its number."""
    if "choices" in row.values:
        choices = row.texts("choices")
    else:
        choices = [row.text(letter) for letter in LETTERS]
    return {
        "question": row.text("question"),
        "subject": subject_of(row),
        "choices": choices,
        "answer": row.place(choices, True, "answer"),
    }


def mmlu_redux(row: Row) -> Record | None:
    """``choices`` may be a list written in Python, as its publisher's tables have it. None for a
    question whose ``error_type`` is not ``ok``: by its publisher it has no certain answer.
    """
    if row.text("error_type").strip().lower() != "ok":
        return None
    choices = row.value("choices")[1]
    if isinstance(choices, str):
        try:
            choices = ast.literal_eval(choices)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise row.error(
                "a list of options belongs here", "choices", found=repr(choices)[:80]
            ) from None
    options = row.texts("choices", choices)
    return {
        "question": row.text("question"),
        "subject": subject_of(row),
        "choices": options,
        "answer": row.place(options, True, "groundtruth_answer", "answer"),
        "error_type": "ok",
    }


def ceval(row: Row) -> Record:
    """Its columns; only the part ``val`` has answers to all."""
    return {"id": row.values.get("id"), **_exam(row, "question", "answer")}


def cmmlu(row: Row) -> Record:
    """Its columns, with capitals."""
    return _exam(row, "Question", "Answer")


def _exam(row: Row, question: str, answer: str) -> Record:
    options = {letter: row.text(letter) for letter in LETTERS}
    place = row.place(list(options.values()), True, answer)
    return {
        question: row.text(question),
        **options,
        answer: LETTERS[place],
        "subject": subject_of(row),
    }


def gsm8k(row: Row) -> Record:
    """The answer is written out and ends with its number after ``####``."""
    answer = row.text("answer")
    if not _SOLVED.search(answer):
        raise row.error(
            "the answer does not end with its number after ####", "answer", found=answer[-80:]
        )
    return {"question": row.text("question"), "answer": answer}


def bbh(row: Row) -> Record:
    """A question and its answer as they are; ``task``: which of the 27, by its file. An answer that
    is none of the options listed is an error where it is a letter, else it is written out: so it is
    in three questions whose list was cut apart at commas.
    """
    asked, answer = row.text("input"), row.text("target")
    found = listed(asked, answer)
    if found is not None and found.right is None and LETTER.fullmatch(answer.strip()):
        raise row.error(
            "the answer is none of the options",
            "target",
            found=answer,
            allowed=found.names,
        )
    if found is not None and len(set(found.names)) < len(found.names):
        raise row.error("two options have one name", "input", found=", ".join(found.names))
    return {"input": asked, "target": answer, "task": str(row.values.get("task") or row.stem)}
