"""A run's own files, damaged: what can be made again is, and readers name the file in one line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.publish import MANIFEST, publish, published
from artifacts.schemas import FORMAT_KEY
from artifacts.tables import iter_parquet, read_parquet, read_schema, write_parquet
from pipelines.run.record import DIGESTS, RECORD, _load, load_run

DAMAGES = [b"", b"[]", b"null", b'"text"', b'{"format": "unit/1"', b"\xff\xfe{}"]


@pytest.mark.parametrize("content", [*DAMAGES, b'{"format":"unit/1"}'])
def test_a_unit_with_a_damaged_manifest_is_not_there(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    with publish(store, "signals/size/key", {}) as unit, unit.file("x") as out:
        out.raw.write(b"x")
    assert published(store, "signals/size/key") is not None
    store.write(f"signals/size/key/{MANIFEST}", content)
    assert published(store, "signals/size/key") is None


@pytest.mark.parametrize("content", DAMAGES)
def test_damaged_records_and_digests_count_as_absent_and_readers_name_them(
    tmp_path: Path, content: bytes
) -> None:
    store = Store(tmp_path / "name")
    for name in (RECORD, DIGESTS):
        store.write(name, content)
        assert _load(store, name) == {}
    with pytest.raises(UserError) as error:
        load_run(str(tmp_path), "name")
    assert error.value.file == store.full(RECORD)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "flipped"])
def test_a_damaged_table_is_named_by_all_who_read_tables(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    schema = pa.schema([("id", pa.binary(16))], {FORMAT_KEY: b"signals/1"})
    rows = pa.table({"id": [b"%016d" % row for row in range(1000)]}, schema=schema)
    with publish(store, "signals/size/key", {}) as unit:
        name = write_parquet(unit, "s.parquet", schema, [rows]).name
    whole = store.read(name)
    assert read_parquet(store, name, "signals").num_rows == 1000
    flipped = bytes(byte ^ 0xFF for byte in whole[4:-8])
    store.write(
        name,
        {
            "empty": b"",
            "text": b"[]",
            "half": whole[: len(whole) // 2],
            "flipped": whole[:4] + flipped + whole[-8:],
        }[damage],
    )
    for read in (
        lambda: read_parquet(store, name, "signals"),
        lambda: list(iter_parquet(store, name, "signals")),
        lambda: read_schema(store, name),
    ):
        with pytest.raises(UserError) as error:
            read()
        assert error.value.file == store.full(name)
        assert error.value.fix is not None
