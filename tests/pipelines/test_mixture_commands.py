"""`windtunnel mixture`: plan, check, edit and trace, and a training that goes on with an edited
plan.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import zstandard
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key
from mixtures.freeze.freeze import common_steps
from mixtures.freeze.plan_table import table
from mixtures.inspect.accounting import realised
from mixtures.inspect.trace import Tracer
from mixtures.order.sound_plan import load_plan
from pipelines.commands.app import app
from pipelines.executors.progress import Silent
from pipelines.recipe.load import load_recipe
from pipelines.report.share_plot import planned_shares, share_plot
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.train_only import train_run
from pipelines.training.materials import Materials
from tests.pipelines.run_trees import record
from tokenizer.shards.manifest import MANIFEST_NAME
from tokenizer.shards.reader import open_source
from tokenizer.shards.take_down import find_documents, take_down
from trainer.checkpoints.checkpoint import latest
from trainer.loop.metrics import read_series

TRAINED, EDITED = 12, 14
# small steps on several threads mostly wait for one another
ALONE = ["train.threads=1", "branches=[]", "prompts=[]"]


@pytest.fixture(scope="module")
def recipe(root: Path) -> Path:
    return root / "recipes" / "tiny.yaml"


@pytest.fixture(scope="module")
def begun(
    tiny: tuple[Path, RunOutcome], recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of runs in which `tiny` is trained to step 12 of 25. Nobody may change it."""
    runs = tmp_path_factory.mktemp("begun")
    shutil.copytree(
        tiny[0],
        runs / "tiny",
        ignore=shutil.ignore_patterns("training", "plan.json", "report.html"),
    )
    train_run(load_recipe(recipe, ALONE), str(runs), until_step=TRAINED)
    return runs


@pytest.fixture(scope="module")
def undisturbed(begun: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same training, made in one go with the plan of the recipe."""
    runs = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(
        begun / "tiny",
        runs / "tiny",
        ignore=shutil.ignore_patterns("training", "plan.json", "report.html"),
    )
    return (
        runs
        / "tiny"
        / str(train_run(load_recipe(recipe, ALONE), str(runs)).record["training"]["folder"])
    )


@pytest.fixture
def runs(begun: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(begun, tmp_path / "runs")
    return tmp_path / "runs"


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object, code: int = 0) -> str:
    result = call(*arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return str(result.output)


def refused(*arguments: object) -> UserError:
    result = call(*arguments)
    assert isinstance(result.exception, UserError), result.output
    return result.exception


# -- plan ---------------------------------------------------------------------------------------


class Notes(Silent):
    """Keeps what a run notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_plan_and_a_training_say_how_many_conversations_they_cut(
    runs: Path, recipe: Path
) -> None:
    folder = json.loads((runs / "tiny" / "run.json").read_text())["shards"]["sft"]["folder"]
    source = open_source(runs / "tiny" / folder)
    numbers = range(len(source.manifest.parts))
    sizes = np.concatenate([np.diff(source.tokens(number).offsets) for number in numbers])
    longer, behind = int((sizes > 128).sum()), int(np.maximum(sizes - 128, 0).sum())
    said = (
        f"sft: {longer:,} of {len(sizes):,} documents ({100 * longer / len(sizes):.1f} %) are "
        "longer than a window of 128 tokens; they are cut every 128 tokens, and what follows a cut "
        f"({100 * behind / sizes.sum():.1f} % of the source's tokens) is predicted without what "
        "precedes it"
    )
    assert said in done("mixture", "plan", recipe, "--runs", runs).splitlines()
    heard = Notes()
    train_run(load_recipe(recipe, ALONE), str(runs), until_step=TRAINED + 1, progress=heard)
    assert heard.notes.count(said) == 1


def test_plan_shows_caps_padding_and_what_was_asked_and_writes_what_it_froze(
    tiny: tuple[Path, RunOutcome], recipe: Path, tmp_path: Path
) -> None:
    output, plot = tmp_path / "out" / "plan.json", tmp_path / "shares.svg"
    rules = "mixture.max_epochs={sft: 0.0023, web-zh: 2}"
    said = done(
        "mixture",
        "plan",
        recipe,
        "--runs",
        tiny[0].parent,
        "--set",
        rules,
        "--output",
        output,
        "--plot",
        plot,
    )
    plan = load_plan(output)
    assert "max_epochs 0.0023: " in said
    assert re.search(r"sft .* % used !", said)
    assert re.search(
        r"! sft in decay: [\d,]+ of the [\d,]+ tokens that mixture.max_epochs.sft allows", said
    )
    assert (
        f"25,600 tokens asked, {plan.tokens:,} planned in {plan.steps} steps of 1,024 tokens; plan {plan.hash}"
        in said
    )
    padded = next(row for row in table(plan) if (row.phase, row.source) == ("decay", "sft"))
    assert f"{100 * padded.padding:.1f} %" in said
    assert ElementTree.fromstring(plot.read_text()).tag.endswith("svg")
    assert json.loads(
        done("mixture", "plan", recipe, "--runs", tiny[0].parent, "--json")
    ) == json.loads((tiny[0] / "plan.json").read_text())


def test_plan_says_where_windows_and_batches_change_and_what_a_preset_left_out(
    tiny: tuple[Path, RunOutcome], recipe: Path
) -> None:
    longer = "mixture.phases.1={name: long, tokens: 4096, sequence_length: 256, batch_tokens: 2048, preset: {name: minicpm-stable, sources: {c4: web-en, code: code}}}"
    said = done(
        "mixture", "plan", recipe, "--runs", tiny[0].parent, "--set", longer, "--set", "branches=[]"
    )
    assert "from step 1, phase stable: 8 windows of 128 tokens, 1,024 tokens a step" in said
    assert "from step 21, phase long: 8 windows of 256 tokens, 2,048 tokens a step" in said
    assert (
        "preset of phase long: minicpm-stable, 40 % of it mapped; left out: commoncrawl-chinese 25 %"
        in said
    )


def test_a_mixture_that_cannot_be_met_is_refused_with_the_numbers(
    tiny: tuple[Path, RunOutcome], recipe: Path
) -> None:
    error = refused(
        "mixture",
        "plan",
        recipe,
        "--runs",
        tiny[0].parent,
        "--set",
        "mixture.max_epochs={sft: 0.001}",
    )
    assert error.field == "mixture.max_epochs.sft"
    assert "lower the weight of sft" in str(error.fix)


def test_the_plot_has_an_area_per_source_whose_shares_are_those_of_the_plan(
    tiny: tuple[Path, RunOutcome],
) -> None:
    plan = load_plan(tiny[0] / "plan.json")
    drawn = planned_shares(plan)
    assert abs(drawn.shares.sum(axis=0) - 1).max() < 1e-9
    asked = {(row.phase, row.source): row.weight for row in table(plan)}
    for index, name in enumerate(plan.names):
        assert drawn.shares[index, 0] == pytest.approx(asked.get(("stable", name), 0.0), abs=1e-4)
        assert drawn.shares[index, -1] == pytest.approx(asked.get(("decay", name), 0.0), abs=1e-4)
    picture = ElementTree.fromstring(share_plot(plan, "<b> & shares"))
    titles = [node.text for node in picture.iter() if node.tag.endswith("title")]
    assert titles == list(plan.names)
    words = [node.text for node in picture.iter() if node.tag.endswith("text")]
    assert {"<b> & shares", "stable", "decay", *plan.names} <= set(words)


# -- check --------------------------------------------------------------------------------------


def test_check_holds_a_run_and_a_plans_file_with_or_without_its_shards_named(
    tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    said = done("mixture", "check", tiny[0], "--deep")
    assert "holds: sources by every byte of their parts, counts, rules" in said
    branch = next(tiny[0].glob("training/*/branches/*/checkpoints/*/plan.json"))
    assert "holds" in done("mixture", "check", branch)
    lonely = tmp_path / "plan.json"
    shutil.copy(tiny[0] / "plan.json", lonely)
    assert refused("mixture", "check", lonely).field == "--shards"
    folders = [
        option
        for name, entry in record(tiny[0])["shards"].items()
        for option in ("--shards", f"{name}={tiny[0] / entry['folder']}")
    ]
    facts = json.loads(done("mixture", "check", lonely, *folders, "--json"))
    assert [row["source"] for row in facts["sources"]] == list(load_plan(lonely).names)
    assert refused("mixture", "check", lonely, "--shards", tmp_path).field == "--shards"


def test_check_ends_with_1_and_names_the_block_when_a_part_is_damaged(runs: Path) -> None:
    folder = runs / "tiny" / record(runs / "tiny")["shards"]["code"]["folder"]
    part = next(folder.glob("*.arrow"))
    raw = bytearray(part.read_bytes())
    raw[5000] ^= 255
    part.write_bytes(raw)
    said = done("mixture", "check", "tiny", "--runs", runs, "--deep", code=1)
    assert re.search(rf"code: {re.escape(part.name)}: damaged: bytes \d+ to \d+", said)


# -- edit ---------------------------------------------------------------------------------------


def test_a_training_goes_on_with_an_edited_plan_and_what_was_trained_stays_bit_for_bit(
    undisturbed: Path, runs: Path, recipe: Path
) -> None:
    before = load_plan(runs / "tiny" / "plan.json")
    said = json.loads(
        done(
            "mixture",
            "edit",
            "tiny",
            "--runs",
            runs,
            "--at",
            EDITED + 1,
            "--drop",
            "web-zh",
            "--lengthen",
            "decay=2048",
            "--json",
        )
    )
    plan = load_plan(runs / "tiny" / "plan.json")
    assert (said["at"], said["trained"], said["plan"], said["before"]) == (
        EDITED + 1,
        TRAINED,
        plan.hash,
        before.hash,
    )
    assert load_plan(runs / "tiny" / said["former"]) == before
    assert (plan.steps, common_steps(plan, before)) == (before.steps + 2, EDITED)

    loaded = load_recipe(recipe, ALONE)
    outcome = train_run(loaded, str(runs))
    folder = runs / "tiny" / outcome.record["training"]["folder"]
    assert folder.name != undisturbed.name
    ours, theirs = read_series(folder), read_series(undisturbed)
    assert len(ours) == plan.steps
    assert ours[:EDITED] == theirs[:EDITED]
    assert ours[EDITED:] != theirs[EDITED:]
    for name in ("weights.safetensors", "moments.safetensors"):
        place = f"checkpoints/step-00000010/{name}"
        assert (folder / place).read_bytes() == (undisturbed / place).read_bytes()
    assert all("web-zh" not in line["sources"] for line in ours[EDITED:20])
    assert any("web-zh" in line["sources"] for line in ours[20:])
    data = read_series(folder, "data")
    assert [line["step"] for line in data] == [EDITED, 20, 25, 27]
    for line in data:
        assert line["sources"] == {
            part.source: {"tokens": part.tokens, "epochs": part.epochs}
            for part in realised(plan, line["step"])
        }
    newest = latest(folder)
    assert newest is not None
    assert (newest.state.step, newest.state.plan_hash) == (plan.steps, plan.hash)
    assert [stretch.plan_hash for stretch in newest.state.history] == [before.hash, plan.hash]

    assert train_run(loaded, str(runs)).computed == 0
    assert (
        run_recipe(loaded, str(runs)).record["training"]["folder"]
        == outcome.record["training"]["folder"]
    )
    back = train_run(loaded, str(runs), plan=before)
    assert read_series(runs / "tiny" / back.record["training"]["folder"]) == theirs


def test_a_second_edit_goes_on_from_where_the_first_was_trained_to(
    runs: Path, recipe: Path
) -> None:
    done("mixture", "edit", "tiny", "--runs", runs, "--at", EDITED + 1, "--weight", "code=0.5")
    train_run(load_recipe(recipe, ALONE), str(runs), until_step=16)
    error = refused("mixture", "edit", "tiny", "--runs", runs, "--at", 16, "--drop", "code")
    assert error.found == "step 16; the newest checkpoint is of step 16"
    assert error.allowed == ["17 to 26"]
    assert "edit from step 17 on" in str(error.fix)
    done("mixture", "edit", "tiny", "--runs", runs, "--at-tokens", 17 * 1024, "--decay", 3072)
    plan = load_plan(runs / "tiny" / "plan.json")
    assert (plan.decay_step, plan.steps, len(plan.history)) == (17, 20, 2)
    outcome = train_run(load_recipe(recipe, ALONE), str(runs))
    lines = read_series(runs / "tiny" / outcome.record["training"]["folder"])
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert len(list((runs / "tiny" / "plans").iterdir())) == 2


def test_an_edit_from_a_file_says_phases_as_a_recipe_does(
    runs: Path, recipe: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rest.yaml"
    file.write_text(
        "phases:\n"
        "  - {name: longer, tokens: 4096, sequence_length: 256, batch_tokens: 2048, weights: {web-en: 0.5, code: 0.5}}\n"
        "  - {name: decay, decay: true, tokens: 2048, weights: {web-en: 0.5, sft: 0.5}}\n"
    )
    said = done("mixture", "edit", "tiny", "--runs", runs, "--at", 13, "--mixture", file)
    assert "from step 13, phase longer: 8 windows of 256 tokens" in said
    outcome = train_run(load_recipe(recipe, ALONE), str(runs))
    lines = read_series(runs / "tiny" / outcome.record["training"]["folder"])
    assert (len(lines), lines[-1]["tokens"]) == (15, 12 * 1024 + 3 * 2048)
    assert set(lines[-1]["sources"]) == {"web-en", "sft"}


@pytest.mark.parametrize(
    ("options", "field", "found"),
    [
        (
            ["--at", "9", "--drop", "web-zh"],
            "--at",
            "step 9; the newest checkpoint is of step 12",
        ),
        (["--at", "0", "--drop", "web-zh"], "--at", "0"),
        (["--at", "27", "--drop", "web-zh"], "--at", "27"),
        (["--drop", "web-zh"], "--at, --at-tokens", None),
        (["--at", "14"], "--mixture", "nothing"),
        (["--at", "14", "--weight", "web-zh"], "--weight", "web-zh"),
        (["--at", "14", "--lengthen", "decay=many"], "--lengthen", "decay=many"),
        (["--at", "14", "--drop", "sft"], "--drop", "sft"),
    ],
)
def test_an_edit_that_cannot_be_made_leaves_the_run_as_it_was(
    runs: Path, options: list[str], field: str, found: str | None
) -> None:
    before = (runs / "tiny" / "plan.json").read_bytes()
    error = refused("mixture", "edit", "tiny", "--runs", runs, *options)
    assert error.field == field
    assert (None if error.found is None else str(error.found)) == found
    assert error.fix or error.allowed
    assert (runs / "tiny" / "plan.json").read_bytes() == before
    assert not (runs / "tiny" / "plans").exists()


def test_an_edit_of_the_first_step_keeps_the_windows_that_train_says(
    tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    shutil.copytree(tiny[0], tmp_path / "tiny", ignore=shutil.ignore_patterns("training"))
    file = tmp_path / "whole.yaml"
    file.write_text(
        "phases:\n  - {name: all, tokens: 4096, sequence_length: 256, weights: {web-en: 1.0}}\n"
    )
    error = refused("mixture", "edit", "tiny", "--runs", tmp_path, "--at", 1, "--mixture", file)
    assert (str(error.found), error.allowed) == ("256", ["128"])
    file.write_text(file.read_text().replace("256", "128"))
    done("mixture", "edit", "tiny", "--runs", tmp_path, "--at", 1, "--mixture", file)


def test_a_mistake_in_the_file_of_an_edit_is_placed_in_it(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "rest.yaml"
    file.write_text("phases:\n  - name: more\n    tokens: 4096\n    weights: {web-eng: 1.0}\n")
    error = refused("mixture", "edit", "tiny", "--runs", runs, "--at", 14, "--mixture", file)
    assert (error.file, error.line, error.nearest) == (str(file), 4, "web-en")


# -- trace --------------------------------------------------------------------------------------


def test_steps_count_from_1_wherever_they_are_asked_for_or_shown(
    tiny: tuple[Path, RunOutcome],
) -> None:
    run = tiny[0]
    tracer = Tracer(load_plan(run / "plan.json"), Materials.of(tiny[1].store, record(run)).folders)
    for step in (1, 7, 25):
        spans = json.loads(done("mixture", "trace", run, "--step", step, "--json"))
        assert {span["step"] for span in spans} == {step}
        assert [span["id"] for span in spans] == [span.id for span in tracer.step(step - 1)]
        lines = done("mixture", "trace", run, "--step", step).splitlines()
        assert {line.split()[0] for line in lines[1:]} == {str(step)}
        metrics = read_series(run / record(run)["training"]["folder"])[step - 1]
        assert metrics["step"] == step
        assert set(metrics["sources"]) <= {span["source"] for span in spans}
    document = tracer.step(6)[0].id
    spans = json.loads(done("mixture", "trace", run, "--doc", document, "--json"))
    assert 7 in [span["step"] for span in spans]
    for step in (0, 26):
        error = refused("mixture", "trace", run, "--step", step)
        assert (error.field, error.found, error.allowed) == ("--step", step, ["1 to 25"])
    assert [
        (part["name"], part["first_step"], part["last_step"])
        for part in record(run)["training"]["segments"]
    ] == [("stable", 1, 20), ("decay", 21, 25)]
    spec = "{peak: 0.01, warmup: 20, decay_start: 300, end: 375}"
    error = refused("schedule", "show", spec, "--steps", "1,0")
    assert (error.field, error.found, error.allowed) == ("--steps", 0, ["1 to 375"])
    (shown,) = json.loads(done("schedule", "show", spec, "--steps", "1", "--json"))
    assert shown == [1, 0.01 / 20]


def test_the_ranks_of_a_step_see_what_the_step_shows(tiny: tuple[Path, RunOutcome]) -> None:
    whole = json.loads(done("mixture", "trace", tiny[0], "--step", 3, "--json"))
    ranks = [
        span
        for rank in range(3)
        for span in json.loads(
            done(
                "mixture",
                "trace",
                tiny[0],
                "--step",
                3,
                "--rank",
                rank,
                "--world-size",
                3,
                "--json",
            )
        )
    ]
    assert ranks == whole
    assert refused("mixture", "trace", tiny[0], "--step", 3, "--rank", 1).field == "--rank"
    assert refused("mixture", "trace", tiny[0]).field == "--step, --doc, --removed"


def test_a_take_down_is_traced_to_steps_checkpoints_and_shards(
    tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    run, content = tiny[0], record(tiny[0])
    tracer = Tracer(load_plan(run / "plan.json"), Materials.of(tiny[1].store, content).folders)
    late = next(span.id for span in tracer.step(24) if tracer.document(span.id)[0].step >= 20)
    early = tracer.step(2)[0].id
    held = {
        name: run / entry["folder"]
        for name, entry in content["shards"].items()
        if name.endswith("-validation")
    }
    name, folder = next(
        (name, folder) for name, folder in held.items() if (folder / MANIFEST_NAME).is_file()
    )
    validation = open_source(folder).table(0)["id"][0].as_py().hex()
    listed = tmp_path / "ids.txt"
    listed.write_text(f"# asked for\n{late}\n\n{early.upper()}\n{validation}\n{'0' * 32}\n{late}\n")
    facts = json.loads(done("mixture", "trace", run, "--removed", listed, "--json", code=1))
    assert facts["unknown"] == ["0" * 32]
    first, second, third = facts["documents"]
    for found, document in ((first, late), (second, early)):
        spans = tracer.document(document)
        assert found["id"] == document
        assert found["steps"] == sorted({span.step + 1 for span in spans})
        assert found["shown_tokens"] == sum(span.stop - span.start for span in spans)
        assert (run / found["part"]).is_file()
        seen = {
            path: json.loads((run / path / "state.json").read_text())["step"]
            for path in found["checkpoints"]
        }
        assert all(step >= found["steps"][0] for step in seen.values())
        assert any(step == 25 and "/branches/" not in path for path, step in seen.items())
    assert len(second["checkpoints"]) > len(first["checkpoints"])
    assert any("/branches/" in path for path in second["checkpoints"])
    assert (third["source"], third["steps"], third["checkpoints"]) == (name, [], [])

    said = done("mixture", "trace", run, "--removed", listed, code=1)
    assert "3 documents in " in said
    assert f"1 ids that no shard of this run holds\n  {'0' * 32}" in said


def test_a_list_with_lines_that_are_no_ids_is_refused_with_their_numbers(
    tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{'1' * 32}\nwep:page\n\n{'2' * 31}\n")
    error = refused("mixture", "trace", tiny[0], "--removed", listed)
    assert (error.file, error.line, error.found) == (str(listed), 2, "wep")
    assert error.message == "no such source (and 1 more: lines 4)"


def test_a_document_to_be_removed_may_be_named_by_its_source_and_native_id(
    tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path
) -> None:
    run = tiny[0]
    packed = (root / "examples" / "corpus" / "code" / "ripgrep.jsonl.zst").read_bytes()
    with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        natives = [str(json.loads(line)["id"]) for line in stream.read().splitlines()]
    ids = document_ids("code", [native_key(native) for native in natives]).to_pylist()
    known = dict(zip([one.hex() for one in ids], natives, strict=True))
    shards = open_source(run / record(run)["shards"]["code"]["folder"])
    document = shards.table(0)["id"][0].as_py().hex()
    listed = tmp_path / "ids.txt"
    listed.write_text(f"code:{known[document]}\n")
    facts = json.loads(done("mixture", "trace", run, "--removed", listed, "--json"))
    assert [found["id"] for found in facts["documents"]] == [document]
    listed.write_text(f"{document}\n")
    assert facts == json.loads(done("mixture", "trace", run, "--removed", listed, "--json"))


def test_a_document_that_was_taken_down_says_so_and_check_counts_it(
    runs: Path, tmp_path: Path
) -> None:
    folder = runs / "tiny" / record(runs / "tiny")["shards"]["code"]["folder"]
    row = open_source(folder).table(0).slice(3, 1)
    take_down(folder, find_documents(folder, [row["id"][0].as_py()]), "asked for")
    listed = tmp_path / "ids.txt"
    listed.write_text(row["id"][0].as_py().hex())
    (found,) = json.loads(
        done("mixture", "trace", "tiny", "--runs", runs, "--removed", listed, "--json")
    )["documents"]
    assert found["taken_down"]
    checked = json.loads(done("mixture", "check", "tiny", "--runs", runs, "--json"))
    code = next(source for source in checked["sources"] if source["source"] == "code")
    assert (code["removed_documents"], code["removed_tokens"]) == (1, len(row["tokens"][0]))
