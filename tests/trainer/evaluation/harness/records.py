"""Questions as the datasets of the Hugging Face hub have them, a few of each benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LETTERS = "ABCD"


def hellaswag(number: int) -> dict[str, Any]:
    return {
        "ind": number,
        "activity_label": "Removing ice",
        "ctx_a": f"A man stands by car {number}.",
        "ctx_b": "he",
        "ctx": f"A man stands by car {number}. he",
        "endings": ["scrapes the ice [title] off.", "flies.", "sings a song.", "melts."],
        "label": str(number % 4),
    }


def arc(number: int) -> dict[str, Any]:
    labels = ["1", "2", "3"] if number % 2 else list(LETTERS)
    return {
        "id": f"q{number}",
        "question": f"Which object is number {number}?",
        "choices": {
            "text": ["a stone", "a boat", "a mill", "a road"][: len(labels)],
            "label": labels,
        },
        "answerKey": labels[number % len(labels)],
    }


def mmlu(number: int, subject: str = "anatomy") -> dict[str, Any]:
    choices = ["river", "boat", "mill", "road"]
    return {"question": f"What is {number}? ", "choices": choices, "answer": number % 4, "subject": subject}  # fmt: skip


def ceval(number: int) -> dict[str, Any]:
    return {
        "id": number, "question": f"第{number}题", "A": "河", "B": "船", "C": "磨", "D": "路",
        "answer": LETTERS[number % 4], "explanation": "", "subject": "accountant",
    }  # fmt: skip


def cmmlu(number: int) -> dict[str, Any]:
    return {
        "Question": f"第{number}题", "A": "河", "B": "船", "C": "磨", "D": "路",
        "Answer": LETTERS[number % 4], "subject": "agronomy",
    }  # fmt: skip


def gsm8k(number: int) -> dict[str, Any]:
    return {"question": f"What is {number} + 1?", "answer": f"{number} + 1 = {number + 1}\n#### {number + 1}"}  # fmt: skip


def bbh(number: int) -> dict[str, Any]:
    return {"input": f"not ( True ) and {number} is", "target": "False", "task": "boolean_expressions"}  # fmt: skip


RECORDS: Mapping[str, Any] = {
    "hellaswag": hellaswag,
    "arc": arc,
    "mmlu": mmlu,
    "mmlu_redux": mmlu,
    "ceval": ceval,
    "cmmlu": cmmlu,
    "gsm8k": gsm8k,
    "bbh": bbh,
}
"""A record by its number, for each layout."""
