"""The command line, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.commands.app import app, run_command
from tests.pipelines.run_trees import record

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"


def call(*arguments: object) -> str:
    """Run a command in this process; it must end well. Returns what it printed."""
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `init` and `run` were called; its runs lie under runs/."""
    folder = tmp_path_factory.mktemp("cli")
    assert "next: windtunnel run" in call("init", folder / "project")
    said = call(
        "run", folder / "project" / "recipe.yaml", "--runs", folder / "runs", "--workers", 1
    )
    assert "report.html" in said
    assert "instructions" in said
    return folder


def test_init_never_overwrites(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["windtunnel", "init", str(finished / "project")])
    with pytest.raises(SystemExit) as caught:
        run_command()
    assert caught.value.code == 2
    assert "nothing was written" in capsys.readouterr().err


def test_a_second_run_says_that_nothing_was_recomputed(finished: Path) -> None:
    said = call(
        "run", finished / "project" / "recipe.yaml", "--runs", finished / "runs", "--workers", 1
    )
    assert "nothing was recomputed" in said


@pytest.mark.slow
def test_run_prints_the_record_as_json(finished: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            COMMAND,
            "run",
            str(finished / "project" / "recipe.yaml"),
            "--runs",
            str(finished / "runs"),
            "--workers",
            "1",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    printed = json.loads(done.stdout)
    assert printed["computed"] == 0
    assert printed["shards"] == record(finished / "runs" / "starter")["shards"]


@pytest.mark.slow
def test_a_mistake_is_told_without_a_traceback_and_with_exit_code_2(finished: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "run", str(finished / "nothing.yaml")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_explain_tells_a_kept_and_a_dropped_document(finished: Path) -> None:
    run = finished / "runs" / "starter"
    selection = pq.read_table(run / record(run)["selection"]["web"]["name"]).to_pylist()
    kept = next(row for row in selection if row["kept"])
    said = call(
        "corpus", "explain", kept["id"].hex(), "--run", "starter", "--runs", finished / "runs"
    )
    assert "kept" in said
    assert "language en" in said
    evidence = pq.read_table(
        run / record(run)["evidence"]["minhash_dedup"]["file"]["name"]
    ).to_pylist()
    dropped = evidence[0]
    said = call("corpus", "explain", dropped["id"].hex(), "--run", run)
    assert "dropped by minhash_dedup: near_duplicate" in said
    assert f"copy of {dropped['kept_id'].hex()}, similarity {dropped['similarity']:.3f}" in said
    said = call("corpus", "explain", dropped["kept_id"].hex(), "--run", run)
    assert "stands for" in said


def test_explain_takes_a_native_id_and_prints_json(finished: Path) -> None:
    first = json.loads((finished / "project" / "data" / "web.jsonl").read_text().splitlines()[0])
    facts = json.loads(
        call(
            "corpus",
            "explain",
            f"web:{first['id']}",
            "--run",
            "starter",
            "--runs",
            finished / "runs",
            "--json",
        )
    )
    assert facts["document"]["native_id"] == first["id"]
    assert first["text"].startswith(facts["excerpt"][:40])


def test_explain_prints_the_evidence_of_a_removal_as_json(finished: Path) -> None:
    evidence = record(finished / "runs" / "starter")["evidence"]["minhash_dedup"]["file"]["name"]
    row = pq.read_table(finished / "runs" / "starter" / evidence).to_pylist()[0]
    said = call(
        "corpus",
        "explain",
        row["id"].hex(),
        "--run",
        "starter",
        "--runs",
        finished / "runs",
        "--json",
    )
    told = json.loads(said)["evidence"]["minhash_dedup"]
    assert told["kept_id"] == row["kept_id"].hex()
    assert told["cluster"] == row["cluster"].hex()


def test_explain_spells_out_what_a_terminal_would_obey(finished: Path) -> None:
    from artifacts.visible_text import on_one_line
    from pipelines.report.explain import explain_document, lines
    from pipelines.run.record import load_run

    assert (
        on_one_line("a\x1b[2J\x9b\u202e\u2066\u061c\n\u2028é中")
        == "a\\u001b[2J\\u009b\\u202e\\u2066\\u061c\\u000a\\u2028é中"
    )
    first = json.loads((finished / "project" / "data" / "web.jsonl").read_text().splitlines()[0])
    facts = explain_document(*load_run(str(finished / "runs"), "starter"), f"web:{first['id']}")
    hostile = "\x1b]0;owned\x07\x9b1m\u202egnp\r\n"
    for name in ("path", "native_id", "url", "lang", "license", "date"):
        facts["document"][name] = hostile
    facts |= {"kept": False, "stage": hostile, "reason": hostile, "excerpt": hostile}
    facts["signals"] = {"language": {"language": hostile}}
    said = lines(facts)
    assert any("\\u001b]0;owned" in line for line in said)
    assert all(character.isprintable() for line in said for character in line)


@pytest.mark.parametrize("wrong", ["nonsense", "0" * 32, "wep:x", "web:unknown"])
def test_explain_names_what_is_wrong_with_an_id(finished: Path, wrong: str) -> None:
    from artifacts.errors import UserError

    with pytest.raises(UserError) as caught:
        call("corpus", "explain", wrong, "--run", "starter", "--runs", finished / "runs")
    assert caught.value.field == "ID"


def test_shards_are_inspected_and_verified_by_run_and_by_folder(finished: Path) -> None:
    rows = json.loads(call("shards", "inspect", "starter", "--runs", finished / "runs", "--json"))
    shards = record(finished / "runs" / "starter")["shards"]
    assert sum(row["tokens"] for row in rows) == sum(entry["tokens"] for entry in shards.values())
    assert call("shards", "verify", "starter", "--runs", finished / "runs").split() == [
        "instructions:",
        "sound",
        "web:",
        "sound",
    ]
    folder = finished / "runs" / "starter" / shards["web"]["folder"]
    assert "sound" in call("shards", "verify", folder)
    assert "part-00000.arrow" in call("shards", "inspect", folder)


def test_verify_ends_with_exit_code_1_when_a_byte_is_flipped(
    finished: Path, tmp_path: Path
) -> None:
    import shutil

    source = (
        finished
        / "runs"
        / "starter"
        / record(finished / "runs" / "starter")["shards"]["web"]["folder"]
    )
    shutil.copytree(source, tmp_path / "web")
    part = tmp_path / "web" / "part-00000.arrow"
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 64
    part.write_bytes(raw)
    result = CliRunner().invoke(app, ["shards", "verify", str(tmp_path / "web")])
    assert result.exit_code == 1
    assert "part-00000.arrow" in result.output


def test_cache_lists_and_collects(finished: Path) -> None:
    call(
        "run",
        finished / "project" / "recipe.yaml",
        "--runs",
        finished / "runs",
        "--workers",
        1,
        "--set",
        "name=cached",
    )
    call(
        "run",
        finished / "project" / "recipe.yaml",
        "--runs",
        finished / "runs",
        "--workers",
        1,
        "--set",
        "name=cached",
        "--set",
        "corpus.stages.2.heuristics.thresholds={min_words: 300}",
    )
    rows = json.loads(call("cache", "ls", "cached", "--runs", finished / "runs", "--json"))
    assert {row["step"] for row in rows} >= {
        "documents/read",
        "signals/language",
        "selection/minhash_dedup",
        "shards/web",
    }
    assert any(row["used_units"] < row["units"] for row in rows)
    dry = call("cache", "gc", "cached", "--runs", finished / "runs", "--dry-run")
    assert dry.replace("would remove", "removed") == call(
        "cache", "gc", "cached", "--runs", finished / "runs"
    )
    rows = json.loads(call("cache", "ls", "cached", "--runs", finished / "runs", "--json"))
    assert all(row["used_units"] == row["units"] for row in rows)


def test_doctor_looks_at_the_machine() -> None:
    said = json.loads(call("doctor", "--json"))
    assert {finding["what"] for finding in said} >= {
        "Python",
        "cores",
        "memory",
        "disk",
        "kernel cache",
        "fasttext module",
    }
    assert all(finding["ok"] for finding in said)


def test_the_schema_accepts_the_recipes_of_the_house(root: Path) -> None:
    import jsonschema
    from ruamel.yaml import YAML

    schema = json.loads(call("schema"))
    for path in [
        *sorted((root / "recipes").glob("*.yaml")),
        root / "pipelines" / "starter" / "recipe.yaml",
    ]:
        jsonschema.validate(YAML(typ="safe").load(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            {
                "name": "x",
                "corpus": {"sources": [{"name": "a", "paths": ["b"]}], "stages": ["exact_dedupe"]},
            },
            schema,
        )


def test_an_unknown_run_names_those_there_are(finished: Path) -> None:
    from artifacts.errors import UserError

    with pytest.raises(UserError) as caught:
        call("report", "startr", "--runs", finished / "runs")
    assert caught.value.nearest == "starter"
