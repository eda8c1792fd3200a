"""Every mistake a user can make with a run is told in a few lines with its place, never as a
traceback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UserError
from artifacts.ledger import Ledger
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from pipelines.run.work_plan import plan_steps

WEB = "{name: web, paths: [data/web.jsonl], id_field: id}"
ONLY_WEB = [f"corpus.sources=[{WEB}]", "tokenizer=null", "corpus.stages=[]"]


class Notes:
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def phase(self, title: str, tasks: int, found: int, size: int) -> None: ...

    def advance(self, tasks: int, size: int) -> None: ...

    def stands(self, text: str) -> None: ...

    def end(self, ledgers: list[Ledger]) -> None: ...

    def note(self, text: str) -> None:
        self.said.append(text)


def refused(recipe: Path, *overrides: str, runs: str | None = None, **options: Any) -> UserError:
    """The error a run ends with before it writes anything."""
    with pytest.raises(UserError) as caught:
        run_recipe(
            load_recipe(recipe, overrides),
            runs if runs is not None else str(recipe.parent / "runs"),
            **options,
        )
    assert not (recipe.parent / "runs").exists()
    return caught.value


@pytest.mark.parametrize(
    "override",
    [
        "corpus.root=[",
        "corpus.root=!!python/object/apply:os.system [echo]",
        "corpus.root=\0",
        "corpus.root=a: b: c",
    ],
)
def test_an_override_that_is_no_yaml_is_named(starter: Path, override: str) -> None:
    error = refused(starter, override)
    assert "not valid YAML" in error.message
    assert error.field == "overrides.corpus.root"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"name: x\ncorpus: !!python/object/apply:os.system [echo]\n", 2),
        (b"name: x\ncorpus: !mine {}\n", 2),
        (b"name: a\0b\n", None),
        (b"name: &a [*a, " + b"[" * 2000 + b"]" * 2000 + b"]\n", None),
        (b"name: x\nname: y\n", 2),
    ],
)
def test_tags_control_characters_and_depth_are_not_recipes(
    starter: Path, content: bytes, line: int | None
) -> None:
    starter.write_bytes(content)
    error = refused(starter)
    assert error.message.startswith("not valid YAML")
    assert error.file == str(starter)
    assert error.line == line


def test_an_alias_inside_its_own_anchor_is_refused(starter: Path) -> None:
    starter.write_text("name: x\ncorpus: &a [*a]\n")
    assert "nested too deeply" in refused(starter).message


def test_a_folder_and_an_unreadable_file_are_not_recipes(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused_at(starter.parent)
    assert "this is a folder" in error.message
    assert error.allowed == [str(starter)]
    assert "no such file" in refused_at(starter / "recipe.yaml").message
    os.mkfifo(starter.parent / "pipe")
    assert "not a file" in refused_at(starter.parent / "pipe").message

    def denied(*arguments: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    assert "Permission denied" in refused_at(starter).message


def refused_at(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    return caught.value


@pytest.mark.parametrize(
    "override",
    [
        "corpus.chunk_mib=.inf",
        "corpus.chunk_mib=1e999",
        "tokenizer.sample.web=.nan",
        'tokenizer.sample.web="nan"',
        'corpus.stages.2.heuristics.thresholds={min_words: "nan"}',
        "corpus.stages.2={datatrove: {block: GopherQualityFilter, settings: {min_doc_words: .nan}}}",
        "corpus.stages.4.minhash_dedup.verify=.nan",
        "corpus.chunk_mib=0.0001",
        "corpus.stages.4.minhash_dedup.max_comparisons=9000000000",
        "corpus.stages.0={newlines: {max_blank_lines: 999}}",
        "corpus.stages.3={exact_dedup: {sources: []}}",
        "shards.part_mtokens=1e-9",
        f"name={'n' * 101}",
        f"corpus.sources.0.name={'n' * 101}",
        f"corpus.stages.3={{exact_dedup: {{name: {'n' * 101}}}}}",
    ],
)
def test_a_value_out_of_bounds_is_refused_and_said_to_be_given_as_an_override(
    starter: Path, override: str
) -> None:
    error = refused(starter, override)
    assert error.file == str(starter)
    assert f"(given with overrides={override})" in error.message
    assert error.line is None
    assert error.field is not None


def test_only_errors_about_overridden_values_speak_of_overrides(starter: Path) -> None:
    starter.write_text(starter.read_text().replace("vocab_size: 1024", "vocab_size: many"))
    error = refused(starter, "corpus.chunk_mib=1")
    assert "overrides" not in error.message
    assert error.line == starter.read_text().splitlines().index("  vocab_size: many") + 1
    error = refused(
        starter, "tokenizer.vocab_size=1024", "corpus.stages.2.heuristics.thresholds={min_word: 3}"
    )
    assert error.field == "heuristics.thresholds.min_word"
    assert "(given with overrides=corpus.stages.2" in error.message


@pytest.mark.parametrize(
    "name",
    [
        "size",
        "conversations",
        "read",
        "unique",
        "final",
        "encoded",
        "all",
        "tokenizer",
        "decontaminate-index",
        "heuristics-gopher",
    ],
)
def test_a_stage_named_like_another_step_is_refused_with_its_line(starter: Path, name: str) -> None:
    text = starter.read_text().replace("- exact_dedup", f"- exact_dedup: {{name: {name}}}")
    starter.write_text(text)
    error = refused(starter)
    assert name in (error.found, "decontaminate-index")
    at_fault = "decontaminate:" if name == "decontaminate-index" else "exact_dedup:"
    assert at_fault in text.splitlines()[(error.line or 0) - 1]


def test_a_stage_may_use_one_name_for_its_own_measure_and_choice(starter: Path) -> None:
    names = [step.name for step in plan_steps(load_recipe(starter))]
    assert names.count("language") == 2


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ('corpus.sources.0.paths=["data/w\\0eb.jsonl"]', "NUL"),
        ('corpus.root="da\\0ta"', "NUL"),
        ("corpus.root=recipe.yaml", "this is a file, not a folder"),
    ],
)
def test_paths_that_no_system_has_are_refused(starter: Path, override: str, part: str) -> None:
    error = refused(starter, override)
    assert part in error.message
    assert "overrides=" in error.message


def test_runs_must_name_a_place_that_can_be_written_to(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipelines.run.driver.plan_corpus",
        lambda *arguments: pytest.fail("planned before the folder was tried"),
    )
    assert "no folder" in refused(starter, runs="").message
    assert "cannot be opened" in refused(starter, runs="foo://x").message
    assert "cannot write here" in refused(starter, runs=str(starter / "runs")).message

    def denied(*arguments: object, **options: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("artifacts.paths.tempfile.mkstemp", denied)
    error = refused(starter)
    assert "cannot write here: Permission denied" in error.message
    assert "runs" in (error.fix or "")


@pytest.mark.parametrize("address", ["foo", "foo://bar:1", "tcp://127.0.0.1:notaport"])
def test_an_address_that_is_none_is_the_users_mistake(starter: Path, address: str) -> None:
    error = refused(starter, scheduler=address)
    assert error.field == "scheduler"
    assert error.found == address


def test_workers_that_do_not_see_the_folder_are_named_before_any_work(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        seen = run_recipe(
            load_recipe(starter, ONLY_WEB),
            str(starter.parent / "seen"),
            scheduler=address,
            until="read",
        )
        assert seen.record["reached"] == "read"
        monkeypatch.setattr("pipelines.executors.dask._sees", lambda path: False)
        error = refused(starter, scheduler=address)
    assert error.message == "the workers do not see this folder"
    assert error.found


def test_the_input_must_be_readable(starter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.open

    def denied(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith("web.jsonl"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", denied)
    error = refused(starter)
    assert "Permission denied" in error.message
    assert (error.file or "").endswith("web.jsonl")


def test_the_command_line_tells_a_system_error_in_one_line(tmp_path: Path, root: Path) -> None:
    command = (
        "import sys, pipelines.commands.app as cli\n"
        "def broken(): raise OSError(5, 'Input/output error', '/some/file')\n"
        "cli.app = broken\n"
        "cli.run_command()\n"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=root)
    assert done.returncode == 2
    assert done.stderr == "error: /some/file: Input/output error\n"


def test_init_into_a_file_is_refused(tmp_path: Path) -> None:
    from pipelines.starter.write import write_starter

    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError):
            write_starter(folder)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("english", "en"), ("en-US", "en"), ("Mandarin", None), ("EN", "en"), ("german", "de")],
)
def test_a_language_the_model_does_not_know_is_refused_with_the_one_meant(
    starter: Path, wrong: str, meant: str | None
) -> None:
    starter.write_text(starter.read_text().replace("keep: [en]", f"keep: [{wrong}]"))
    error = refused(starter)
    assert error.field == "language.keep"
    assert "language" in starter.read_text().splitlines()[(error.line or 0) - 1]
    assert "en" in (error.allowed or [])
    if meant:
        assert f"write {meant} for" in (error.fix or "")


def test_the_known_languages_are_the_models() -> None:
    from pipelines.signals.language import LanguageModel
    from pipelines.signals.language_names import LANGUAGES
    from pipelines.stages.language import MEMBERS

    assert sorted(LANGUAGES) == sorted(LanguageModel.load().labels)
    assert set(MEMBERS) <= set(LANGUAGES)


@pytest.mark.parametrize("format", ["html", "warc"])
def test_fields_that_pages_do_not_have_are_refused_while_planning(
    starter: Path, format: str
) -> None:
    (starter.parent / "data" / f"page.{format}").write_text("<p>text</p>")
    error = refused(starter, f"corpus.sources.0.paths=[data/page.{format}]")
    assert error.field == "id_field"


def test_a_column_that_a_parquet_file_lacks_is_named_while_planning(starter: Path) -> None:
    pq.write_table(
        pa.table({"id": ["a"], "content": ["x"]}), starter.parent / "data" / "web.parquet"
    )
    error = refused(starter, "corpus.sources.0.paths=[data/web.parquet]")
    assert error.field == "text"
    assert error.allowed == ["id", "content"]


def test_sources_without_a_single_record_are_named(starter: Path) -> None:
    (starter.parent / "data" / "web.jsonl").write_bytes(b"")
    with pytest.raises(UserError, match="hold no document at all") as caught:
        run_recipe(load_recipe(starter, ONLY_WEB), str(starter.parent / "runs"))
    assert caught.value.found == "web"
    assert caught.value.field == "corpus.sources"


def test_a_source_that_gives_nothing_is_noted_with_its_most_frequent_reason(starter: Path) -> None:
    (starter.parent / "data" / "bad.jsonl").write_text('no\n{"text": "x"}\nno\n')
    notes = Notes()
    overrides = [
        f"corpus.sources=[{WEB}, {{name: bad, paths: [data/bad.jsonl], id_field: id}}]",
        *ONLY_WEB[1:],
    ]
    run_recipe(
        load_recipe(starter, overrides), str(starter.parent / "runs"), until="read", progress=notes
    )
    assert notes.said == ["source 'bad' gives no document: invalid_json 2"]


@pytest.mark.parametrize("records", [[], [" . "], ["too short", "also too short"]])
def test_benchmarks_with_nothing_to_look_for_are_refused_with_the_stages_line(
    starter: Path, records: list[str]
) -> None:
    (starter.parent / "data" / "benchmark.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in records)
    )
    with pytest.raises(UserError, match="nothing to look for") as caught:
        run_recipe(load_recipe(starter), str(starter.parent / "runs"), until="corpus")
    assert caught.value.file == str(starter)
    assert "decontaminate" in starter.read_text().splitlines()[(caught.value.line or 0) - 1]


def test_benchmark_items_that_cannot_be_found_are_noted(starter: Path) -> None:
    with (starter.parent / "data" / "benchmark.jsonl").open("a") as file:
        file.write('{"text": "too short"}\n')
    items = len((starter.parent / "data" / "benchmark.jsonl").read_text().splitlines())
    notes = Notes()
    stages = "corpus.stages=[{decontaminate: {against: [data/benchmark.jsonl]}}]"
    run_recipe(
        load_recipe(starter, [*ONLY_WEB[:2], stages]),
        str(starter.parent / "runs"),
        until="corpus",
        progress=notes,
    )
    assert notes.said == [
        f"decontaminate-index: 1 of {items} benchmark items are too short or too common to be found"
    ]


def test_a_worker_that_cannot_train_a_tokenizer_is_placed_in_the_recipe(starter: Path) -> None:
    starter.write_text(starter.read_text().replace("vocab_size: 1024", "vocab_size: 500000"))
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(starter), str(starter.parent / "runs"), until="tokenizer")
    assert caught.value.file == str(starter)
    assert (
        starter.read_text().splitlines()[(caught.value.line or 0) - 1].strip()
        == "vocab_size: 500000"
    )


def test_a_full_disk_is_not_the_recipes_fault(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from artifacts.paths import DiskFullError, disk_full

    def full(*arguments: object) -> None:
        raise disk_full("/some/part", 5)

    monkeypatch.setattr("pipelines.run.corpus.prepare", full)
    with pytest.raises(DiskFullError) as caught:
        run_recipe(load_recipe(starter), str(starter.parent / "runs"))
    assert caught.value.file == "/some/part"


def test_a_corpus_folder_with_wildcards_in_its_name_is_taken_literally(starter: Path) -> None:
    strange = starter.parent / "a[1]*?"
    (starter.parent / "data").rename(strange)
    overrides = [
        "corpus.sources=[{name: web, paths: [web*.jsonl], id_field: id}]",
        *ONLY_WEB[1:],
        f"corpus.root={json.dumps(strange.name)}",
    ]
    outcome = run_recipe(
        load_recipe(starter, overrides), str(starter.parent / "runs"), until="read"
    )
    assert [span["path"] for chunk in outcome.record["chunks"] for span in chunk["spans"]] == [
        "web.jsonl"
    ]


def test_the_corpus_may_lie_on_a_store(starter: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/corpus[1]/data/web.jsonl", (starter.parent / "data" / "web.jsonl").read_bytes())
    for paths in ("[data/*.jsonl]", "[data/web.jsonl]"):
        source = f"corpus.sources=[{{name: web, paths: {paths}, id_field: id}}]"
        overrides = [source, *ONLY_WEB[1:], "corpus.root=memory://corpus[1]", f"name=n{len(paths)}"]
        outcome = run_recipe(
            load_recipe(starter, overrides), str(starter.parent / "runs"), until="read"
        )
        assert [span["path"] for chunk in outcome.record["chunks"] for span in chunk["spans"]] == [
            "web.jsonl"
        ]


def test_a_relative_folder_for_runs_is_the_same_for_workers_elsewhere(
    starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(starter.parent)
    outcome = run_recipe(load_recipe("recipe.yaml", ONLY_WEB), "runs", until="read")
    assert outcome.store.root == str(starter.parent / "runs" / "starter")
