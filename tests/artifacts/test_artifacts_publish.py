"""A unit is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.publish import MANIFEST, found_or_made, publish, published
from artifacts.schemas import SELECTION
from artifacts.tables import iter_parquet, read_parquet, write_parquet


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(
        tmp_path / "store" if request.param == "local" else f"memory://{tmp_path.name}/store"
    )


def selection(rows: int) -> pa.Table:
    ids = pa.array([bytes([row]) * 16 for row in range(rows)], pa.binary(16))
    return pa.table(
        [
            ids,
            ids,
            pa.array([True] * rows),
            pa.nulls(rows, pa.string()),
            pa.nulls(rows, pa.string()),
        ],
        schema=SELECTION,
    )


def test_a_unit_is_found_only_once_its_manifest_is_written(store: Store) -> None:
    with publish(store, "area/step/key", {"version": 1}) as unit:
        with unit.file("data.bin", rows=3) as out:
            out.raw.write(b"abc")
        assert published(store, "area/step/key") is None
        unit.facts["count"] = 3
    manifest = published(store, "area/step/key")
    assert manifest is not None
    assert manifest.facts == {"count": 3}
    assert manifest.inputs == {"version": 1}
    assert (manifest.file("data.bin").rows, manifest.file("data.bin").bytes) == (3, 3)
    with pytest.raises(KeyError):
        manifest.file("other.bin")


def test_a_unit_that_fails_half_way_does_not_exist(store: Store) -> None:
    with pytest.raises(RuntimeError), publish(store, "area/step/key", {}) as unit:
        with unit.file("data.bin") as out:
            out.raw.write(b"abc")
        raise RuntimeError
    assert published(store, "area/step/key") is None


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_unit_with_a_damaged_file_is_made_again(store: Store, damage: str) -> None:
    def make(unit: object) -> None:
        with unit.file("data.bin") as out:  # type: ignore[attr-defined]
            out.raw.write(b"abc")

    first = found_or_made(store, "a/b/c", {}, make, compute=True)
    assert first is not None
    assert first[1]
    assert found_or_made(store, "a/b/c", {}, make, compute=False) == (first[0], False)
    if damage == "missing":
        store.delete("a/b/c/data.bin")
    else:
        store.write("a/b/c/data.bin", b"ab")
    assert found_or_made(store, "a/b/c", {}, make, compute=False) is None
    again = found_or_made(store, "a/b/c", {}, make, compute=True)
    assert again == (first[0], True)


def test_the_same_content_gives_the_same_bytes_on_every_store(tmp_path: Path) -> None:
    stores = [
        Store(tmp_path / "one"),
        Store(tmp_path / "two"),
        Store(f"memory://{tmp_path.name}/three"),
    ]
    for place in stores:
        with publish(place, "a/b/c", {"x": [1, "ü"]}) as unit:
            write_parquet(unit, "t.parquet", SELECTION, [selection(5), selection(0), selection(2)])
    contents = [{name: place.read(name) for name in place.names()} for place in stores]
    assert contents[0] == contents[1] == contents[2]
    assert sorted(contents[0]) == [f"a/b/c/{MANIFEST}", "a/b/c/t.parquet"]


def test_tables_are_read_back_whole_and_by_row_group(store: Store) -> None:
    with publish(store, "a/b/c", {}) as unit:
        ref = write_parquet(unit, "t.parquet", SELECTION, [selection(5), selection(2)])
    assert ref.rows == 7
    assert read_parquet(store, ref.name, "selection").equals(
        pa.concat_tables([selection(5), selection(2)])
    )
    assert [batch.num_rows for batch in iter_parquet(store, ref.name, "selection")] == [5, 2]
    assert read_parquet(store, ref.name, "selection", ["kept"]).column_names == ["kept"]


def test_a_table_of_another_format_is_refused_with_both_names(store: Store) -> None:
    with publish(store, "a/b/c", {}) as unit:
        ref = write_parquet(unit, "t.parquet", SELECTION, [selection(1)])
    with pytest.raises(UserError) as caught:
        read_parquet(store, ref.name, "evidence")
    assert caught.value.found == "selection/1"
    assert caught.value.allowed == ["evidence/1", "evidence/2"]
    assert ref.name in str(caught.value)


def test_a_manifest_of_another_format_is_refused(store: Store) -> None:
    store.write(f"a/b/c/{MANIFEST}", b'{"format":"unit/9","files":[],"facts":{},"inputs":{}}')
    with pytest.raises(UserError, match="not a manifest this release can read"):
        published(store, "a/b/c")
