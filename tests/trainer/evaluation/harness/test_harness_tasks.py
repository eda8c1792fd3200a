"""Every task file runs offline on a few questions, and what cannot be asked is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.errors import UserError
from tests.trainer.evaluation.harness.conftest import WINDOW, Trained
from tests.trainer.evaluation.harness.records import RECORDS, gsm8k, hellaswag, mmlu
from trainer.evaluation.harness.known import SUBJECT, forms_of, known
from trainer.evaluation.harness.outcome import better_of, keys_of
from trainer.evaluation.harness.run import harness_scores
from trainer.evaluation.harness.task_files import HARNESS, Asked, subjects_of
from trainer.evaluation.tasks.scores import Score

SHOTS = {"gsm8k", "mmlu", "mmlu_redux", "ceval-valid", "cmmlu"}
"""Benchmarks that take solved questions."""


def asked(benchmark: str, questions: int = 2) -> Asked:
    record: Callable[[int], Any] = RECORDS[forms_of(benchmark)[0].layout]
    shots = range(100, 105) if benchmark in SHOTS else ()
    return Asked(benchmark, [*map(record, range(questions))], [*map(record, shots)])


def scores(trained: Trained, *asking: Asked, limit: int | None = None) -> list[Score]:
    return harness_scores(trained.model, trained.tokenizer, asking, WINDOW, limit)


@pytest.mark.usefixtures("no_network")
def test_every_benchmark_runs_offline_and_prints_nothing(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    found = scores(trained, *map(asked, known()))
    assert capfd.readouterr() == ("", "")
    measures = {(score.task, score.measure) for score in found}
    assert {task for task, _ in measures} == {*known(), "average_chinese"}
    for benchmark, forms in known().items():
        written = [form for form in forms if form.settings.get("output_type") == "generate_until"]
        own = {measure for task, measure in measures if task == benchmark}
        assert not written or any(measure.startswith("generated_") for measure in own)
        assert ("better_of_two_accuracy" in own) == (benchmark[:3] in ("arc", "hel"))
    for score in found:
        if score.task == "average_chinese":
            continue
        assert len(score.keys) == 2 == len(set(score.keys))
        assert set(score.values) <= {0.0, 1.0}
        assert score.note is not None
    chances = {score.task: score.chance for score in found if score.chance is not None}
    assert chances["mmlu"] == chances["hellaswag"] == 0.25
    assert chances["arc_easy"] == pytest.approx((1 / 4 + 1 / 3) / 2)


def test_task_files_include_the_harness_s_own_and_lie_in_the_package() -> None:
    for forms in known().values():
        for form in forms:
            subjects = subjects_of(form) if form.by_subject else {""}
            assert subjects
            for subject in subjects:
                assert (HARNESS / form.include.replace(SUBJECT, subject)).is_file()
    assert len(subjects_of(forms_of("mmlu")[0])) == 57
    assert len(subjects_of(forms_of("ceval-valid")[0])) == 52
    assert len(subjects_of(forms_of("cmmlu")[0])) == 67
    assert len(subjects_of(forms_of("bbh")[0])) == 27


def test_the_prompt_is_the_harness_s_with_solved_questions_from_their_file(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.evaluation.harness.model import HarnessModel

    contexts: list[str] = []
    told = HarnessModel.loglikelihood

    def listening(self: Any, requests: Any, disable_tqdm: bool = False) -> Any:
        contexts.extend(request.args[0] + "|" + request.args[1] for request in requests)
        return told(self, requests)

    monkeypatch.setattr(HarnessModel, "loglikelihood", listening)
    scores(trained, asked("mmlu", 1))
    assert contexts[0].startswith(
        "The following are multiple choice questions (with answers) about anatomy.\n\n"
        "What is 100?\nA. river\nB. boat\nC. mill\nD. road\nAnswer: A\n\nWhat is 101?"
    )
    assert contexts[0].endswith("What is 0?\nA. river\nB. boat\nC. mill\nD. road\nAnswer:| A")
    assert contexts[0].count("Answer:") == 6


def test_without_dev_files_mmlu_shows_no_solved_question_and_gsm8k_refuses(
    trained: Trained,
) -> None:
    (score,) = scores(trained, Asked("mmlu", [mmlu(0)]))
    assert score.measure == "likelihood_accuracy"
    with pytest.raises(UserError, match="5 solved questions") as caught:
        scores(trained, Asked("gsm8k", [gsm8k(0)], named="test.jsonl"))
    assert caught.value.file == "test.jsonl"
    assert "gsm8k/shots=FILES" in str(caught.value)


@pytest.mark.parametrize(
    ("asking", "said"),
    [
        (Asked("hellaswap", [hellaswag(0)]), "no such benchmark"),
        (Asked("hellaswag", []), "nothing is asked"),
        (Asked("hellaswag", [{**hellaswag(0), "label": ""}]), "without an answer"),
        (Asked("hellaswag", [{**hellaswag(0), "endings": None}]), "lacks a field"),
        (Asked("hellaswag", [hellaswag(0)], [hellaswag(1)]), "no solved questions of yours"),
        (Asked("gsm8k_cot", [gsm8k(0)], [gsm8k(1)]), "no solved questions of yours"),
        (Asked("mmlu", [mmlu(0, "../anatomy")]), "no such subject"),
        (Asked("mmlu", [mmlu(0)], [mmlu(1)]), "shows 5 solved questions"),
        (Asked("mmlu", [mmlu(0)], [mmlu(n) for n in range(5)]), "among those that are asked"),
        (Asked("hellaswag", [hellaswag(0), {**hellaswag(1), "label": 1}]), "not alike"),
        (Asked("gsm8k_cot", [{"question": "\ud800", "answer": "#### 1"}]), "not text"),
    ],
)
def test_what_cannot_be_asked_names_the_file_and_the_mend(
    trained: Trained, asking: Asked, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        scores(trained, asking)


def test_a_benchmark_is_asked_once(trained: Trained) -> None:
    with pytest.raises(UserError, match="asked once"):
        scores(trained, asked("bbh"), asked("bbh"))


def test_without_the_extra_one_line_says_how_to_get_it(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifacts.extras.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'windtunnel\\[evaluate\\]'"):
        scores(trained, asked("bbh"))


def test_limits_are_of_each_subject(trained: Trained) -> None:
    questions = [
        mmlu(number, subject) for subject in ("anatomy", "virology") for number in range(3)
    ]
    (score,) = scores(trained, Asked("mmlu", questions), limit=2)
    assert len(score.values) == 4


def test_a_question_that_is_there_twice_has_two_keys() -> None:
    assert keys_of(["a", "b", "a", "a"]) == ("a", "b", "a#2", "a#3")


def test_the_better_of_two_says_that_it_favours_noise() -> None:
    def score(measure: str, *values: float) -> Score:
        return Score("arc_easy", measure, ("x", "y"), ("x", "y"), np.array(values), np.ones(2))

    rivals = [
        score("likelihood_accuracy", 0, 0),
        score("likelihood_per_character_accuracy", 1, 1),
        score("generated_first_letter_accuracy", 1, 0),
    ]
    (best,) = better_of(forms_of("arc_easy"), rivals)
    assert best.mean == 0.5  # UltraEval ranks ARC's answers by their whole likelihood
    assert "favours noise" in (best.note or "")
    assert better_of(forms_of("mmlu_redux"), rivals) == []


def test_known_benchmarks_are_listed_without_the_harness(root: Path) -> None:
    import subprocess

    code = "import sys; sys.modules['lm_eval'] = None; from trainer.evaluation.harness.known import known; print(len(known()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == str(len(known())), done.stderr
