"""Every command that the house tells its user to give is found here, and given."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from artifacts.commands import Command
from pipelines.commands.app import app
from pipelines.commands.hints import CARRIED, asking, completed, takes
from pipelines.run.record import load_run
from tests.artifacts.test_commands import read_by_bash
from tests.pipelines.studies.experiment_folder import experiment
from tests.pipelines.test_run_store import TRAINED
from tests.source_trees import modules_of_floors

GROUPS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
SPOKEN = re.compile(rf"windtunnel ({'|'.join(GROUPS)})\b")
NAMED = (Path("dedup/near/settings.py"), Path("pipelines/writers/dataset_card.py"))
"""Name commands, and tell nobody to give one."""
PHASES = "phases: [{name: decay, decay: true, tokens: 1_024, weights: {web: 1.0}}]\n"


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for name, tree in modules_of_floors():
        if not name.startswith("pipelines/starter/"):
            yield Path(name), tree


def docstrings(tree: ast.Module) -> set[int]:
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def commands() -> dict[str, str]:
    """The words of every command that code speaks of, and a place that does."""
    found: dict[str, str] = {}
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Command":
                continue
            if path.as_posix() in ("artifacts/commands.py",):
                continue
            options = node.args[0]
            texts = [options.body, options.orelse] if isinstance(options, ast.IfExp) else [options]
            for text in texts:
                assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: words as a literal"
                found[str(text.value)] = f"{path}:{node.lineno}"
    return found


def test_texts_speak_of_commands_in_one_way_only() -> None:
    strays = []
    for path, tree in modules():
        said = docstrings(tree)
        strays += [
            f"{path}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in said and SPOKEN.search(node.value) and path not in NAMED
        ]
    assert strays == []


def leaves(group: Any, above: str = "") -> Iterator[tuple[str, set[str]]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", {one for each in command.params for one in each.opts}


@pytest.mark.parametrize(("overrides", "name"), [((), "kept"), (("name=other", "seed=2"), "other")])
def test_a_run_is_spoken_of_by_the_name_that_its_recipe_was_given(
    tmp_path: Path, overrides: tuple[str, ...], name: str
) -> None:
    (tmp_path / "recipe.yaml").write_text("name: kept\n")
    with asking({"recipe": tmp_path / "recipe.yaml", "overrides": list(overrides)}):
        assert str(completed(Command("mixture trace RUN"))) == f"windtunnel mixture trace {name}"


def test_options_are_carried_to_every_command_that_has_them() -> None:
    for words, options in leaves(get_command(app)):
        for option in CARRIED.values():
            if not words.startswith("dedup"):  # its runs are its own
                assert takes(Command(words), option) == (option in options), (words, option)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run of the starter and an index. Nobody may change it."""
    from pipelines.starter.write import write_starter

    folder = tmp_path_factory.mktemp("hints")
    write_starter(folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text() + TRAINED)
    give(f"run {recipe} --runs {folder / 'runs'}")
    (folder / "phases.yaml").write_text(PHASES)
    give(f"export starter {folder / 'model'} --runs {folder / 'runs'}")
    give(f"dedup index add {folder / 'index'} {folder / 'data/web.jsonl'} -o {folder / 'new'}")
    return folder


def give(words: str) -> str:
    result = CliRunner().invoke(app, shlex.split(words))
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


def blanks(folder: Path, words: str) -> Mapping[str, object]:
    """What stands in place of the blanks of a command."""
    store, record = load_run(str(folder / "runs"), "starter")
    first = record["training"]["segments"][-1]["first_step"]
    decay = first - 1  # updates before it
    checkpoint = f"{record['training']['folder']}/checkpoints/step-{decay:08d}"
    document = "web:" + _native_id(folder)
    (folder / "ids.txt").write_text(document + "\n")
    files = {"shards remove": "ids.txt", "mixture plan": "plan-out.json"}
    file = next((name for start, name in files.items() if words.startswith(start)), "phases.yaml")
    return {
        "RECIPE": folder / "recipe.yaml",
        "RUN": store.root,
        "ID": document,
        "CHECKPOINT": store.full(checkpoint),
        "TEXT": "The server",
        "FILE": folder / file,
        "STEP": first,
        "STEPS": 1,
        "TOKENS": decay * 512,
        "INDEX": folder / "index",
        "PATHS": folder / "data/web.jsonl",
        "DIR": folder / ("model" if words.startswith("import") else "other"),
        "BATCH": 1,
        "FOLDER": experiment(folder / "studies").root,
    }


def _native_id(folder: Path) -> str:
    import orjson
    import pyarrow.parquet as pq

    record = orjson.loads((folder / "runs/starter/run.json").read_bytes())
    selection = pq.read_table(folder / "runs/starter" / record["selection"]["web"]["name"])
    kept = selection.filter(selection["kept"])["id"][0].as_py()
    rows = pq.read_table(folder / "runs/starter" / record["chunks"][0]["documents"]["name"])
    ids = rows["id"].to_pylist()
    return str(rows["native_id"][ids.index(kept)].as_py())


@pytest.mark.slow
@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_spoken_of_can_be_given(
    words: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    if "index add" in words:
        shutil.rmtree(folder / "index")
    if "mixture edit" in words:  # a training is edited before its decay
        shutil.rmtree(next(folder.glob("runs/*/training/*/checkpoints/step-00000010")))
    monkeypatch.chdir(tmp_path)
    command = Command(words)
    given = command.filled(blanks(folder, words))
    assert given.blanks == (), f"{commands()[words]}: a blank that no user can fill"
    runs = f" --runs {folder / 'runs'}" if "RECIPE" in command.blanks else ""
    give(given.words + runs)


HOSTILE = {
    "recipe": ["my RECIPE.yaml", "it's RUN.yaml", "-r.yaml", "ü ❤️.yaml"],
    "runs": ["else where", "RUN", "a\nb", "$(id)"],
    "overrides": [["name=my RUN"], ["train.seed=2", 'prompts=["it\'s \\"so\\""]']],
    "plan": [Path("my plan.json")],
    "scheduler": ["tcp://10.0.0.1:8786"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_was_typed_comes_back_as_it_was(name: str) -> None:
    """A shell makes of the completed command what the user had typed."""
    for value in HOSTILE[name]:
        words = "train RECIPE" if name == "plan" else "run RECIPE"
        with asking({"recipe": "r.yaml", name: value}):
            told = completed(completed(Command(words)))
        typed = [value] if isinstance(value, str | Path) else list(value)
        if name == "recipe":
            meant = str(value) if not str(value).startswith("-") else f"./{value}"
            assert read_by_bash(told) == ["windtunnel", "run", meant]
        else:
            options = [part for one in typed for part in (CARRIED[name], str(one))]
            assert read_by_bash(told) == ["windtunnel", *words.split()[:1], "r.yaml", *options]


def test_a_run_has_the_name_that_was_typed_or_that_of_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: mine\n")
    with asking({"recipe": recipe}):
        assert completed(Command("report RUN")) == "windtunnel report mine"
    with asking({"recipe": recipe, "overrides": ["seed=2", "name=other"]}):
        assert completed(Command("report RUN")) == "windtunnel report other"


def test_a_plans_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with asking({"target": str(tmp_path / "plan.json")}):
        assert completed(Command("shards verify RUN")).blanks == ("RUN",)
    with asking({"target": "starter"}):
        assert completed(Command("shards verify RUN")) == "windtunnel shards verify starter"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["run RECIPE --until corpus", "run RECIPE", "train RECIPE --until-step 4", "init DIR"]
)
def test_every_line_of_next_commands_can_be_given(
    words: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As printed, with what was typed before: runs elsewhere, and a setting of its own."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    typed = "" if words.startswith("init") else " --runs runs --set train.checkpoint_every=4"
    if typed:
        shutil.move("runs", "else where")
        typed = typed.replace("--runs runs", "--runs 'else where'")
    known = {"RECIPE": "recipe.yaml", "DIR": "fresh"}
    said = give(Command(words).filled(known).words + typed)
    printed = [
        line.partition("windtunnel ")[2].partition("  ")[0].strip()
        for line in said.splitlines()
        if "windtunnel " in line
    ]
    assert printed
    for line in printed:
        values = {"ID": "web:" + str(_one_id(folder)), "TEXT": "The"}
        give(Command(line).filled(values).words)
    for line in printed:
        if line.startswith(("run", "train")) and typed:
            assert line.endswith(typed.strip()), line
    assert not os.path.exists("runs/starter/report.html") or not typed


def _one_id(folder: Path) -> str:
    import json

    first = (folder / "data/web.jsonl").read_text().splitlines()[0]
    return str(json.loads(first)["id"])
