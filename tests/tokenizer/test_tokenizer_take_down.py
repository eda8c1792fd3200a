"""Take-downs: tombstones for the documents asked for and for no other, in a manifest that is whole
at any moment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from artifacts.ids import document_ids, native_key
from tokenizer.shards.manifest import MANIFEST_NAME, SourceManifest, read_manifest
from tokenizer.shards.reader import inspect
from tokenizer.shards.take_down import Place, find_documents, take_down
from tokenizer.shards.verify import verify
from tokenizer.shards.writer import write_encoded, write_source

EOS = 2
IDS = document_ids("web", [native_key(str(number)) for number in range(70)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    draw = np.random.default_rng(2)
    rows = [
        [*draw.integers(3, 500, int(draw.integers(0, 40))).tolist(), EOS] for _ in range(len(IDS))
    ]
    with (tmp_path / "chunk").open("wb") as out:
        write_encoded(out, IDS, IDS, pa.array(rows, pa.large_list(pa.uint16())))
    facts = {
        "source": "web",
        "tokenizer_hash": "ab" * 16,
        "dtype": "uint16",
        "vocab_size": 512,
        "eos_id": EOS,
        "shuffle_key": "00000000000000ff",
    }
    write_source(
        tmp_path, [tmp_path / "chunk"], SourceManifest.model_validate(facts), 400, batch_rows=5
    )
    return tmp_path


def row_of(source: Path, place: Place) -> bytes:
    found: bytes = (
        pa.ipc.open_file((source / place.part).read_bytes()).read_all()["id"][place.row].as_py()
    )
    return found


def test_every_document_is_found_where_it_lies(source: Path) -> None:
    wanted = IDS.to_pylist()
    places = find_documents(source, wanted)
    assert sorted(place.id for place in places) == sorted(one.hex() for one in wanted)
    assert all(row_of(source, place).hex() == place.id for place in places)
    assert find_documents(source, [b"\0" * 16]) == []


def test_a_take_down_names_the_documents_and_leaves_the_parts_alone(source: Path) -> None:
    before = {path.name: path.read_bytes() for path in source.glob("part-*")}
    wanted = [IDS[number].as_py() for number in (3, 40, 66)]
    assert take_down(source, find_documents(source, wanted), "asked for by its author") == 3
    manifest = read_manifest(source)
    assert {stone.id for stone in manifest.tombstones} == {one.hex() for one in wanted}
    assert {stone.reason for stone in manifest.tombstones} == {"asked for by its author"}
    assert {path.name: path.read_bytes() for path in source.glob("part-*")} == before
    assert sum(int(row["removed"]) for row in inspect(source)) == 3
    assert verify(source) == []


def test_a_second_take_down_changes_nothing_and_keeps_the_first_reason(source: Path) -> None:
    places = find_documents(source, [IDS[5].as_py()])
    take_down(source, places, "first")
    raw = (source / MANIFEST_NAME).read_bytes()
    assert take_down(source, places, "second") == 0
    assert (source / MANIFEST_NAME).read_bytes() == raw


def test_the_manifest_does_not_depend_on_the_order_of_take_downs(source: Path) -> None:
    raw = (source / MANIFEST_NAME).read_bytes()
    one, other = ([IDS[number].as_py()] for number in (5, 41))
    written = []
    for order in ((one, other), (other, one)):
        (source / MANIFEST_NAME).write_bytes(raw)
        for wanted in order:
            take_down(source, find_documents(source, wanted), "asked for")
        written.append((source / MANIFEST_NAME).read_bytes())
    assert written[0] == written[1]


def test_nothing_but_the_whole_manifest_is_left_behind(source: Path) -> None:
    names = {path.name for path in source.iterdir()}
    take_down(source, find_documents(source, [IDS[5].as_py()]), "asked for")
    assert {path.name for path in source.iterdir()} == names
