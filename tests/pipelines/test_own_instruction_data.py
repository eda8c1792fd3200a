"""A newcomer with conversations of their own, who has nothing but the tutorial, trains on them.

The page as it stands, with its own conversations, is carried out by tests/test_tutorial_pages.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tutorial_pages import Block, carry_out, in_language

PAGE = "docs/tutorials/own-instruction-data.md"
STEPS = 60
SYSTEM = "You are a careful teacher. Show your work."
Record = dict[str, Any]
Turns = list[dict[str, str]]

pytestmark = pytest.mark.slow


def alpaca(number: int, turns: Turns) -> Record:
    question, _, last = turns[0]["content"].rpartition(". ")
    record = {"instruction": last, "input": question, "output": turns[1]["content"]}
    if number % 3 == 0:
        record |= {"system": SYSTEM, "history": [["Ready?", f"Ready for number {number}."]]}
    return record


def sharegpt(number: int, turns: Turns) -> Record:
    names = {"user": "human", "assistant": "gpt"}
    said = [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns]
    return {"id": f"chat-{number}", "conversations": said} | (
        {"system": SYSTEM} if number % 2 else {}
    )


def openai(number: int, turns: Turns) -> Record:
    parts = [{"type": "text", "text": turns[0]["content"]}]
    first = {"role": "user", "content": parts if number % 2 else turns[0]["content"]}
    system = [{"role": "system", "content": SYSTEM}] if number % 3 else []
    return {"messages": [*system, first, turns[1]]}


SHAPES: dict[str, Callable[[int, Turns], Record]] = {
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "openai": openai,
}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / PAGE).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def newcomer(root: Path, page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three files of conversations, where the page's commands were given as they are."""
    folder = tmp_path_factory.mktemp("newcomer") / "reader"
    folder.mkdir()
    lines = (root / "pipelines/starter/instructions.jsonl").read_text().splitlines()
    samples = [json.loads(block) for block in in_language(page, "json")]
    for start, (name, shape) in enumerate(SHAPES.items()):
        records = [shape(n, json.loads(line)["messages"]) for n, line in enumerate(lines[start::3])]
        text = "".join(json.dumps(record) + "\n" for record in [samples[start], *records])
        (folder / f"{name}.jsonl").write_text(text)
    printed = carry_out([Block("sh", block) for block in in_language(page, "sh")], folder)
    (folder / "said.txt").write_text("".join(printed))
    return folder


def test_the_page_trains_sixty_steps_on_files_of_all_three_shapes(newcomer: Path) -> None:
    record = json.loads((newcomer / "runs/chats/run.json").read_text())
    checkpoints = newcomer.glob("runs/chats/training/*/checkpoints/step-*")
    assert max(path.name for path in checkpoints) == f"step-{STEPS:08d}"
    assert set(record["shards"]) == {*SHAPES, *(f"{name}-validation" for name in SHAPES)}
    said = (newcomer / "said.txt").read_text()
    assert "Traceback" not in said
    assert "error" not in said


def test_no_conversation_is_lost_and_none_is_taken_for_text(newcomer: Path) -> None:
    record = json.loads((newcomer / "runs/chats/run.json").read_text())
    (read,) = [ledger for ledger in record["ledgers"] if ledger["step"] == "read"]
    for name in SHAPES:
        written = len((newcomer / f"{name}.jsonl").read_text().splitlines())
        assert read["sources"][name]["kept"]["documents"] == written
        shown = [record["shards"][one] for one in (name, f"{name}-validation")]
        assert sum(one["documents"] for one in shown) == written
        assert (
            0 < sum(one["trainable_tokens"] for one in shown) < sum(one["tokens"] for one in shown)
        )


def test_the_answer_is_the_target(newcomer: Path, page: str) -> None:
    (printed,) = carry_out([Block("python", in_language(page, "python")[-1])], newcomer)
    found = re.fullmatch(r"(.*)\[(.*)\]\n", printed, flags=re.S)
    assert found is not None, printed
    context, target = found.groups()
    assert "<User>" in context
    assert context.endswith("<AI>")
    assert "<User>" not in target
