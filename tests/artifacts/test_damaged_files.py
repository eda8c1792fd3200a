"""Books, tables and files of units, damaged: absent where they can be made again, else named."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from fsspec.exceptions import FSTimeoutError

from artifacts.books import DamageError, sealed, told_of_damage, unsealed
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from artifacts.publish import MANIFEST, publish, published, read_file
from artifacts.schemas import FORMAT_KEY
from artifacts.tables import (
    iter_parquet,
    open_batches,
    open_table,
    read_parquet,
    read_schema,
    sound,
    write_parquet,
)
from tests.damage import DAMAGES, broken


@pytest.mark.parametrize("how", DAMAGES)
def test_a_unit_with_a_damaged_manifest_is_not_there_and_that_is_said_once(
    tmp_path: Path, how: str
) -> None:
    store = Store(tmp_path)
    with publish(store, "signals/size/key", {"rule": 1}) as unit, unit.file("x") as out:
        out.raw.write(b"x")
        unit.facts["counts"] = {9: 1, 10: 2}
    assert published(store, "signals/size/key") is not None
    name = f"signals/size/key/{MANIFEST}"
    store.write(name, broken(store.read(name), how))
    said: list[str] = []
    with told_of_damage(said.append):
        assert published(store, "signals/size/key") is None
        assert published(store, "signals/size/key") is None
    assert [store.full(name) in text for text in said] == [True]


def test_a_manifest_of_an_older_release_has_no_checksum(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with publish(store, "signals/size/key", {"rule": 1}) as unit, unit.file("x") as out:
        out.raw.write(b"x")
    name = f"signals/size/key/{MANIFEST}"
    facts = json.loads(store.read(name))
    del facts["checksum"]
    store.write(name, canonical_json(facts))
    assert published(store, "signals/size/key") is not None
    for wrong in (
        {"files": 3},
        {"files": [{}]},
        {"facts": []},
        {"files": [{**facts["files"][0], "bytes": "1"}]},
    ):
        store.write(name, canonical_json({**facts, **wrong}))
        assert published(store, "signals/size/key") is None


def test_a_book_comes_back_as_it_was_and_every_other_byte_shows() -> None:
    facts = {"names": {10: 1.5, 9: None}, "text": "é", "list": [1e22, -0.0, 2**53]}
    raw = canonical_json(sealed(facts))
    assert unsealed(raw) == json.loads(canonical_json(facts))
    for place in range(len(raw)):
        with pytest.raises(DamageError):
            unsealed(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    with pytest.raises(DamageError):
        unsealed(canonical_json(facts))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_table_is_named_by_all_who_read_tables(tmp_path: Path, how: str) -> None:
    store = Store(tmp_path)
    schema = pa.schema([("id", pa.binary(16)), ("text", pa.string())], {FORMAT_KEY: b"signals/1"})
    ids = [b"%016d" % row for row in range(1000)]
    rows = pa.table({"id": ids, "text": [f"{row} words" for row in range(1000)]}, schema=schema)
    with publish(store, "signals/size/key", {}) as unit:
        name = write_parquet(unit, "s.parquet", schema, [rows]).name
    assert read_parquet(store, name, "signals").equals(rows)
    whole = store.read(name)
    store.write(name, broken(whole, how))
    readers: list[Callable[[], object]] = [
        lambda: read_parquet(store, name, "signals"),
        lambda: list(iter_parquet(store, name, "signals")),
    ]
    if how != "flipped":  # the footer is whole there
        readers += [
            lambda: read_schema(store, name),
            lambda: open_table(store, name, "signals").__enter__(),
        ]
    for read in readers:
        with pytest.raises(UserError) as error:
            read()
        assert error.value.file == store.full(name)
        assert store.full("signals/size/key") in str(error.value.fix)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_of_batches_is_named(tmp_path: Path, how: str) -> None:
    store = Store(tmp_path)
    batch = pa.record_batch({"id": [b"%016d" % row for row in range(100)], "sets": [[1, 2]] * 100})
    with (
        publish(store, "work/x/key", {}) as unit,
        unit.file("x.arrow") as out,
        pa.ipc.new_file(pa.PythonFile(out.raw, mode="w"), batch.schema) as writer,
    ):
        writer.write_batch(batch)
    name = "work/x/key/x.arrow"
    with open_batches(store, name, ["id"]) as source:
        assert source.batch(0).column(0).equals(batch["id"])
    store.write(name, broken(store.read(name), how))
    with pytest.raises(UserError) as error, open_batches(store, name) as source:
        source.batch(0)
    assert error.value.file == store.full(name)


def test_a_file_of_the_right_length_with_other_bytes_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with publish(store, "tokenizer/bpe/key", {}) as unit, unit.file("x") as out:
        out.raw.write(b"model")
    ref = unit.files[0]
    assert read_file(store, ref) == b"model"
    store.write(ref.name, b"mosel")
    with pytest.raises(UserError) as error:
        read_file(store, ref)
    assert error.value.file == store.full(ref.name)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc"),
        TimeoutError(),
        FSTimeoutError(),
        ConnectionResetError("no route"),
        OSError("AWS Error NETWORK_CONNECTION during GetObject operation"),
        OSError(errno.EIO, "Input/output error"),
    ],
    ids=repr,
)
def test_what_a_machine_or_a_network_fails_at_is_no_damage(
    tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(type(error)), sound(Store(tmp_path), "documents/a.parquet"):
        raise error


def test_a_folder_or_a_link_to_itself_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    (tmp_path / "b.json").symlink_to(tmp_path / "b.json")
    for name, found in (("a.json", "a folder"), ("b.json", "a link to itself")):
        with pytest.raises(UserError, match="no file") as caught:
            Store(tmp_path).read(name)
        assert caught.value.found == found
        assert str(caught.value.file).endswith(name)
