"""What a recipe asks for after its training: scores of every ending, what it had seen, an export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.commands.app import app
from pipelines.evaluation.contamination import Contamination
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.report.page import write_report
from pipelines.run import after_training
from pipelines.run.after_training import check_ahead
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.evaluate import evaluate
from pipelines.run.train_only import train_run
from tests.conftest import TRAINED

BRANCH = "branches=[{name: plain, phases: [{name: decay, decay: true, tokens: 2048, weights: {web: 1}}]}]"
UNSEEN = "Which of the seven purple elephants painted the old bridge over the quiet river at night?"


def record_of(key: str, text: str) -> dict[str, Any]:
    """An item in the form of the project's own files."""
    return {
        "id": key,
        "benchmark": "gsm8k",
        "text": text,
        "answer": "18",
        "meta": {"question": text, "answer": "It is so. #### 18"},
    }


@pytest.fixture
def asked(trained_workshop: Path, tmp_path: Path) -> Path:
    """A copy of the workshop with a trained run, and a benchmark of which one item is a document
    that it was trained on.
    """
    folder = tmp_path / "workshop"
    shutil.copytree(trained_workshop, folder)
    texts = [json.loads(line)["text"] for line in (folder / "data/web.jsonl").open()]
    words = max(texts, key=len).split()
    items = [record_of("planted", " ".join(words[:60])), record_of("unseen", UNSEEN)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def loaded(folder: Path, *settings: str) -> LoadedRecipe:
    given = [*TRAINED, "evaluate={tasks: [items.jsonl]}", BRANCH, *settings]
    return load_recipe(folder / "recipe.yaml", given)


def ran(folder: Path, *settings: str) -> RunOutcome:
    return run_recipe(loaded(folder, *settings), str(folder / "runs"))


def test_every_ending_is_scored_and_a_planted_item_stands_as_seen(asked: Path) -> None:
    outcome = ran(asked, "shards={hold_out: 0}")
    endings = [outcome.record["training"], outcome.record["branches"]["plain"]]
    for facts in endings:
        scores = facts["scores"]["items"]
        assert [one["measure"] for one in scores["measures"]][:1] == ["gold_bits_per_byte"]
        assert scores["measures"][0]["items"] == 2
        assert scores["contamination"] == {"items": 2, "searched": 2, "contaminated": ["planted"]}
        kept = json.loads(outcome.store.read(scores["file"]))
        assert [one["key"] for one in kept["measures"][0]["each"]] == ["planted", "unseen"]
    write_report(outcome.store, outcome.record)
    page = outcome.store.read("report.html").decode()
    assert '<section id="scores">' in page
    assert "1 of 2" in page
    assert "not told from guessing" in page or "bits per byte" in page


def test_nothing_is_scored_or_exported_twice_and_a_new_task_is(asked: Path) -> None:
    first = ran(asked, "export=granite")
    again = ran(asked, "export=granite")
    assert (first.computed > 0, again.computed) == (True, 0)
    assert again.record["training"]["scores"] == first.record["training"]["scores"]
    (asked / "more.jsonl").write_text(json.dumps(record_of("a", UNSEEN)) + "\n")
    more = ran(asked, "export=granite", "evaluate={tasks: [items.jsonl, more.jsonl]}")
    made = {one["step"]: one["computed"] for one in more.record["ledgers"] if one["computed"]}
    assert set(made) == {"evaluate"}
    assert list(more.record["training"]["scores"]) == ["items", "more"]
    lax = ran(asked, "export=granite", "evaluate={tasks: [items.jsonl], overlap: 0.01}")
    assert lax.computed == 0


def test_train_alone_scores_too(asked: Path) -> None:
    outcome = train_run(loaded(asked, "export=llama"), str(asked / "runs"))
    assert outcome.record["training"]["scores"]["items"]["measures"]
    assert (asked / "runs/trained/export/model.safetensors").is_file()
    assert outcome.record["training"]["export"]["layout"] == "llama"


def test_an_export_follows_the_training_and_keeps_what_others_put_there(asked: Path) -> None:
    ran(asked, "export=granite")
    folder = asked / "runs/trained/export"
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "mine.gguf").write_bytes(b"mine")
    ran(asked, "export=granite", "train.seed=5")
    assert (folder / "model.safetensors").read_bytes() != weights
    assert (folder / "mine.gguf").read_bytes() == b"mine"
    (folder / "config.json").unlink()
    ran(asked, "export=granite", "train.seed=5")
    assert (folder / "config.json").is_file()


def test_what_no_run_wrote_is_not_written_over(asked: Path) -> None:
    folder = asked / "runs/trained/export"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(UserError, match="no run wrote it") as caught:
        ran(asked, "export=granite")
    assert "model.safetensors" in str(caught.value)
    assert (folder / "model.safetensors").read_bytes() == b"mine"


def test_only_sources_that_were_shown_count_as_seen(asked: Path) -> None:
    rows = [json.loads(line) for line in (asked / "data/instructions.jsonl").open()]
    told = max((message["content"] for row in rows for message in row["messages"]), key=len)
    (asked / "items.jsonl").write_text(json.dumps(record_of("instruction", told)) + "\n")
    outcome = ran(asked, "shards={hold_out: 0}")
    endings = [outcome.record["training"], outcome.record["branches"]["plain"]]
    main, plain = (facts["scores"]["items"]["contamination"] for facts in endings)
    assert (main["contaminated"], plain["contaminated"]) == (["instruction"], [])
    early = outcome.store.full(f"{endings[0]['folder']}/checkpoints/step-00000004")
    found = evaluate("runs", early, tasks=[str(asked / "items.jsonl")])
    assert found.contamination["items"].contaminated == ()


def test_what_a_kill_left_of_an_export_is_gone_on_with(
    asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, copied = after_training._copy, []

    def dying(file: Path, store: Store, name: str) -> None:
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(name)
        copy(file, store, name)

    monkeypatch.setattr(after_training, "_copy", dying)
    with pytest.raises(KeyboardInterrupt):
        ran(asked, "export=granite")
    monkeypatch.undo()
    folder = asked / "runs/trained/export"
    assert 0 < len([*folder.iterdir()]) < 5
    ran(asked, "export=granite")
    assert (folder / "model.safetensors").is_file()
    assert not [*(asked / "runs/trained").glob(".writing-*")]


def test_an_export_inside_its_run_is_scored_too(asked: Path) -> None:
    ran(asked, "export=granite")
    folder = str(asked / "runs/trained/export")
    found = evaluate("runs", folder, tasks=[str(asked / "items.jsonl")])
    assert found.scores
    assert found.contamination == {}


def test_scores_under_another_norm_are_other_scores(asked: Path) -> None:
    record = {"id": "1", "question": UNSEEN, "choices": {"text": ["a", "bb"], "label": ["A", "B"]}}
    content = json.dumps({**record, "answerKey": "A"}) + "\n"
    for name in ("ARC-Easy.jsonl", "ARC-Challenge.jsonl"):
        (asked / name).write_text(content)
    files = [
        ran(asked, f"evaluate={{tasks: [{{name: arc, paths: [{name}]}}]}}").record["training"]
        for name in ("ARC-Easy.jsonl", "ARC-Challenge.jsonl")
    ]
    assert len({facts["scores"]["arc"]["file"] for facts in files}) == 2


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("evaluate={tasks: [.hidden.jsonl]}", "no name for one"),
        ("evaluate={tasks: [{paths: [items.jsonl], name: a, each: true}]}", "one name"),
        ("evaluate={tasks: [nowhere.jsonl]}", "nowhere.jsonl"),
        ("evaluate={tasks: [items.jsonl, items.jsonl]}", "two tasks have one name"),
        ("evaluate={tasks: []}", "evaluate.tasks"),
        ("evaluate={tasks: [items.jsonl], limit: 0}", "evaluate.limit"),
        ("evaluate={tasks: [{paths: [items.jsonl], layout: nothing}]}", "nothing"),
        ("model.qk_norm=true", "qk_norm"),
        ("export=gguf", "export"),
    ],
)
def test_what_cannot_be_done_afterwards_is_refused_before(
    asked: Path, setting: str, told: str
) -> None:
    (asked / ".hidden.jsonl").write_bytes((asked / "items.jsonl").read_bytes())
    with pytest.raises(UserError) as caught:
        check_ahead(loaded(asked, "export=granite", setting))
    assert told in str(caught.value)


def test_a_broken_item_is_named_by_its_file_and_line(asked: Path) -> None:
    with (asked / "items.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(UserError) as caught:
        ran(asked, "name=other")
    assert "items.jsonl" in str(caught.value)
    assert ":3" in str(caught.value.render())
    assert not (asked / "runs/other").exists()


def test_scores_of_a_recipe_that_trains_nothing_are_refused(asked: Path) -> None:
    with pytest.raises(UserError, match="trains no model") as caught:
        load_recipe(asked / "recipe.yaml", ["evaluate={tasks: [items.jsonl]}"])
    assert "evaluate" in str(caught.value)


def test_a_planted_item_stands_as_seen_beside_scores_by_command(asked: Path) -> None:
    settings = [*TRAINED, "shards={hold_out: 0}"]
    run_recipe(load_recipe(asked / "recipe.yaml", settings), str(asked / "runs"))
    tasks = [str(asked / "items.jsonl")]
    found = evaluate(str(asked / "runs"), "trained", tasks=tasks)
    assert found.contamination["items"] == Contamination(2, 2, ("planted",))
    assert found.to_json()["contamination"]["items"]["contaminated"] == ["planted"]
    shown = CliRunner().invoke(
        app, ["evaluate", str(asked / "runs/trained"), "--task", tasks[0]], terminal_width=200
    )
    assert "1 of 2" in shown.output, shown.output
    without = evaluate(str(asked / "runs"), "trained", tasks=tasks, seen=False)
    assert without.contamination == {}
