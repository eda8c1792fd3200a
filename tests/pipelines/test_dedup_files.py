"""Deduplicating files on their own: a recipe's run in other clothes, with what stays written
out.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.schemas import check_format
from pipelines.commands.app import app, run_command
from pipelines.deduplicate.files import DedupOutcome, dedup_files
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from pipelines.starter.write import write_starter
from pipelines.writers.kept_documents import PAIRS
from tests.pipelines.test_readers_warc import page


def lines_of(files: Iterator[Path]) -> list[dict[str, Any]]:
    found = []
    for path in sorted(files):
        with zstandard.open(path, "rb") as stream:
            found += [orjson.loads(line) for line in stream.read().splitlines()]
    return found


def test_a_kept_record_says_every_name_once(tmp_path: Path) -> None:
    records = [
        b'{"id":"1","text":"outer text one two three","meta":{"text":"inner","id":"2","url":"u"}}',
        b'{"id":"3","text":"another text four five six","url":"a","meta":{"url":"b","k":1}}',
        b'{"id":"4","text":"a third of seven eight nine","lang":5,"license":["x"]}',
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(b"".join(record + b"\n" for record in records))
    dedup_files([str(tmp_path / "in" / "a.jsonl")], str(tmp_path / "out"), id_field="id")
    (file,) = (tmp_path / "out").rglob("*.jsonl.zst")
    with zstandard.open(file, "rb") as stream:
        lines = stream.read().splitlines()
    pairs = [json.loads(line, object_pairs_hook=list) for line in lines]
    assert [sorted(name for name, _ in members) for members in pairs] == [
        sorted({name for name, _ in members}) for members in pairs
    ]
    expected = [orjson.loads(record) for record in records]
    expected[1] = {
        "id": "3",
        "text": "another text four five six",
        "url": "a",
        "k": 1,
        "meta": {"url": "b"},
    }
    assert [orjson.loads(line) for line in lines] == expected


def prose(theme: str, words: int) -> str:
    return " ".join(f"{theme}{number}" for number in range(words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of web pages: the starter's, and half of them again beside others, as Parquet and
    compressed JSON Lines.
    """
    folder = tmp_path_factory.mktemp("dedup")
    write_starter(folder / "starter")
    records = [
        orjson.loads(line)
        for line in (folder / "starter" / "data" / "web.jsonl").read_bytes().splitlines()
    ]
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    (folder / "one" / "web.jsonl").write_bytes(
        b"".join(orjson.dumps(record) + b"\n" for record in records)
    )
    again = [
        {"id": f"again-{place}", "text": f"{record['text']}\nRead more"}
        for place, record in enumerate(records[::2])
    ]
    pq.write_table(pa.Table.from_pylist(again), folder / "two" / "again.parquet")
    others = [
        {"id": f"other-{number}", "text": prose(f"w{number}x", 60), "views": number}
        for number in range(20)
    ]
    with gzip.open(folder / "two" / "others.jsonl.gz", "wb") as stream:
        stream.write(
            b"\n".join(orjson.dumps(record) for record in [*others, {"id": "empty", "text": ""}])
        )
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> DedupOutcome:
    return dedup_files(
        [f"{folder}/one/web.jsonl", f"{folder}/two/*"], str(folder / "out"), id_field="id"
    )


def test_the_result_is_that_of_a_recipe_over_the_same_files(
    folder: Path, done: DedupOutcome
) -> None:
    recipe = {
        "name": "same",
        "corpus": {
            "sources": [
                {"name": "one", "paths": ["one/web.jsonl"], "id_field": "id"},
                {"name": "two", "paths": ["two/*"], "id_field": "id"},
            ],
            "stages": ["exact_dedup", "minhash_dedup"],
        },
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    outcome = run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"))
    ours, theirs = done.run.record, outcome.record
    assert {source: ref["checksum"] for source, ref in ours["selection"].items()} == {
        source: ref["checksum"] for source, ref in theirs["selection"].items()
    }
    for step in ("exact_dedup", "minhash_dedup"):
        assert (
            ours["evidence"][step]["file"]["checksum"]
            == theirs["evidence"][step]["file"]["checksum"]
        )
    kept = {row["native_id"] for row in _documents(outcome) if row["kept"]}
    assert sorted(
        line["id"] for line in lines_of((folder / "out" / "kept").glob("*.jsonl.zst"))
    ) == sorted(kept)


def _documents(outcome: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for chunk in outcome.record["chunks"]:
        documents = pq.read_table(
            outcome.store.full(chunk["documents"]["name"]), columns=["id", "native_id"]
        ).to_pylist()
        selection = pq.read_table(
            outcome.store.full(chunk["selection"]["name"]), columns=["id", "kept"]
        ).to_pylist()
        assert [row["id"] for row in documents] == [row["id"] for row in selection]
        rows += [one | other for one, other in zip(documents, selection, strict=True)]
    return rows


def test_every_record_is_kept_removed_or_not_read(folder: Path, done: DedupOutcome) -> None:
    assert {reason: count.documents for reason, count in done.not_read.items()} == {"no_text": 1}
    assert set(done.removed) == {"exact_duplicate", "near_duplicate"}
    assert done.removed["near_duplicate"].documents > 20
    gone = sum(count.documents for count in (*done.removed.values(), *done.not_read.values()))
    assert done.entered.documents == done.kept.documents + gone
    assert done.kept.documents == len(lines_of((folder / "out" / "kept").glob("*.jsonl.zst")))
    ledgers = orjson.loads((folder / "out" / "ledger.json").read_bytes())
    assert [ledger["step"] for ledger in ledgers if ledger["total"]["dropped"]][
        -1
    ] == "minhash_dedup"


def test_records_come_out_with_the_fields_they_came_in_with(folder: Path) -> None:
    before = {
        record["id"]: record
        for record in map(orjson.loads, (folder / "one" / "web.jsonl").read_bytes().splitlines())
    }
    before |= {
        f"other-{number}": {
            "id": f"other-{number}",
            "text": prose(f"w{number}x", 60),
            "views": number,
        }
        for number in range(20)
    }
    after = lines_of((folder / "out" / "kept").glob("*.jsonl.zst"))
    known = [line for line in after if line["id"] in before]
    assert len(known) > 50
    assert all(
        line == {name: value for name, value in before[line["id"]].items() if value is not None}
        for line in known
    )


def test_evidence_names_the_removed_record_and_the_one_that_stands_for_it(
    folder: Path, done: DedupOutcome
) -> None:
    pairs = pq.read_table(folder / "out" / "evidence.parquet")
    assert pairs.schema.equals(PAIRS)
    rows = pairs.to_pylist()
    assert len(rows) == sum(count.documents for count in done.removed.values())
    kept = {line["id"] for line in lines_of((folder / "out" / "kept").glob("*.jsonl.zst"))}
    removed = {row["native_id"] for row in rows}
    assert not removed & kept
    assert all(row["kept_native_id"] in kept for row in rows if row["reason"] == "near_duplicate")
    # the copy that stood for it may be a near copy itself
    assert all(row["kept_native_id"] in kept | removed for row in rows)
    assert {row["path"] for row in rows} <= {"web.jsonl", "again.parquet", "others.jsonl.gz"}
    assert all(len(row["id"]) == 32 and row["similarity"] >= 0.7 for row in rows)


def test_a_second_call_finds_everything(folder: Path, done: DedupOutcome) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "kept").iterdir()}
    again = dedup_files(
        [f"{folder}/one/web.jsonl", f"{folder}/two/*"], str(folder / "out"), id_field="id"
    )
    assert done.computed > 0
    assert again.computed == 0
    assert (again.kept, again.removed, again.files) == (done.kept, done.removed, done.files)
    assert {path: path.stat().st_mtime_ns for path in (folder / "out" / "kept").iterdir()} == before


def test_another_threshold_replaces_the_kept_documents_and_does_not_read_again(
    folder: Path,
) -> None:
    output = folder / "thresholds"
    loose = dedup_files([f"{folder}/one/web.jsonl"], str(output), id_field="id", verify=0.5)
    strict = dedup_files([f"{folder}/one/web.jsonl"], str(output), id_field="id", verify=1.0)
    assert strict.kept.documents > loose.kept.documents
    assert len(lines_of((output / "kept").glob("*.jsonl.zst"))) == strict.kept.documents
    assert {ledger.step for ledger in strict.run.ledgers if ledger.computed} == {"minhash_dedup"}
    assert (
        pq.read_metadata(output / "evidence.parquet").num_rows
        == strict.entered.documents - strict.kept.documents
    )


def test_a_call_that_was_stopped_before_its_evidence_leaves_none_of_another_threshold(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = folder / "stopped"
    loose = dedup_files([f"{folder}/one/web.jsonl"], str(output), id_field="id", verify=0.5)
    with monkeypatch.context() as patched:
        patched.setattr(
            "pipelines.deduplicate.files.write_pairs",
            lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            dedup_files([f"{folder}/one/web.jsonl"], str(output), id_field="id", verify=1.0)
    assert not (output / "evidence.parquet").exists()
    strict = dedup_files([f"{folder}/one/web.jsonl"], str(output), id_field="id", verify=1.0)
    assert strict.kept.documents > loose.kept.documents
    assert (
        pq.read_metadata(output / "evidence.parquet").num_rows
        == strict.entered.documents - strict.kept.documents
    )


def test_web_archives_are_deduplicated_as_well(tmp_path: Path) -> None:
    pages = [page(prose(theme, 80)) for theme in ("a", "a", "b")]
    (tmp_path / "crawl.warc.gz").write_bytes(b"".join(map(gzip.compress, pages)))
    done = dedup_files([str(tmp_path / "crawl.warc.gz")], str(tmp_path / "out"))
    assert done.kept.documents == 2
    assert done.removed["exact_duplicate"].documents == 1
    assert all(
        line["url"].startswith("http")
        for line in lines_of((tmp_path / "out" / "kept").glob("*.zst"))
    )


def test_keep_holds_for_exact_and_near_copies(tmp_path: Path) -> None:
    text, longer = prose("a", 60), prose("a", 64)
    records = [
        {"text": text, "date": "2024"},
        {"text": text, "date": "2026"},
        {"text": longer, "date": "2025"},
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, records)))
    dedup_files([str(tmp_path / "in.jsonl")], str(tmp_path / "out"))
    assert lines_of((tmp_path / "out" / "kept").glob("*.zst")) == [{"text": longer, "date": "2025"}]
    dedup_files([str(tmp_path / "in.jsonl")], str(tmp_path / "out"), keep="characters")
    assert [line["text"] for line in lines_of((tmp_path / "out" / "kept").glob("*.zst"))] == [text]


def test_parquet_holds_the_documents_format(folder: Path) -> None:
    done = dedup_files(
        [f"{folder}/one/web.jsonl"], str(folder / "parquet"), id_field="id", format="parquet"
    )
    tables = [pq.read_table(folder / "parquet" / name) for name in done.files]
    for table in tables:
        check_format(table.schema, "documents", "kept")
    assert sum(len(table) for table in tables) == done.kept.documents


@pytest.mark.slow
def test_workers_write_the_bytes_that_one_process_writes(tmp_path: Path) -> None:
    for name in "abc":
        lines = [
            orjson.dumps({"text": prose(f"{name}{number // 2}x", 30), "n": number})
            for number in range(40)
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / "in.jsonl").write_bytes(b"\n".join(lines))
    trees = []
    for workers in (1, 2):
        out = tmp_path / f"out-{workers}"
        done = dedup_files(
            [str(tmp_path / name / "in.jsonl") for name in "abc"], str(out), workers=workers
        )
        assert len(done.files) == 3
        trees.append({path.name: path.read_bytes() for path in (out / "kept").iterdir()})
    assert trees[0] == trees[1]


def test_files_of_the_same_name_in_two_folders_are_two_sources(tmp_path: Path) -> None:
    for name in ("one", "deep/one"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jsonl").write_bytes(orjson.dumps({"text": prose("same", 30)}))
    done = dedup_files(
        [f"{tmp_path}/{name}/a.jsonl" for name in ("one", "deep/one")], str(tmp_path / "out")
    )
    assert done.kept.documents == 1
    assert [source["name"] for source in done.run.record["recipe"]["corpus"]["sources"]] == [
        "one",
        "one-2",
    ]
    assert done.files == ("kept/one-00000.jsonl.zst",)  # the first path ranks first


# -- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "settings", "field", "found"),
    [
        (["one/wep.jsonl"], {}, "paths", "wep.jsonl"),
        (["one"], {}, "paths", None),
        ([], {}, "paths", None),
        (["recipe.md"], {}, "paths", ".md"),
        (["one/*.jsonl", "**/web.jsonl"], {}, "paths", "**/web.jsonl"),
        (["one/web.jsonl"], {"text_field": "body"}, "text_field", "body"),
        (["two/again.parquet"], {"text_field": "txt"}, "text_field", "txt"),
        (["one/web.jsonl"], {"id_field": "key"}, "id_field", "key"),
        (["one/web.jsonl"], {"keep": "sice desc"}, "keep", "sice"),
        (["one/web.jsonl"], {"rows": 0}, "rows", 0),
        (["one/web.jsonl"], {"verify": 1.5}, "verify", 1.5),
        (["one/web.jsonl"], {"format": "csv"}, "format", "csv"),
    ],
)
def test_a_mistake_names_the_parameter_and_the_fix_and_writes_nothing(
    folder: Path,
    tmp_path: Path,
    paths: list[str],
    settings: dict[str, Any],
    field: str,
    found: object,
) -> None:
    (folder / "recipe.md").write_text("no corpus")
    with pytest.raises(UserError) as caught:
        dedup_files([f"{folder}/{path}" for path in paths], str(tmp_path / "out"), **settings)
    assert caught.value.field == field
    assert caught.value.fix
    assert caught.value.line is None
    if found is not None:
        assert str(caught.value.found).endswith(str(found))
    assert not (tmp_path / "out").exists()


def test_a_wrong_text_field_names_the_file_and_the_fields_there_are(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        dedup_files([f"{folder}/one/web.jsonl"], str(tmp_path / "out"), text_field="texd")
    assert caught.value.file == f"{folder}/one/web.jsonl"
    assert caught.value.nearest == "text"


def test_an_output_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as caught:
        dedup_files([f"{folder}/one/web.jsonl"], str(tmp_path / "file"))
    assert (caught.value.field, caught.value.file) == ("output", str(tmp_path / "file"))
    assert "--runs" not in str(caught.value)


@pytest.mark.parametrize("name", ["evidence.parquet", "ledger.json"])
def test_a_file_of_another_beside_the_kept_documents_stays(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match=f"another file lies where {name} goes") as caught:
        dedup_files([f"{folder}/one/web.jsonl"], str(tmp_path), id_field="id")
    assert caught.value.file == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir() if path != folder] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_files_of_others_in_the_folder_of_kept_documents_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError) as caught:
        dedup_files([f"{folder}/one/web.jsonl"], str(tmp_path), id_field="id")
    assert caught.value.field == "output"
    assert (tmp_path / "kept" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("slash", ["", "/"])
def test_what_was_written_to_a_store_is_not_read_as_input(tmp_path: Path, slash: str) -> None:
    store = Store(f"memory://{tmp_path.name}/out")
    store.write("kept/web-00000.jsonl", b'{"text": "precious"}\n')
    with pytest.raises(UserError, match="this file lies in the output folder"):
        dedup_files([f"{store.root}/kept/*.jsonl"], store.root + slash)
    assert store.exists("kept/web-00000.jsonl")


def test_what_was_written_is_not_read_as_input(folder: Path, done: DedupOutcome) -> None:
    with pytest.raises(UserError) as caught:
        dedup_files([f"{folder}/out/kept/*.zst"], str(folder / "out"))
    assert caught.value.message == "this file lies in the output folder"


def test_files_without_a_document_are_an_error_that_names_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"[1]\n[2]\n")
    with pytest.raises(UserError) as caught:
        dedup_files([str(tmp_path / "in.jsonl")], str(tmp_path / "out"))
    assert caught.value.file is None
    assert "not_an_object 2" in str(caught.value.found)


# -- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [["run"], []])
def test_the_command_prints_what_went_and_why_with_or_without_its_name(
    folder: Path, done: DedupOutcome, named: list[str]
) -> None:
    arguments = [
        "dedup",
        *named,
        f"{folder}/one/web.jsonl",
        f"{folder}/two/*",
        "-o",
        str(folder / "out"),
        "--id-field",
        "id",
        "--workers",
        "1",
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = {
        found[1].strip(): found[2]
        for found in re.finditer(
            r"^(.+?) +([\d,]+) +[\d.]+ % +[\d.]+ \w+$", result.stdout, flags=re.M
        )
    }
    assert list(rows) == [
        "in",
        "not read: no_text",
        "removed: exact_duplicate",
        "removed: near_duplicate",
        "kept",
    ]
    assert rows["kept"] == f"{done.kept.documents:,}"
    assert rows["removed: near_duplicate"] == f"{done.removed['near_duplicate'].documents:,}"
    assert "everything was there" in result.stdout
    assert str(folder / "out" / "evidence.parquet") in result.stdout


def test_the_command_says_its_speed_and_prints_json(folder: Path) -> None:
    arguments = [
        "dedup",
        f"{folder}/one/web.jsonl",
        "-o",
        str(folder / "fresh"),
        "--id-field",
        "id",
        "--workers",
        "1",
    ]
    assert (
        "B/s" in CliRunner().invoke(app, arguments, catch_exceptions=False).stdout.splitlines()[-1]
    )
    facts = json.loads(
        CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout
    )
    assert facts["computed"] == 0
    assert facts["in"]["documents"] == facts["kept"]["documents"] + sum(
        count["documents"] for count in facts["removed"].values()
    )


def test_the_command_names_the_option_that_is_wrong(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "windtunnel",
            "dedup",
            f"{folder}/one/web.jsonl",
            "-o",
            str(tmp_path / "out"),
            "--text-field",
            "body",
        ],
    )
    with pytest.raises(SystemExit) as caught:
        run_command()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "field:   --text-field" in said
    assert "web.jsonl" in said


def test_how_texts_are_compressed_under_the_run_changes_nothing_else(
    folder: Path, tmp_path: Path
) -> None:
    """Kept documents, evidence and ledgers' counts are the same; the documents are the same
    table.
    """
    again = folder / "two" / "others.jsonl.gz"
    twice = tmp_path / "twice.jsonl"
    twice.write_bytes(
        gzip.decompress(again.read_bytes()) + b"\n" + gzip.decompress(again.read_bytes())
    )
    found = {}
    for compression in ("none", "lz4", "zstd"):
        out = tmp_path / compression
        outcome = dedup_files(
            [str(twice), f"{folder}/one/*"],
            str(out),
            id_field="id",
            compression=compression,
            max_quarantined=1.0,
        )
        documents = [
            out / "run" / chunk["documents"]["name"] for chunk in outcome.run.record["chunks"]
        ]
        assert {
            pq.ParquetFile(path).metadata.row_group(0).column(2).compression for path in documents
        } == {{"none": "UNCOMPRESSED", "lz4": "LZ4", "zstd": "ZSTD"}[compression]}
        assert outcome.not_read["duplicate_key"].documents == 20
        kept = {path.name: path.read_bytes() for path in sorted((out / "kept").glob("*.zst"))}
        tables = [pq.read_table(path) for path in documents]
        found[compression] = (
            kept,
            (out / "evidence.parquet").read_bytes(),
            outcome.kept,
            outcome.removed,
            outcome.not_read,
            tables,
        )
    assert found["none"] == found["lz4"] == found["zstd"]


def test_an_unknown_compression_is_named_as_the_option(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as mistake:
        dedup_files([f"{folder}/one/*"], str(tmp_path / "out"), compression="gzip")
    assert mistake.value.field == "compression"
    assert not (tmp_path / "out" / "run" / "run.json").exists()
