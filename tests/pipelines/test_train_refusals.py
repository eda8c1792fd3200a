"""What cannot be trained is refused before the first step: where it is said, with numbers, and with
what to do.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.errors import UserError
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.train_only import train_run

DECAY = "{name: decay, decay: true, tokens: %s, weights: {web-en: 0.4, web-zh: 0.2, code: 0.15, sft: 0.25}%s}"


@pytest.fixture
def runs(tiny: tuple[Path, RunOutcome], tmp_path: Path) -> Path:
    """A folder of runs with `tiny` as it was before its training."""
    shutil.copytree(
        tiny[0], tmp_path / "tiny", ignore=shutil.ignore_patterns("training", "plan.json")
    )
    return tmp_path


def refused(root: Path, runs: Path, *overrides: str) -> UserError:
    """The error a training ends with; nothing was trained."""
    with pytest.raises(UserError) as caught:
        train_run(load_recipe(root / "recipes" / "tiny.yaml", overrides), str(runs))
    assert not list(runs.rglob("*.safetensors"))
    assert not list(runs.rglob("train.jsonl"))
    error = caught.value
    assert error.fix, error
    assert re.search(r"\d", f"{error.message} {error.found} {error.allowed}"), error
    return error


@pytest.mark.parametrize(
    ("override", "field", "numbers"),
    [
        (
            "mixture.phases.0.weights={web-en: 0.6, web-zh: 0.2, code: 0.1}",
            "mixture.phases.stable.weights",
            "a sum of 0.9",
        ),
        (
            "mixture.phases.1=" + DECAY % (5120, ", max_epochs: {sft: 0.001}"),
            "mixture.phases.decay.max_epochs.sft",
            "1,280",
        ),
        ("mixture.max_epochs={web-zh: 0.005}", "mixture.max_epochs.web-zh", "4,096"),
        ("train.schedule.decay_start=10", "train.schedule.decay_start", "step 10"),
        ("train.schedule.end=30", "train.schedule.end", "step 30"),
        ("train.schedule.warmup=21", "train.schedule.warmup", "21"),
        ("branches.0.phases.0.tokens=6144", "branches", "without-instructions 6,144, longer 5,120"),
        (
            "branches.0.phases.0.max_epochs={code: 0.001}",
            "branches.without-instructions.phases.decay.max_epochs.code",
            "1,024",
        ),
        ("train.batch_tokens=100", "train", "128"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(
    root: Path, runs: Path, override: str, field: str, numbers: str
) -> None:
    overrides = [override]
    if field == "branches":
        whole = load_recipe(root / "recipes" / "tiny.yaml").resolved()["branches"][0]
        overrides = [
            "branches="
            + json.dumps(
                [
                    {**whole, "phases": [{**whole["phases"][0], "tokens": 6144}]},
                    {**whole, "name": "longer"},
                ]
            )
        ]
    error = refused(root, runs, *overrides)
    assert error.field == field
    assert numbers in f"{error.message} {error.found}"
    assert error.file == str(root / "recipes" / "tiny.yaml")


def test_the_decay_a_schedule_may_name_is_the_one_the_phases_mark(root: Path, runs: Path) -> None:
    error = refused(root, runs, "train.schedule.decay_start=10")
    assert error.message.startswith(
        "the schedule's decay starts where no phase marked decay begins"
    )
    assert error.allowed == ["20, where phase 'decay' begins"]
    unmarked = refused(root, runs, "train.schedule.decay_start=20", "mixture.phases.1.decay=false")
    assert unmarked.allowed == ["leave it out: no phase is marked decay"]
    said = load_recipe(
        root / "recipes" / "tiny.yaml", ["train.schedule.decay_start=20", "train.schedule.end=25"]
    )
    assert train_run(said, str(runs), until_step=1).computed == 1


@pytest.mark.parametrize(
    ("field", "value", "allowed", "said"),
    [
        ("precision", "bf16", ["auto", "fp32"], "needs a GPU"),
        ("precision", "fp16", ["auto", "fp32", "bf16"], "is not a precision"),
        ("device", "cuda", ["auto", "cpu"], "no GPU"),
    ],
)
def test_what_this_machine_cannot_train_in_or_on_is_refused_by_name(
    root: Path,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: str,
    allowed: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for call in (train_run, run_recipe):
        with pytest.raises(UserError, match=said) as error:
            call(
                load_recipe(
                    root / "recipes" / "tiny.yaml",
                    [f"train.{field}={value}", "name=other" if call is run_recipe else "name=tiny"],
                ),
                str(runs),
            )
        assert (error.value.field, error.value.found, error.value.allowed) == (
            f"train.{field}",
            value,
            allowed,
        )
        assert error.value.file == str(root / "recipes" / "tiny.yaml")
    assert not list(runs.rglob("*.safetensors"))
    assert not (runs / "other").exists(), "said before the corpus is made"
    loaded = load_recipe(root / "recipes" / "tiny.yaml", ["train.precision=bf16"])
    assert loaded.recipe.train.precision == "bf16", "a recipe for another machine can be read here"


def change(path: Path, edit: Any) -> None:
    facts = json.loads(path.read_text())
    facts.pop("checksum", None)  # else the record would be damaged
    edit(facts)
    path.write_text(json.dumps(facts))


def test_a_source_without_shards_is_refused_with_what_was_asked_and_what_there_is(
    root: Path, runs: Path
) -> None:
    change(runs / "tiny" / "run.json", lambda facts: facts["shards"]["web-zh"].update(documents=0))
    error = refused(root, runs)
    assert (error.message, error.field) == (
        "a source without shards",
        "mixture.phases.stable.weights.web-zh",
    )
    asked = "4,096 tokens asked of web-zh; none of its documents was kept"
    assert error.found == f"{asked}: language: language_not_kept 3"
    assert any(re.fullmatch(r"code \([\d,]+ tokens\)", other) for other in error.allowed or ())


def test_a_source_only_a_branch_shows_is_missed_before_the_run_is_trained(
    root: Path, runs: Path
) -> None:
    change(runs / "tiny" / "run.json", lambda facts: facts["shards"]["crawl"].update(documents=0))
    error = refused(root, runs, "branches.0.phases.0.weights={web-en: 0.5, crawl: 0.5}")
    assert error.field == "branches.without-instructions.phases.decay.weights.crawl"
    asked = "2,560 tokens asked of crawl; none of its documents was kept"
    assert error.found == f"{asked}: read: not_response 4, read: not_html 3, read: http_status 2"


def test_shards_of_another_tokenizer_are_refused(root: Path, runs: Path) -> None:
    folder = json.loads((runs / "tiny" / "run.json").read_text())["shards"]["code"]["folder"]
    change(
        runs / "tiny" / folder / "source.json", lambda facts: facts.update(tokenizer_hash="0" * 32)
    )
    error = refused(root, runs)
    assert "another tokenizer" in error.message
    assert error.found == "0" * 32
    assert error.allowed == [
        json.loads((runs / "tiny" / "run.json").read_text())["tokenizer"]["hash"]
    ]
