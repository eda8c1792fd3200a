"""Take-downs of a run by command: all its shards, those it makes later too; unknown ids and
mistakes are named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from pipelines.shards.take_downs import LIST
from tests.pipelines.run_trees import record
from tokenizer.shards.manifest import MANIFEST_NAME, Tombstone, read_manifest
from tokenizer.shards.take_down import find_documents
from tokenizer.shards.verify import verify


@pytest.fixture
def finished(starter: Path, tmp_path: Path) -> Path:
    run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    return tmp_path / "runs" / "starter"


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def some_ids(run: Path, source: str, count: int) -> list[str]:
    import pyarrow as pa

    part = run / record(run)["shards"][source]["folder"] / "part-00000.arrow"
    return [one.hex() for one in pa.ipc.open_file(str(part)).read_all()["id"].to_pylist()[:count]]


def stones(run: Path) -> dict[str, list[Tombstone]]:
    return {
        name: list(read_manifest(run / entry["folder"]).tombstones)
        for name, entry in record(run)["shards"].items()
    }


def remove(run: Path, lines: list[str], *more: object, target: object = None) -> dict[str, Any]:
    (run.parent / "ids.txt").write_text("\n".join(lines))
    arguments = [
        "--ids",
        run.parent / "ids.txt",
        "--reason",
        "asked for",
        "--runs",
        run.parent,
        "--json",
        *more,
    ]
    done: dict[str, Any] = json.loads(call("shards", "remove", target or "starter", *arguments))
    return done


def test_documents_of_several_sources_are_taken_down_by_id_and_by_native_id(
    finished: Path, starter: Path
) -> None:
    chat, web = some_ids(finished, "instructions", 1), some_ids(finished, "web", 2)
    native = json.loads(call("corpus", "explain", web[1], "--run", finished, "--json"))["document"][
        "native_id"
    ]
    done = remove(finished, ["# a letter of 12 May", "", *chat, web[0], f"web:{native}", web[0]])
    assert done == {"removed": {"instructions": 1, "web": 2}, "already": 0, "unknown": []}
    assert {
        name: sorted(stone.id for stone in found) for name, found in stones(finished).items()
    } == {"instructions": chat, "web": sorted(web)}
    assert all(
        verify(finished / entry["folder"]) == [] for entry in record(finished)["shards"].values()
    )


def test_a_second_call_changes_nothing(finished: Path) -> None:
    web = some_ids(finished, "web", 2)
    remove(finished, web)
    files = {path: path.read_bytes() for path in finished.rglob("*.json")}
    assert remove(finished, web) == {"removed": {}, "already": 2, "unknown": []}
    assert {path: path.read_bytes() for path in finished.rglob("*.json")} == files


def test_an_unknown_id_is_named_and_nothing_is_written(finished: Path) -> None:
    web = some_ids(finished, "web", 1)
    with pytest.raises(
        UserError,
        match=r"1 of 2 documents are in no shard; nothing was removed(.|\n)*--ignore-missing",
    ) as raised:
        remove(finished, [*web, "0" * 32])
    assert raised.value.found == "0" * 32
    assert not any(stones(finished).values())
    assert not (finished / LIST).exists()
    done = remove(finished, [*web, "0" * 32], "--ignore-missing")
    assert done == {"removed": {"web": 1}, "already": 0, "unknown": ["0" * 32]}


def test_a_take_down_outlives_shards_that_are_made_anew(finished: Path, starter: Path) -> None:
    web = some_ids(finished, "web", 3)
    remove(finished, web)
    before = record(finished)["shards"]["web"]["folder"]
    run_recipe(load_recipe(starter, ["shards.part_mtokens=0.01"]), str(finished.parent))
    assert record(finished)["shards"]["web"]["folder"] != before
    assert sorted(stone.id for stone in stones(finished)["web"]) == sorted(web)
    assert {stone.reason for stone in stones(finished)["web"]} == {"asked for"}


def test_a_run_after_a_take_down_makes_nothing_anew(finished: Path, starter: Path) -> None:
    web = some_ids(finished, "web", 3)
    remove(finished, web)
    assert run_recipe(load_recipe(starter), str(finished.parent)).computed == 0
    assert sorted(stone.id for stone in stones(finished)["web"]) == sorted(web)


def test_a_take_down_that_was_killed_after_its_list_is_completed_by_the_next_run(
    finished: Path, starter: Path
) -> None:
    web = some_ids(finished, "web", 1)
    manifest = finished / record(finished)["shards"]["web"]["folder"] / MANIFEST_NAME
    raw = manifest.read_bytes()
    remove(finished, web)
    manifest.write_bytes(raw)
    run_recipe(load_recipe(starter), str(finished.parent))
    assert [stone.id for stone in stones(finished)["web"]] == web


def test_shards_whose_manifest_is_gone_are_made_again(finished: Path, starter: Path) -> None:
    manifest = finished / record(finished)["shards"]["web"]["folder"] / MANIFEST_NAME
    raw = manifest.read_bytes()
    manifest.unlink()
    assert run_recipe(load_recipe(starter), str(finished.parent)).computed == 1
    assert manifest.read_bytes() == raw


def test_a_folder_of_shards_is_enough(finished: Path) -> None:
    web = some_ids(finished, "web", 2)
    folder = finished / record(finished)["shards"]["web"]["folder"]
    assert remove(finished, web, target=folder)["removed"] == {str(folder): 2}
    assert {stone.id for stone in read_manifest(folder).tombstones} == set(web)
    assert len(find_documents(folder, [bytes.fromhex(one) for one in web])) == 2


@pytest.mark.parametrize(
    ("lines", "message", "line"),
    [
        ([], "no id in this file", None),
        (["# only this"], "no id in this file", None),
        (["", "xyz"], "not a document id", 2),
        (["wep:1"], "no such source", 1),
    ],
)
def test_a_mistake_in_the_file_of_ids_is_named_with_its_line(
    finished: Path, lines: list[str], message: str, line: int | None
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        remove(finished, lines)
    assert raised.value.line == line
    assert raised.value.file == str(finished.parent / "ids.txt")


def test_a_missing_file_and_a_blank_reason_are_mistakes(finished: Path) -> None:
    with pytest.raises(UserError, match="cannot read the ids"):
        call(
            "shards",
            "remove",
            "starter",
            "--ids",
            finished / "nowhere",
            "--reason",
            "x",
            "--runs",
            finished.parent,
        )
    web = some_ids(finished, "web", 1)
    for target in ("starter", finished / record(finished)["shards"]["web"]["folder"]):
        with pytest.raises(UserError, match="a take-down has a reason"):
            remove(finished, web, "--reason", " ", target=target)
