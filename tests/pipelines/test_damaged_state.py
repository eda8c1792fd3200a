"""A run's own files, damaged: what can be made again is, and readers name the file and the fix."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from artifacts.books import sealed, unsealed
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json
from artifacts.publish import MANIFEST
from pipelines.commands.app import app
from pipelines.executors.progress import Silent
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.run.driver import run_recipe
from pipelines.run.record import DIGESTS, RECORD
from pipelines.run.train_only import train_run
from pipelines.starter.write import write_starter
from tests.damage import DAMAGES, broken
from tests.pipelines.run_trees import record, trained, tree
from trainer.checkpoints.checkpoint import load
from trainer.checkpoints.weights import model_of
from trainer.evaluation.generate import speaker

# what nothing can make again
KEPT = re.compile(
    r"plan\.json|take-downs\.json|.*/source\.json|training/.*/(checkpoints|metrics)/.*"
)
# written anew by every run, or by whoever asks for it; read by nobody
UNREAD = re.compile(r"ledgers/.*|report\.html|\.lock|plans/.*|training/\.lock|.*/\.lock")

STAGES = (
    "[newlines, language: {keep: [en], sources: [web]}, heuristics: {rules: [gopher_quality], "
    "sources: [web]}, exact_dedup, line_dedup: {sources: [web]}, minhash_dedup: {verify: 0.7}, "
    "decontaminate: {against: [data/benchmark.jsonl]}]"
)
OVERRIDES = [
    f"corpus.stages={STAGES}",
    "shards.hold_out=0.1",
    "mixture={phases: [{name: stable, tokens: 2048, weights: {web: 0.8, instructions: 0.2}}, "
    "{name: decay, decay: true, tokens: 512, weights: {web: 1.0}}]}",
    "model={preset: tiny, width: 32, layers: 1, heads: 1, kv_heads: 1, ff: 64, head_dim: 32}",
    "train={sequence_length: 64, batch_tokens: 256, tensorboard: false, threads: 1, "
    "schedule: {kind: wsd, peak: 0.01, warmup: 2, decay: {shape: exponential}}}",
    "prompts=[The]",
]


class Heard(Silent):
    """Progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Finished:
    """A run that ended, whose files are damaged and put back. ``names``: a file of each kind."""

    def __init__(self, folder: Path) -> None:
        write_starter(folder)
        self.recipe, self.runs = folder / "recipe.yaml", folder / "runs"
        self.folder = self.runs / "starter"
        with (folder / "data" / "web.jsonl").open("a") as file:
            file.write("not a record\n")
        self.run()
        ids = self.some_ids()
        self.call("shards", "remove", "starter", "--ids", ids, "--reason", "asked for")
        shutil.rmtree(self.folder / "training")
        self.run()  # a plan knows whether documents were taken down
        self.call("report", "starter")
        self.before, self.trained = tree(self.folder), trained(self.folder)
        self.names = self._kinds()

    def loaded(self) -> LoadedRecipe:
        return load_recipe(self.recipe, OVERRIDES)

    def run(self, progress: Silent | None = None) -> None:
        run_recipe(self.loaded(), str(self.runs), progress=progress)

    def some_ids(self) -> Path:
        content = record(self.folder)
        part = self.folder / content["shards"]["web"]["folder"] / "part-00000.arrow"
        gone = pq.read_table(self.folder / content["evidence"]["minhash_dedup"]["file"]["name"])
        self.shown = [pa.ipc.open_file(str(part)).read_all()["id"][0].as_py().hex()]
        self.shown += [one.hex() for one in gone["id"].to_pylist()[:1]]
        (self.runs / "ids.txt").write_text(self.shown[0])
        return self.runs / "ids.txt"

    def call(self, *arguments: object) -> str:
        """A command in this process; what it printed. Raises: what the command raised."""
        texts = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, [*texts, "--runs", str(self.runs)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return str(result.output)

    def other(self) -> list[str]:
        """Files that are not as before."""
        return [
            name
            for then, now in (
                (self.before, tree(self.folder)),
                (self.trained, trained(self.folder)),
            )
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        ]

    @contextmanager
    def damaged(self, names: list[str], how: str) -> Iterator[None]:
        """These files damaged; afterwards they and what was removed are as before."""
        kept = self.folder.with_name("kept")
        shutil.copytree(self.folder, kept, copy_function=shutil.copy2)
        try:
            for name in names:
                path = self.folder / name
                path.write_bytes(broken(path.read_bytes(), how))
            yield
        finally:
            shutil.rmtree(self.folder)
            kept.rename(self.folder)

    def _kinds(self) -> dict[str, str]:
        """Kind -> the largest file of it among those the run names, all kinds there are."""
        names: dict[str, str] = {}
        named = (self.folder / RECORD).read_text()

        def rank(name: str) -> tuple[bool, int]:
            return f'"{name}"' in named, (self.folder / name).stat().st_size

        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if not path.is_file() or UNREAD.fullmatch(name):
                continue
            kind = re.sub(r"[0-9a-f]{8,}", "KEY", name)
            kind = re.sub(r"\d{3,}", "N", kind)
            known = names.setdefault(kind, name)
            if rank(name) > rank(known):
                names[kind] = name
        return names


pytestmark = pytest.mark.slow  # all need a run of their own, which is damaged


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("artifacts.fingerprints.SETTLED_NS", -1)  # files written just now are settled
        yield Finished(tmp_path_factory.mktemp("damaged"))


# -- a whole run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", DAMAGES)
def test_a_run_makes_anew_what_is_damaged_and_says_so_once(finished: Finished, how: str) -> None:
    names = [name for name in finished.names.values() if not KEPT.fullmatch(name)]
    if how == "flipped":  # a run does not read what it needs not; tables are the next test's
        names = [name for name in names if name.endswith(".json")]
    heard = Heard()
    with finished.damaged(names, how):
        finished.run(heard)
        assert finished.other() == []
        said = [note for note in heard.notes if "is damaged" in note]
        assert len(said) == len(set(said))
        for name in (RECORD, DIGESTS):
            assert [name in note for note in said].count(True) == 1
        assert all("\n" not in note for note in said)
        again = Heard()
        finished.run(again)
        assert not [note for note in again.notes if "is damaged" in note]


def readers(finished: Finished, name: str) -> dict[str, Callable[[], object]]:
    """Commands that read a file of a finished run."""
    run = "starter"
    found: dict[str, Callable[[], object]] = {"report": lambda: finished.call("report", run)}
    if name.endswith(".parquet") or name == RECORD or "/part-" in name:
        found["explain"] = lambda: [
            finished.call("corpus", "explain", one, "--run", run) for one in finished.shown
        ]
    if name.startswith(("shards/", "tokenizer/")) or name == RECORD:
        found["verify"] = lambda: finished.call("shards", "verify", run)
    if name.startswith(("quarantine/", "documents/")) or name == RECORD:
        found["requeue"] = lambda: finished.call(
            "corpus", "requeue", run, "--recipe", finished.recipe
        )
    if "/checkpoints/" in name:
        found["speak"] = lambda: speaker((finished.folder / name).parent)
    if name == RECORD:
        found["cache"] = lambda: finished.call("cache", "ls", run)
        found["collect"] = lambda: finished.call("cache", "gc", run)
        found["train"] = lambda: train_run(finished.loaded(), str(finished.runs))
    return found


@pytest.mark.parametrize("how", ["half", "flipped"])
def test_every_reader_names_the_damaged_file_and_the_fix_works(
    finished: Finished, how: str
) -> None:
    failures, mended = [], set()
    for kind, name in finished.names.items():
        if name.startswith("work/") or (how == "half" and name.endswith(MANIFEST)):
            continue
        with finished.damaged([name], how):
            for title, command in readers(finished, name).items():
                try:
                    command()
                except UserError as error:
                    if str(finished.folder / name) not in str(error) or error.fix is None:
                        failures.append(f"{title}, {kind}: {error}")
                    if (folder := folder_to_delete(error)) is not None and how == "flipped":
                        mended.add(kind)
                        shutil.rmtree(folder)
                        finished.run()
                        command()
                        failures += [f"{title}, {kind}: {one}" for one in finished.other()]
                        break
                except Exception as error:
                    failures.append(f"{title}, {kind}: {type(error).__name__} {error}")
    assert failures == []
    if how == "flipped":
        areas = {kind.split("/")[0] for kind in mended}
        assert areas >= {"documents", "signals", "selection", "evidence", "quarantine"}
        assert areas >= {"tokenizer", "shards"}


def folder_to_delete(error: UserError) -> Path | None:
    """The folder that a fix says to delete before the run."""
    fix, file = str(error.fix), Path(str(error.file))
    if "delete its folder: windtunnel run" in fix:
        return file.parent
    found = re.match(r"delete the folder ([^;]+); windtunnel run", fix)
    return None if found is None else Path(found[1])


def test_a_text_that_is_no_text_is_named_with_its_table(finished: Finished) -> None:
    """The bytes of a stored text, changed in a table that is otherwise whole."""
    content = record(finished.folder)
    (chunk,) = [chunk for chunk in content["chunks"] if chunk["source"] == "web"]
    names = [ref["name"] for ref in (chunk["documents"], *chunk["rewrites"])]
    with finished.damaged([], "half"):
        for path in [finished.folder / name for name in names]:
            table = pq.read_table(path)
            texts = [text.encode()[:-1] + b"\xe4" for text in table["text"].to_pylist()]
            spoiled = pa.array(texts, pa.large_binary()).view(pa.large_string())
            place = table.schema.get_field_index("text")
            pq.write_table(table.set_column(place, table.schema.field(place), spoiled), path)
        with pytest.raises(UserError) as error:
            finished.call("corpus", "explain", finished.shown[0], "--run", "starter")
        assert str(finished.folder / names[0]) in str(error.value)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", ["plan.json", "take-downs.json", "source.json"])
def test_what_nothing_can_make_again_stops_the_run_and_stays(
    finished: Finished, kind: str, how: str
) -> None:
    name = next(
        name
        for name in finished.names.values()
        if name.split("/")[-1] == kind and "training" not in name
    )
    with finished.damaged([name], how):
        found = (finished.folder / name).read_bytes()
        if kind == "take-downs.json":
            shutil.rmtree(finished.folder / record(finished.folder)["shards"]["web"]["folder"])
        with pytest.raises(UserError) as error:
            finished.run()
        assert str(finished.folder / name) in str(error.value)
        assert error.value.fix
        assert (finished.folder / name).read_bytes() == found


def test_a_plan_that_is_deleted_is_frozen_again(finished: Finished) -> None:
    with finished.damaged(["plan.json"], "half"):
        (finished.folder / "plan.json").unlink()
        finished.run()
        assert finished.other() == []


# -- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        {"vocab_size": 1 << 31},
        {"width": 1 << 20},
        {"layers": 1 << 31},
        {"ff": 1 << 40, "layers": 1 << 40},
        {"head_dim": 1 << 30},
    ],
)
def test_an_absurd_shape_is_refused_before_it_takes_memory(
    finished: Finished, tmp_path: Path, shape: dict[str, int]
) -> None:
    name = next(name for name in finished.names.values() if name.endswith("/state.json"))
    shutil.copytree((finished.folder / name).parent, tmp_path / "step-00000010")
    state = tmp_path / "step-00000010" / "state.json"
    facts = unsealed(state.read_bytes())
    facts["model"].update(shape)
    state.write_bytes(canonical_json(sealed(facts)))
    with pytest.raises(UserError) as error:
        model_of(load(state.parent))
    assert error.value.file == str(state.parent)
    assert error.value.fix


def test_a_state_that_names_files_outside_its_folder_or_nests_deeply_is_damaged(
    finished: Finished, tmp_path: Path
) -> None:
    name = next(name for name in finished.names.values() if name.endswith("/state.json"))
    facts: dict[str, Any] = unsealed((finished.folder / name).read_bytes())
    state = tmp_path / "step-00000010" / "state.json"
    state.parent.mkdir()
    files = {"../../etc/passwd": next(iter(facts["files"].values()))}
    state.write_bytes(canonical_json(sealed({**facts, "files": files})))
    deep = json.dumps(facts).replace(
        '"spikes": null', '"spikes": ' + '{"a":' * 990 + "1" + "}" * 990
    )
    for raw in (state.read_bytes(), deep.encode()):
        state.write_bytes(raw)
        with pytest.raises(UserError) as error:
            load(state.parent)
        assert error.value.file == str(state)
