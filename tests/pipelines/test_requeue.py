"""Quarantined records through the readers again, once their cause is mended."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.recipe.load import LoadedRecipe, given_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.requeue import requeue


def recipe(folder: Path, name: str = "run", limits: dict[str, Any] | None = None, **source: Any) -> LoadedRecipe:  # fmt: skip
    sources = [{"name": "web", "paths": ["web/*"], "max_quarantined_share": 1, **source}]
    corpus = {"sources": sources, "limits": limits or {}}
    return given_recipe({"name": name, "corpus": corpus}, folder)


def run(folder: Path, loaded: LoadedRecipe) -> RunOutcome:
    return run_recipe(loaded, str(folder / "runs"), until="corpus")


def ids(outcome: RunOutcome) -> set[str]:
    names = [chunk["documents"]["name"] for chunk in outcome.record["chunks"]]
    tables = [pq.read_table(outcome.store.full(name)) for name in names]
    return {value.hex() for table in tables for value in table["id"].to_pylist()}


def mixed(folder: Path) -> None:
    """Records under ``text``, and under ``body`` in lines, in a compressed file, in a table; one of
    them longer than quarantine keeps, one broken.
    """
    (folder / "web").mkdir()
    rows = [{"text": f"good {n}"} for n in range(5)]
    rows += [{"body": f"other {n}"} for n in range(7)] + [{"body": "long " * 900}]
    lines = "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n"
    (folder / "web" / "a.jsonl").write_text(lines)
    (folder / "web" / "b.jsonl.gz").write_bytes(
        gzip.compress(lines.replace("broken", "bruken").encode())
    )
    table = pa.table({"text": ["x", None, None], "body": [None, "row one", "row two"]})
    pq.write_table(table, folder / "web" / "c.parquet")


LIMITS = {"quarantine_kib": 1}


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_mended_field_gives_the_documents_that_a_right_run_gives(
    tmp_path: Path, format: str
) -> None:
    mixed(tmp_path)
    wrong = run(tmp_path, recipe(tmp_path, limits=LIMITS))
    mended = recipe(tmp_path, name="right", limits=LIMITS, text_field="body")
    right = run(tmp_path, mended)
    out = tmp_path / "out"
    done = requeue(str(tmp_path / "runs"), "run", mended, output=str(out), format=format)
    path = out / "documents" / f"web.{format}"
    if format == "jsonl":
        found = {json.loads(line)["id"] for line in path.read_text().splitlines()}
    else:
        found = {value.hex() for value in pq.read_table(path)["id"].to_pylist()}
    assert found == ids(right) - ids(wrong)
    assert done.documents == len(found) == done.totals()["document"]
    assert done.totals()["still_quarantined"] == 2
    assert done.counts["web", "invalid_json"] == {"still_quarantined": 2}
    remaining = out / "quarantine" / f"web.{format}"
    if format == "jsonl":
        last = [json.loads(line) for line in remaining.read_text().splitlines()]
        assert {(row["raw"], row["now"]) for row in last} == {
            ("{broken", "invalid_json"),
            ("{bruken", "invalid_json"),
        }


def test_what_is_cut_needs_its_file_as_it_was(tmp_path: Path) -> None:
    mixed(tmp_path)
    run(tmp_path, recipe(tmp_path, limits=LIMITS))
    mended = recipe(tmp_path, limits=LIMITS, text_field="body")
    path = tmp_path / "web" / "a.jsonl"
    path.write_text(path.read_text() + "{}\n")
    done = requeue(str(tmp_path / "runs"), "run", mended, reasons=["no_text"])
    assert done.totals()["not_possible"] == 1
    assert any("another now" in why for why in done.why["web", "no_text"])
    path.unlink()
    done = requeue(str(tmp_path / "runs"), "run", mended)
    assert any("not where the recipe says" in why for why in done.why["web", "no_text"])


def test_equal_keys_stay_quarantined_until_the_key_is_mended(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    rows = [{"text": f"t {n}", "kind": "page", "id": str(n)} for n in range(9)]
    (tmp_path / "web" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = recipe(tmp_path, id_field="kind")
    run(tmp_path, loaded)
    same = requeue(str(tmp_path / "runs"), "run", loaded)
    assert same.why == {("web", "duplicate_key"): {"duplicate_key": 8}}
    other = requeue(str(tmp_path / "runs"), "run", recipe(tmp_path, id_field="id"))
    assert other.totals()["document"] == 8


def test_the_command_and_its_mistakes(tmp_path: Path) -> None:
    mixed(tmp_path)
    run(tmp_path, recipe(tmp_path, limits=LIMITS))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: run\ncorpus:\n  sources: [{name: web, paths: [web/*], text_field: body}]\n"
    )
    runs = ["--runs", str(tmp_path / "runs")]
    command = ["corpus", "requeue", "run", "--recipe", str(path), *runs]
    said = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(said.stdout)["document"] == 18
    plain = CliRunner().invoke(app, command)
    assert "no_text" in plain.stdout
    assert "invalid_json 2" in plain.stdout
    for options in (["--reason", "no_texts"], ["--source", "wep"], ["--format", "csv"]):
        failed = CliRunner().invoke(app, [*command, *options])
        assert isinstance(failed.exception, UserError)
        assert failed.exception.field == options[0]
