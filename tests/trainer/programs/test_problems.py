"""Problems of HumanEval and MBPP in their publishers' layouts: prompts, and solutions that pass."""

from __future__ import annotations

import gzip
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.errors import UserError
from trainer.evaluation.programs.pass_rate import pass_at, score_of
from trainer.evaluation.programs.problems import read_problems
from trainer.evaluation.programs.sandbox import Limits, Outcome, Sandbox

HUMANEVAL: list[dict[str, Any]] = [
    {
        "task_id": "Own/0",
        "prompt": 'def shifted(text: str) -> str:\n    """Each letter by one."""\n'
        "    return ''.join(chr(ord(one) + 1) for one in text)\n\n\n"
        'def restored(text: str) -> str:\n    """What shifted changed."""\n',
        "entry_point": "restored",
        "canonical_solution": "    return ''.join(chr(ord(one) - 1) for one in text)\n",
        "test": "def check(candidate):\n    for text in ('abc', ''):\n"
        "        assert candidate(shifted(text)) == text\n",
    },
    {
        "task_id": "Own/1",
        "prompt": "def both(a, b):\n",
        "entry_point": "both",
        "canonical_solution": "    return a, [b]\n",
        "test": "def check(candidate):\n    assert candidate(1, b=2) == (1, [2])\n",
    },
]


def mbpp(number: object, **fields: Any) -> dict[str, Any]:
    return {
        "task_id": number,
        "text": f"Write a function to add {number}.",
        "code": f"def add(x):\r\n\treturn helped(x) + {number}\r\ndef helped(x):\r\n\treturn x",
        "test_list": [f"assert add(1) == {1 + int(str(number))}", f"assert add(0) == {number}"],
        "test_setup_code": "",
        **fields,
    }


SANITIZED = {
    "task_id": 13,
    "prompt": "Write a function to halve.",
    "code": "def half(x):\n    return x / 2",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(half(1), 0.5)"],
}


def write(path: Path, records: list[dict[str, Any]]) -> str:
    raw = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return str(path)


def test_humaneval_is_the_head_of_a_function(tmp_path: Path) -> None:
    problems = read_problems(write(tmp_path / "h.jsonl.gz", HUMANEVAL), "humaneval")
    assert [problem.key for problem in problems] == ["Own/0", "Own/1"]
    assert problems[0].prompt == HUMANEVAL[0]["prompt"]
    assert "\ndef" in problems[0].stop
    assert len(read_problems(str(tmp_path / "h.jsonl.gz"), "humaneval", limit=1)) == 1


def test_mbpp_is_asked_after_three_solved_problems(tmp_path: Path) -> None:
    records = [mbpp(number) for number in (2, 3, 4, 5, 11, 12, 601)]
    problems = read_problems(write(tmp_path / "m.jsonl", records), "mbpp")
    assert [problem.key for problem in problems] == ["11", "12"]
    prompt = problems[0].prompt
    assert prompt.count("[DONE]") == 3
    assert prompt.count("[BEGIN]") == 4
    assert prompt.endswith("assert add(1) == 12\nassert add(0) == 11\n[BEGIN]\n")
    assert "return helped(x) + 4" in prompt
    assert "return helped(x) + 11" not in prompt
    assert problems[0].functions == ("add",)


@pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux alone")
def test_solutions_pass_and_others_do_not(tmp_path: Path) -> None:
    sandbox = Sandbox.here(Limits(10), without_walls=True)
    humaneval = read_problems(write(tmp_path / "h.jsonl", HUMANEVAL), "humaneval")
    right = [record["canonical_solution"] for record in HUMANEVAL]
    records = [mbpp(11), SANITIZED]
    problems = [*humaneval, *read_problems(write(tmp_path / "m.jsonl", records), "mbpp")]
    right += [record["code"] for record in records]
    wrong = ["    return a\n", "    pass\n", "def add(x): return x", "def other(x): return x"]
    trials = [
        problem.trial(text)
        for problem, texts in zip(problems, zip(right, wrong, strict=True), strict=True)
        for text in texts
    ]
    assert [outcome.passed for outcome in sandbox.run_all(trials)] == [True, False] * 4


@pytest.mark.parametrize(
    ("layout", "records", "message"),
    [
        ("humaneval", [{**HUMANEVAL[0], "test": ""}], "test"),
        ("humaneval", [{**HUMANEVAL[0], "entry_point": "a b"}], "entry_point"),
        ("humaneval", [HUMANEVAL[0]] * 2, "twice"),
        ("humaneval", [mbpp(11)], "prompt"),
        ("mbpp", [mbpp(11, test_list=[])], "test_list"),
        ("mbpp", [mbpp(11, code="def (")], "not Python"),
        ("mbpp", [mbpp(11, test_list=["assert True"])], "no test calls"),
        ("mbpp", [mbpp(11), mbpp(11)], "twice"),
        ("mbpp", [mbpp(601)], "no test problems"),
        ("mbpp", [mbpp("11")], "task_id"),
        ("other", [mbpp(11)], "no such layout"),
    ],
)
def test_a_file_that_is_not_as_published_is_refused(
    layout: str, records: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "file.jsonl", records)
    with pytest.raises(UserError) as raised:
        read_problems(file, layout)
    assert message in str(raised.value)


def test_the_chance_to_pass_is_that_of_all_draws() -> None:
    for samples in range(1, 7):
        for passed in range(samples + 1):
            outcomes = [True] * passed + [False] * (samples - passed)
            for passes in range(1, samples + 1):
                draws = [any(draw) for draw in combinations(outcomes, passes)]
                assert pass_at(samples, passed, passes) == pytest.approx(np.mean(draws))
    with pytest.raises(UserError, match="at least k samples"):
        pass_at(3, 1, 4)


def test_outcomes_become_a_score_of_every_problem(tmp_path: Path) -> None:
    problems = read_problems(write(tmp_path / "h.jsonl", HUMANEVAL), "humaneval")
    outcomes = [Outcome(passed, "") for passed in (True, False, False, False)]
    score = score_of("humaneval", problems, outcomes, passes=1, walls=("landlock",))
    assert score.values.tolist() == [0.5, 0.0]
    assert (score.measure, score.keys) == ("pass_at_1_accuracy", ("Own/0", "Own/1"))
    assert "landlock" in str(score.note)


def test_problems_are_read_in_the_form_of_the_sample_corpus_too(root: Path) -> None:
    folder = root / "examples" / "benchmarks"
    humaneval = read_problems(str(folder / "humaneval.jsonl"), "humaneval")
    assert (len(humaneval), humaneval[0].functions) == (34, ("has_close_elements",))
    assert len(read_problems(str(folder / "mbpp.jsonl"), "mbpp")) == 36
