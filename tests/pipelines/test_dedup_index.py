"""An index of near-duplicates as a user has it: real files, batches, kills, and what goes wrong."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key
from artifacts.lock import run_lock
from artifacts.paths import Store
from dedup.index.files import HEAD, read_head, write_head
from pipelines.commands.app import app, run_command
from pipelines.deduplicate.files import dedup_files
from pipelines.deduplicate.index.changes import (
    AddOutcome,
    add_batch,
    describe_index,
    merge_index,
    roll_back,
)
from pipelines.deduplicate.index.decide import EVIDENCE_SCHEMA
from pipelines.deduplicate.index.opened import OpenIndex
from pipelines.deduplicate.index.queries import MATCHES, find_document, match_documents
from tests.dedup.dedup_model import jaccard_of, shingles_of

# so that short texts of one theme are candidates
LOOSE = {"ngrams": 2, "bands": 16, "rows": 2, "verify": 0.6}


def texts_of(dice: random.Random, count: int) -> list[str]:
    """Texts on a few themes with words changed here and there, exact copies and texts too short for
    a shingle among them.
    """
    themes = [[f"t{theme}w{place}" for place in range(20)] for theme in range(6)]
    texts: list[str] = []
    for _ in range(count):
        if texts and dice.random() < 0.1:
            texts.append(dice.choice(texts))
            continue
        words = list(dice.choice(themes))
        for _ in range(dice.choice([0, 1, 2, 3, 5, 9])):
            words[dice.randrange(20)] = f"x{dice.randrange(40)}"
        texts.append(" ".join(words if dice.random() < 0.95 else words[:1]))
    return texts


def write_batches(folder: Path, batches: Sequence[Sequence[str]]) -> list[str]:
    """Each batch as a folder of JSON Lines; the paths to give for them."""
    for number, texts in enumerate(batches):
        (folder / f"b{number}").mkdir(parents=True)
        lines = [
            orjson.dumps({"id": f"{number}-{row}", "text": text, "views": row})
            for row, text in enumerate(texts)
        ]
        (folder / f"b{number}" / "part.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return [f"{folder}/b{number}/*.jsonl" for number in range(len(batches))]


def add_all(
    folder: Path, paths: Sequence[str], index: str = "index", **settings: Any
) -> list[AddOutcome]:
    """Batches one after another, each keeping under ``INDEX-kept/NUMBER``."""
    numbers = [int(path.split("/b")[-1].split("/")[0]) for path in paths]
    return [
        add_batch(
            f"{folder}/{index}",
            [path],
            f"{folder}/{index}-kept/{number}",
            id_field="id",
            **{**LOOSE, **settings},
        )
        for number, path in zip(numbers, paths, strict=True)
    ]


def kept_ids(folder: Path, index: str = "index") -> list[str]:
    """Native ids of the kept documents of an index, by its head."""
    head = read_head(Store(f"{folder}/{index}"))
    assert head is not None
    found: list[str] = []
    for batch in head.batches:
        for file in batch.texts.files:
            path = Path(batch.texts.folder, file.name)
            if batch.texts.format == "parquet":
                found += pq.read_table(path)["native_id"].to_pylist()
            else:
                found += [
                    orjson.loads(line)["id"]
                    for line in zstandard.open(path, "rb").read().splitlines()
                ]
    return sorted(found)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, with its content."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def batches(tmp_path: Path) -> list[str]:
    dice = random.Random(7)
    return write_batches(tmp_path, [texts_of(dice, 40) for _ in range(4)])


# -- one run ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("format", [pytest.param("parquet", marks=pytest.mark.slow), "jsonl"])
def test_ten_batches_one_after_another_keep_what_one_run_keeps(tmp_path: Path, format: str) -> None:
    dice = random.Random(format)
    paths = write_batches(tmp_path, [texts_of(dice, 30) for _ in range(10)])
    done = add_all(tmp_path, paths, keep="id", format=format)
    one = dedup_files(
        paths,
        str(tmp_path / "one"),
        id_field="id",
        keep="source_rank, id",
        format="parquet",
        **LOOSE,
    )
    expected = [
        value
        for name in one.files
        for value in pq.read_table(tmp_path / "one" / name)["native_id"].to_pylist()
    ]
    assert kept_ids(tmp_path) == sorted(expected)
    assert sum(outcome.counts["kept"] for outcome in done) == one.kept.documents < 300
    rows = [
        row
        for number in range(10)
        for row in pq.read_table(tmp_path / f"index-kept/{number}/evidence.parquet").to_pylist()
    ]
    ours = {
        row["native_id"]: (row["kept_native_id"], row["similarity"], row["bands_hit"])
        for row in rows
    }
    pairs = pq.read_table(tmp_path / "one" / "evidence.parquet").to_pylist()
    theirs = {row["native_id"]: row for row in pairs}
    near = {name: row for name, row in theirs.items() if row["reason"] == "near_duplicate"}
    assert len(near) > 20
    assert {name: ours[name] for name in near} == {
        name: (row["kept_native_id"], row["similarity"], row["bands_hit"])
        for name, row in near.items()
    }
    assert set(ours) == set(theirs)


def test_an_index_takes_at_most_160_bytes_for_a_document(tmp_path: Path) -> None:
    dice = random.Random(1)
    texts = [" ".join(f"w{dice.randrange(10**6)}" for _ in range(9)) for _ in range(4000)]
    done = add_all(
        tmp_path, write_batches(tmp_path, [texts[:2000], texts[2000:]]), ngrams=5, bands=14, rows=8
    )
    # nothing removed, which would take less
    assert done[-1].documents == done[-1].counts["kept"] + done[0].counts["kept"] == 4000
    on_disk = sum(
        path.stat().st_size
        for path in (tmp_path / "index").rglob("*")
        if path.is_file() and path.name != ".lock"
    )
    assert done[-1].index_bytes == on_disk
    assert 152 < done[-1].bytes_per_document == on_disk / 4000 <= 160


def test_evidence_names_the_kept_document_and_where_its_text_lies(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches)
    kept = set(kept_ids(tmp_path))
    for number in range(4):
        table = pq.read_table(tmp_path / f"index-kept/{number}/evidence.parquet")
        assert table.schema.equals(EVIDENCE_SCHEMA)
        for row in table.to_pylist():
            assert row["native_id"] not in kept
            assert row["kept_native_id"] in kept
            assert row["similarity"] >= 0.6 or row["reason"] == "exact_duplicate"
            assert row["kept_batch"] <= number + 1
            there = pq.read_table(row["kept_file"])
            assert there["native_id"][row["kept_row"]].as_py() == row["kept_native_id"]
            assert there["id"][row["kept_row"]].as_py().hex() == row["kept_id"]


def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first = [
        {"id": "a", "text": "one two three four five"},
        {"id": "a", "text": "again the same key"},
        {"id": "b", "text": ""},
    ]
    (tmp_path / "in" / "x.jsonl").write_bytes(
        b"\n".join(map(orjson.dumps, first)) + b"\nnot json\n"
    )
    done = add_batch(
        f"{tmp_path}/index", [f"{tmp_path}/in/x.jsonl"], f"{tmp_path}/out", id_field="id"
    )
    assert {reason: count.documents for reason, count in done.not_read.items()} == {
        "duplicate_key": 1,
        "invalid_json": 1,
        "no_text": 1,
    }
    assert (done.entered, done.counts["kept"]) == (4, 1)
    quarantine = pq.read_table(tmp_path / "out" / "quarantine.parquet")
    assert sorted(quarantine["reason"].to_pylist()) == ["duplicate_key", "invalid_json", "no_text"]
    ledgers = orjson.loads((tmp_path / "out" / "ledger.json").read_bytes())
    assert [ledger["step"] for ledger in ledgers] == ["read", "unique", "index"]


@pytest.mark.parametrize("bad", [19, 20, 21])
def test_a_source_of_which_most_records_cannot_be_read_stops_and_adds_nothing(
    tmp_path: Path, bad: int
) -> None:
    """As in a run: over half of the records, and at least 20 of them."""
    good = [orjson.dumps({"text": text}) for text in texts_of(random.Random(1), 10)]
    other = [orjson.dumps({"content": f"text {row}"}) for row in range(bad)]
    path = tmp_path / "in" / "x.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"\n".join([*good, *other]) + b"\n")

    def add(**settings: Any) -> AddOutcome:
        return add_batch(f"{tmp_path}/index", [str(path)], f"{tmp_path}/out", **settings)

    if bad < 20:
        assert add().not_read["no_text"].documents == bad
        return
    with pytest.raises(UserError) as error:
        add()
    assert f"{bad} of its {bad + 10} records are quarantined, {bad} of them as no_text" in str(
        error.value
    )
    assert error.value.field == "max_quarantined"
    assert str(path) in str(error.value.found)
    assert read_head(Store(f"{tmp_path}/index")) is None
    assert not (tmp_path / "out" / "kept").exists()
    with pytest.raises(UserError) as refused:
        call("add", tmp_path / "index", path, "-o", tmp_path / "out")
    assert refused.value.field == "--max-quarantined"
    with pytest.raises(UserError, match="not a share"):
        add(max_quarantined=2.0)
    assert add(max_quarantined=1.0).not_read["no_text"].documents == bad


def test_equal_keys_count_among_what_cannot_be_read(tmp_path: Path) -> None:
    lines = [orjson.dumps({"id": "a", "text": f"the same key {row}"}) for row in range(30)]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(UserError, match="29 of its 30 records are quarantined"):
        add_batch(f"{tmp_path}/index", [f"{tmp_path}/x.jsonl"], f"{tmp_path}/out", id_field="id")


def mistake_of(command: Callable[[], object]) -> UserError | None:
    try:
        command()
    except UserError as error:
        return error
    return None


@pytest.mark.parametrize("how", ["empty", "half", "list", "flipped", "deep"])
def test_whatever_is_damaged_of_an_index_is_named_and_nothing_is_lost(
    tmp_path: Path, how: str
) -> None:
    paths = write_batches(tmp_path, [texts_of(random.Random(seed), 60) for seed in (1, 2, 3)])
    add_all(tmp_path, paths[:2])
    index = tmp_path / "index"
    for path in [*index.rglob("*.*"), *(tmp_path / "index-kept").rglob("*.parquet")]:
        if not path.is_file() or path.name in (".lock", "evidence.parquet", "quarantine.parquet"):
            continue
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = bytearray(whole)
        for place in range(middle, len(whole) - len(whole) // 4, 3):
            flipped[place] ^= 0x15
        damaged = {"empty": b"", "half": whole[:middle], "list": b"[]", "flipped": bytes(flipped)}
        path.write_bytes(damaged.get(how, b'{"format":' * 5000))
        before = tree(index)
        for command in (
            lambda: add_all(tmp_path, paths[2:]),
            lambda: describe_index(str(index), check=True),
            lambda: match_documents(str(index), [paths[2]]).to_pylist(),
        ):
            error = mistake_of(command)
            if error is not None:
                assert str(path) in str(error) or str(path.parent) in str(error)
                assert error.fix
                assert tree(index) == before
                continue
            assert how == "flipped", "a file that was not looked at may hold other bytes"
            if len(list((index / "batches").iterdir())) == 3:
                roll_back(str(index))
                shutil.rmtree(tmp_path / "index-kept" / "2")
        path.write_bytes(whole)


def test_keep_chooses_the_copy_inside_a_batch(tmp_path: Path) -> None:
    words = [f"w{place}" for place in range(20)]
    paths = write_batches(
        tmp_path,
        [[" ".join(words), " ".join([*words, "more"])], [" ".join([*words, "more", "again"])]],
    )
    add_all(tmp_path, paths, keep="characters desc")
    # the longest of its batch, though a later batch has a longer one
    assert kept_ids(tmp_path) == ["0-1"]


# -- batches that are there ---------------------------------------------------------------------


def test_a_batch_that_is_there_is_recognised_and_changes_nothing(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches)
    before = tree(tmp_path / "index")
    (again,) = add_all(tmp_path, batches[1:2], keep="characters desc")
    assert (again.repeated, again.batch, again.counts["repeated"]) == (True, 2, 40)
    assert tree(tmp_path / "index") == before
    part = tmp_path / "b1" / "part.jsonl"
    part.write_bytes(b"\n".join(part.read_bytes().splitlines()[:7]))
    some = add_batch(f"{tmp_path}/index", batches[1:2], f"{tmp_path}/some", id_field="id")
    assert not (tmp_path / "some" / "kept").exists()
    assert (some.repeated, some.batch, some.counts["repeated"]) == (False, None, 7)
    assert tree(tmp_path / "index") == before


def test_of_a_file_that_grew_only_the_new_documents_are_added(
    tmp_path: Path, batches: list[str]
) -> None:
    part = tmp_path / "b0" / "part.jsonl"
    whole = part.read_bytes().splitlines()
    part.write_bytes(b"\n".join(whole[:25]))
    add_all(tmp_path, batches[:1])
    part.write_bytes(b"\n".join(whole))
    grown = add_batch(f"{tmp_path}/index", batches[:1], f"{tmp_path}/more", id_field="id")
    assert grown.counts["repeated"] == 25
    add_all(tmp_path, batches[:1], "whole")
    assert kept_ids(tmp_path) == kept_ids(tmp_path, "whole")


def test_an_id_that_is_there_with_another_text_is_not_added_unless_the_source_has_another_name(
    tmp_path: Path,
) -> None:
    for folder, text in (("one/data", "first of all"), ("two/data", "quite another text")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.jsonl").write_bytes(orjson.dumps({"text": text}))
    index = f"{tmp_path}/index"
    add_batch(index, [f"{tmp_path}/one/data/x.jsonl"], f"{tmp_path}/k1")
    clash = add_batch(index, [f"{tmp_path}/two/data/x.jsonl"], f"{tmp_path}/k2")
    assert (clash.batch, clash.counts["duplicate_key"]) == (None, 1)
    named = add_batch(index, [f"{tmp_path}/two/data/x.jsonl"], f"{tmp_path}/k2", name="two")
    assert (named.batch, named.counts["kept"]) == (2, 1)


# -- rollback -----------------------------------------------------------------------------------


def test_an_index_after_a_rollback_is_the_one_before_the_batch(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches[:2])
    before = tree(tmp_path / "index")
    add_all(tmp_path, batches[2:])
    assert [record.number for record in roll_back(f"{tmp_path}/index")] == [4]
    assert [record.number for record in roll_back(f"{tmp_path}/index", 3)] == [3]
    assert tree(tmp_path / "index") == before
    add_all(tmp_path, batches[2:])
    add_all(tmp_path, batches, "never")
    assert kept_ids(tmp_path) == kept_ids(tmp_path, "never")


def test_an_earlier_batch_goes_only_with_the_later_ones(tmp_path: Path, batches: list[str]) -> None:
    add_all(tmp_path, batches)
    with pytest.raises(UserError, match="3, 4") as caught:
        roll_back(f"{tmp_path}/index", 2)
    assert "cascade=True" in str(caught.value.fix)
    assert [record.number for record in roll_back(f"{tmp_path}/index", 2, cascade=True)] == [
        4,
        3,
        2,
    ]
    add_all(tmp_path, batches[:1], "never")
    assert kept_ids(tmp_path) == kept_ids(tmp_path, "never")
    assert roll_back(f"{tmp_path}/index")
    for number in (1, None):
        with pytest.raises(UserError) as caught:
            roll_back(f"{tmp_path}/index", number)
        assert caught.value.field == "batch"


# -- merge --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_merged_index_keeps_what_adding_the_others_batches_keeps(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    formats = ["parquet", "jsonl"] if seed % 2 else ["parquet", "parquet"]
    paths = write_batches(tmp_path, [texts_of(dice, 30) for _ in range(6)])
    add_all(tmp_path, paths[:2], "one", format=formats[0])
    add_all(tmp_path, paths[2:4], "two", keep="characters desc", format=formats[1])
    add_all(tmp_path, paths[4:5], "three")
    merge_index(f"{tmp_path}/two", f"{tmp_path}/three", f"{tmp_path}/two-three", format=formats[1])
    add_all(tmp_path, paths[:2], "whole")
    add_all(tmp_path, paths[2:4], "whole", keep="characters desc")
    add_all(tmp_path, paths[4:5], "whole")
    other = tree(tmp_path / "two")
    done = merge_index(
        f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/merged", format=formats[0]
    )
    assert (done.batch, done.documents) == (3, 150)
    assert kept_ids(tmp_path, "one") == kept_ids(tmp_path, "whole")
    assert tree(tmp_path / "two") == other
    describe_index(f"{tmp_path}/one", check=True)
    add_all(tmp_path, paths[5:], "one")
    add_all(tmp_path, paths[5:], "whole")
    assert kept_ids(tmp_path, "one") == kept_ids(tmp_path, "whole")
    again = merge_index(f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/again")
    assert (again.batch, again.counts["kept"], again.counts["repeated"]) == (
        None,
        0,
        again.counts["repeated"],
    )


def chain(tmp_path: Path, links: int) -> list[str]:
    """a in one batch; y ~ a, x ~ y, z ~ x, ... in another, each resembling the one before and no
    other.
    """
    words = [f"w{place}" for place in range(30)]
    texts = [" ".join(words)]
    for link in range(links):
        words = [
            f"changed{place}" if place in (6 * link + 3, 6 * link + 6) else word
            for place, word in enumerate(words)
        ]
        texts.append(" ".join(words))
    return write_batches(tmp_path, [texts[:1], texts[1:]])


@pytest.mark.parametrize(
    ("links", "apart", "merged"),
    [
        (2, ["1-0"], ["0-0", "1-1"]),  # y goes for a: x, removed for y, comes back
        # and as x is back, z goes for it, and what was removed for z comes back in turn
        (4, ["1-0", "1-2"], ["0-0", "1-1", "1-3"]),
    ],
)
def test_a_document_whose_stand_in_goes_comes_back_in_its_place(
    tmp_path: Path, links: int, apart: list[str], merged: list[str]
) -> None:
    paths = chain(tmp_path, links)
    add_all(tmp_path, paths[:1], "one", verify=0.75)
    add_all(tmp_path, paths[1:], "two", verify=0.75)
    assert kept_ids(tmp_path, "two") == apart
    merge_index(f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/merged")
    assert kept_ids(tmp_path, "one") == merged
    rows = pq.read_table(tmp_path / "merged" / "kept" / "b1-00000.parquet").to_pylist()
    assert (rows[0]["native_id"], json.loads(rows[0]["meta"])) == ("1-1", {"views": 1})
    add_all(tmp_path, paths, "whole", verify=0.75)
    assert kept_ids(tmp_path, "whole") == merged


@pytest.mark.parametrize("seed", range(3))
def test_where_the_bound_binds_a_merge_may_keep_others_but_none_goes_without_a_kept_one_alike(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    texts = [texts_of(dice, 40) for _ in range(4)]
    paths = write_batches(tmp_path, texts)
    first = add_all(tmp_path, paths[:2], "one", max_comparisons=1)
    second = add_all(tmp_path, paths[2:], "two", max_comparisons=1)
    assert all(done.facts["skipped"] for done in (*first, *second))
    merge_index(f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/merged")
    opened = OpenIndex.at(f"{tmp_path}/one")
    text_of = {
        identity: text
        for folder, batch in enumerate(texts)
        for identity, text in identified(folder, batch)
    }
    removed = 0
    for segment in opened.columns:
        gone = segment.removed
        for place in range(len(gone.ids)):
            stands = opened.columns[gone.batch[place]].ids[gone.row[place]].tobytes()
            one, other = text_of[gone.ids[place].tobytes()], text_of[stands]
            sets = [frozenset(shingles_of(text, 2)) for text in (one, other)]
            assert one == other or jaccard_of(*sets) >= 0.6
            removed += 1
    kept = sum(len(segment) for segment in opened.columns)
    assert (kept + removed, len(set(kept_ids(tmp_path, "one")))) == (160, kept)


def identified(folder: int, texts: Sequence[str]) -> list[tuple[bytes, str]]:
    """Texts of a batch's documents under their ids."""
    ids = document_ids(f"b{folder}", [native_key(f"{folder}-{row}") for row in range(len(texts))])
    return list(zip(ids.to_pylist(), texts, strict=True))


def test_a_merge_that_needs_a_file_of_removed_documents_names_it(tmp_path: Path) -> None:
    paths = chain(tmp_path, 2)
    add_all(tmp_path, paths[:1], "one", verify=0.75)
    add_all(tmp_path, paths[1:], "two", verify=0.75)
    before = tree(tmp_path / "one")
    part = tmp_path / "b1" / "part.jsonl"
    content = part.read_bytes()
    part.write_bytes(content.replace(b"w28", b"w29"))
    with pytest.raises(UserError) as caught:
        merge_index(f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/merged")
    assert (caught.value.file, caught.value.field) == (str(part), "other")
    part.unlink()
    with pytest.raises(UserError) as caught:
        merge_index(f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/merged")
    assert caught.value.file == str(part)
    assert tree(tmp_path / "one") == before


def test_indexes_with_other_numbers_are_not_merged(tmp_path: Path, batches: list[str]) -> None:
    add_all(tmp_path, batches[:1], "one")
    add_all(tmp_path, batches[1:2], "two", bands=8)
    with pytest.raises(UserError) as caught:
        merge_index(f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/merged")
    assert (caught.value.field, caught.value.found, caught.value.allowed) == ("bands", 8, ["16"])
    with pytest.raises(UserError, match="itself"):
        merge_index(f"{tmp_path}/one", f"{tmp_path}/one", f"{tmp_path}/merged")


# -- questions ----------------------------------------------------------------------------------


def test_matches_name_every_kept_document_alike_and_add_nothing(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches)
    before = tree(tmp_path / "index")
    table = match_documents(f"{tmp_path}/index", [batches[1]], id_field="id")
    assert table.schema.equals(MATCHES)
    kept = set(kept_ids(tmp_path))
    rows = table.to_pylist()
    # the most similar of each
    matched = {row["native_id"]: row["kept_native_id"] for row in reversed(rows)}
    gone = {
        row["native_id"]: row
        for row in pq.read_table(tmp_path / "index-kept/1/evidence.parquet").to_pylist()
    }
    assert {name for name in kept if name.startswith("1-")} <= {
        name for name, other in matched.items() if name == other
    }
    assert set(gone) <= set(matched)
    assert all(
        row["kept_native_id"] in kept
        and (row["similarity"] >= 0.6 or row["reason"] == "exact_duplicate")
        for row in rows
    )
    best = {row["native_id"]: row["similarity"] for row in reversed(rows)}
    assert all(best[name] >= row["similarity"] for name, row in gone.items())
    assert tree(tmp_path / "index") == before


def test_a_document_is_found_by_its_id(tmp_path: Path, batches: list[str]) -> None:
    add_all(tmp_path, batches)
    row = next(
        row
        for row in pq.read_table(tmp_path / "index-kept/3/evidence.parquet").to_pylist()
        if row["reason"] == "near_duplicate"
    )
    facts = find_document(f"{tmp_path}/index", row["id"])
    assert (facts["kept"], facts["batch"], facts["reason"]) == (False, 4, "near_duplicate")
    assert (facts["kept_id"], facts["kept_batch"]) == (row["kept_id"], row["kept_batch"])
    assert facts["similarity"] == pytest.approx(row["similarity"])
    stands = find_document(f"{tmp_path}/index", row["kept_id"])
    assert stands["kept"]
    assert row["id"] in stands["stands_for"]
    for wrong in ("0" * 32, "xyz"):
        with pytest.raises(UserError) as caught:
            find_document(f"{tmp_path}/index", wrong)
        assert caught.value.field == "id"


def test_an_index_on_an_object_store_is_the_same(tmp_path: Path, batches: list[str]) -> None:
    remote = f"memory://{tmp_path.name}"
    for number, path in enumerate(batches):
        add_batch(f"{remote}/index", [path], f"{remote}/kept/{number}", id_field="id", **LOOSE)
    add_all(tmp_path, batches)
    one, other = (
        describe_index(f"{remote}/index", check=True),
        describe_index(f"{tmp_path}/index", check=True),
    )
    assert [row["kept"] for row in one["batches"]] == [row["kept"] for row in other["batches"]]
    names = [name for name in Store(f"{remote}/index").names() if name.endswith(".arrow")]
    assert {name.split("-")[0] for name in names} == {
        f"batches/{number:05d}" for number in range(1, 5)
    }


# -- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "field", "found", "allowed"),
    [
        ({"ngrams": 3}, "ngrams", 3, "2"),
        ({"bands": 14}, "bands", 14, "16"),
        ({"rows": 3}, "rows", 3, "2"),
        ({"seed": 2}, "seed", 2, "1"),
        ({"verify": 0.7}, "verify", 0.7, "0.6"),
        ({"max_comparisons": 5}, "max_comparisons", 5, "256"),
        ({"keep": "sice desc"}, "keep", "sice", "bytes"),
        ({"format": "csv"}, "format", "csv", "jsonl"),
        ({"name": "a b"}, "name", "a b", None),
    ],
)
def test_other_numbers_than_the_indexs_are_refused_with_both(
    tmp_path: Path,
    batches: list[str],
    settings: dict[str, Any],
    field: str,
    found: object,
    allowed: str | None,
) -> None:
    add_all(tmp_path, batches[:1])
    with pytest.raises(UserError) as caught:
        add_all(tmp_path, batches[1:2], **settings)
    assert (caught.value.field, caught.value.found) == (field, found)
    assert allowed is None or allowed in (caught.value.allowed or [])
    assert caught.value.fix
    assert not (tmp_path / "index-kept" / "1").exists()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"verify": 1.5}, "verify"),
        ({"bands": 0}, "bands"),
        ({"max_comparisons": 0}, "max_comparisons"),
    ],
)
def test_numbers_out_of_range_make_no_index(
    tmp_path: Path, batches: list[str], settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(UserError) as caught:
        add_all(tmp_path, batches[:1], **settings)
    assert caught.value.field == field
    assert not (tmp_path / "index").exists()


def test_a_second_writer_is_told_who_is_writing(tmp_path: Path, batches: list[str]) -> None:
    add_all(tmp_path, batches[:1])
    with run_lock(Store(f"{tmp_path}/index")):
        for change in (
            lambda: add_all(tmp_path, batches[1:2]),
            lambda: roll_back(f"{tmp_path}/index"),
            lambda: merge_index(f"{tmp_path}/index", f"{tmp_path}/index", f"{tmp_path}/m"),
        ):
            with pytest.raises(UserError, match="another process is changing this index") as caught:
                change()
            assert "process" in str(caught.value.found)
            assert "--set" not in str(caught.value)
    add_all(tmp_path, batches[1:2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], "damaged"),
        (lambda raw: b"[]", "damaged"),
        (lambda raw: raw.replace(b'"verify":0.6', b'"verify":0.9'), "damaged"),
        (lambda raw: raw.replace(b"index/1", b"index/2"), "index this release can read"),
    ],
)
def test_a_damaged_or_newer_head_is_refused_with_the_fix(
    tmp_path: Path, batches: list[str], damage: Any, message: str
) -> None:
    add_all(tmp_path, batches[:1])
    head = tmp_path / "index" / HEAD
    head.write_bytes(damage(head.read_bytes()))
    for call in (
        lambda: add_all(tmp_path, batches[1:2]),
        lambda: describe_index(f"{tmp_path}/index"),
        lambda: roll_back(f"{tmp_path}/index"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert caught.value.file == str(head)
        assert caught.value.fix


def test_a_folder_of_other_files_is_no_index_and_a_lost_head_loses_no_batches(
    tmp_path: Path, batches: list[str]
) -> None:
    (tmp_path / "index" / "batches").mkdir(parents=True)
    (tmp_path / "index" / "batches" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="other files") as caught:
        add_all(tmp_path, batches[:1])
    assert caught.value.file == str(tmp_path / "index" / "batches" / "thesis.txt")
    add_all(tmp_path, batches[:2], "lost")
    segments = {name: value for name, value in tree(tmp_path / "lost").items() if name != HEAD}
    (tmp_path / "lost" / HEAD).unlink()
    with pytest.raises(UserError, match="head of this index is gone"):
        add_all(tmp_path, batches[2:3], "lost")
    assert tree(tmp_path / "lost") == segments
    for call in (
        lambda: describe_index(f"{tmp_path}/none"),
        lambda: roll_back(f"{tmp_path}/none"),
        lambda: find_document(f"{tmp_path}/none", ""),
    ):
        with pytest.raises(UserError, match="no index here"):
            call()
    assert not (tmp_path / "none").exists()


def test_a_segment_that_is_cut_or_of_another_version_is_named(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches[:2])
    kept = next((tmp_path / "index" / "batches").glob("00002-*/kept.arrow"))
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-8])
    with pytest.raises(UserError, match="batch 2 of this index is not whole"):
        add_all(tmp_path, batches[2:3])
    kept.write_bytes(whole.replace(b"index_kept/1", b"index_kept/9"))
    with pytest.raises(UserError, match="not a table this release can read") as caught:
        add_all(tmp_path, batches[2:3])
    assert caught.value.found == "index_kept/9"
    changed = bytearray(whole)
    changed[len(changed) // 2] ^= 1
    kept.write_bytes(changed)
    with pytest.raises(UserError, match="other content") as caught:
        describe_index(f"{tmp_path}/index", check=True)
    assert caught.value.file == str(kept)
    roll_back(f"{tmp_path}/index")
    describe_index(f"{tmp_path}/index", check=True)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_kept_documents_that_are_gone_or_changed_are_named_when_they_are_needed(
    tmp_path: Path, batches: list[str], format: str
) -> None:
    add_all(tmp_path, batches[:1], format=format)
    before = tree(tmp_path / "index")
    (text,) = (tmp_path / "index-kept" / "0" / "kept").glob("b0-*")
    whole = text.read_bytes()
    text.unlink()
    with pytest.raises(UserError, match="kept documents of batch 1 are gone") as caught:
        add_all(tmp_path, batches[1:2])
    assert caught.value.file == str(text)
    assert "dedup index rollback INDEX 1 --cascade" in str(caught.value.fix)
    text.write_bytes(whole + b" ")
    with pytest.raises(UserError, match="no longer the one that batch 1 wrote"):
        add_all(tmp_path, batches[1:2])
    text.write_bytes(bytes(len(whole)))
    with pytest.raises(UserError, match="no longer the one that batch 1 wrote"):
        add_all(tmp_path, batches[1:2])
    with pytest.raises(UserError, match="no longer the one"):
        describe_index(f"{tmp_path}/index", check=True)
    assert tree(tmp_path / "index") == before
    text.write_bytes(whole)
    add_all(tmp_path, batches[1:2])


def test_other_texts_in_a_file_of_the_length_it_had_are_refused(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches[:1])
    (text,) = (tmp_path / "index-kept" / "0" / "kept").glob("b0-*")
    table = pq.read_table(text)
    pq.write_table(table.take(list(range(len(table)))[::-1]), text)
    head = read_head(Store(f"{tmp_path}/index"))
    assert head is not None
    texts = head.batches[0].texts
    lengthened = texts.model_copy(
        update={"files": [texts.files[0].model_copy(update={"bytes": text.stat().st_size})]}
    )
    write_head(
        Store(f"{tmp_path}/index"),
        head.model_copy(
            update={"batches": [head.batches[0].model_copy(update={"texts": lengthened})]}
        ),
    )
    with pytest.raises(UserError, match="no longer the one") as caught:
        add_all(tmp_path, batches[1:2])
    assert caught.value.found == "other texts than those that were kept"


def test_a_folder_that_holds_kept_documents_of_the_index_is_not_written_again(
    tmp_path: Path, batches: list[str]
) -> None:
    add_all(tmp_path, batches[:1])
    kept = tree(tmp_path / "index-kept")
    for index, output, message in (
        ("index", "index-kept/0", "holds the kept documents of batch 1"),
        ("other", "index-kept/0", "kept documents that are not of this index"),
        ("index", "index/inside", "lies in the index"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            add_batch(f"{tmp_path}/{index}", batches[1:2], f"{tmp_path}/{output}", id_field="id")
        assert caught.value.field == "output"
    assert tree(tmp_path / "index-kept") == kept
    roll_back(f"{tmp_path}/index")
    add_batch(f"{tmp_path}/index", batches[1:2], f"{tmp_path}/index-kept/0", id_field="id")
    assert all(name.startswith("1-") for name in kept_ids(tmp_path))


# -- commands -----------------------------------------------------------------------------------


def call(*arguments: object) -> str:
    result = CliRunner().invoke(
        app, ["dedup", "index", *map(str, arguments)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_say_what_they_did(tmp_path: Path, batches: list[str]) -> None:
    index = f"{tmp_path}/index"
    loose = [part for name, value in LOOSE.items() for part in (f"--{name}", value)]
    said = call("add", index, batches[0], "-o", tmp_path / "k0", "--id-field", "id", *loose)
    assert "batch     1 of" in said
    assert "bytes per document" in said
    facts = json.loads(
        call("add", index, batches[1], "-o", tmp_path / "k1", "--id-field", "id", "--json")
    )
    assert (facts["batch"], facts["entered"]) == (2, sum(facts["counts"].values()))
    assert "batch 2 holds the same 40 documents" in call(
        "add", index, batches[1], "-o", tmp_path / "k1", "--id-field", "id"
    )
    listed = json.loads(call("list", index, "--check", "--json"))
    assert [row["kept"] for row in listed["batches"]][1] == facts["counts"]["kept"]
    assert listed["settings"]["verify"] == 0.6
    assert "checked" in call("list", index, "--check")
    rows = [
        json.loads(line)
        for line in call("match", index, batches[1], "--id-field", "id", "--json").splitlines()
    ]
    assert len(rows) >= 40 - sum(row["reason"] == "exact_duplicate" for row in rows)
    assert "documents resemble a kept one" in call("match", index, batches[1])
    assert json.loads(call("match", index, "--id", rows[0]["kept_id"], "--json"))["kept"] is True
    call("add", f"{tmp_path}/other", batches[2], "-o", tmp_path / "k2", "--id-field", "id", *loose)
    assert (
        json.loads(call("merge", index, f"{tmp_path}/other", "-o", tmp_path / "k3", "--json"))[
            "batch"
        ]
        == 3
    )
    assert f"batch 3 taken back; its kept documents lie in {tmp_path}/k3" in call("rollback", index)
    assert json.loads(call("rollback", index, 1, "--cascade", "--json"))[1]["batch"] == 1


def test_the_command_names_the_option_that_is_wrong(
    tmp_path: Path,
    batches: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_all(tmp_path, batches[:1])
    arguments = [
        "add",
        f"{tmp_path}/index",
        batches[1],
        "-o",
        f"{tmp_path}/out",
        "--max-comparisons",
        "9",
    ]
    monkeypatch.setattr(sys, "argv", ["windtunnel", "dedup", "index", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_command()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "field:   --max-comparisons" in said
    assert "fix:     leave it out or give 256" in said
