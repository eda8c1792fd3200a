"""What tasks of a comparison hand to one another: one module, one format, one rule for how long it
stays.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.paths import Store
from artifacts.publish import Publication
from pipelines.comparisons.exchange import (
    discard,
    keyed,
    made_parts,
    number_columns,
    open_parts,
    parts_at,
    read_parts,
    row_batch,
    scratch,
    write_parts,
)
from tests.source_trees import tree_of

SCHEMA = pa.schema([("row", pa.int64()), ("key", pa.uint64())])
COMPARISONS = Path(__file__).resolve().parent.parent.parent / "pipelines" / "comparisons"


@pytest.mark.parametrize("compression", [None, "zstd"])
@settings(max_examples=30, deadline=None)
@given(deals=st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=4))
def test_every_reader_gets_its_rows_in_the_order_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, compression: str | None, deals: list[list[int]]
) -> None:
    store = Store(str(tmp_path_factory.mktemp("exchange")))
    rows = np.cumsum([0, *map(len, deals)])

    def make(unit: Publication) -> None:
        with open_parts(unit, SCHEMA, compression) as parts:
            for start, numbers in zip(rows, deals, strict=False):
                own = np.arange(start, start + len(numbers))
                parts.deal([own, own.astype(np.uint64)], np.array(numbers, np.int64))

    made = made_parts(store, "work/step/key", {}, make, True)
    assert made is not None
    assert made.parts == parts_at(store, "work/step/key")
    flat = [number for numbers in deals for number in numbers]
    assert made.parts.ref.rows == len(flat)
    for reader in range(6):
        found = number_columns(
            (part for _, part in read_parts(store, made.parts, [reader])), SCHEMA
        )
        assert found["row"].tolist() == [row for row, number in enumerate(flat) if number == reader]
        assert found["key"].tolist() == found["row"].tolist()
    some = [part for _, part in read_parts(store, made.parts, columns=["key"])]
    assert all(part.schema.names == ["key"] for part in some)
    assert sum(part.num_rows for part in some) == len(flat)


def test_parts_count_among_no_units_of_a_run_and_are_found_again(tmp_path: Path) -> None:
    store, calls = Store(str(tmp_path)), []

    def make(unit: Publication) -> None:
        calls.append(unit.prefix)
        unit.facts["groups"] = 3
        write_parts(
            unit, SCHEMA, [(2, row_batch(SCHEMA, [1], [5])), (7, row_batch(SCHEMA, [], []))]
        )

    place = keyed("step-groups", {"work": "group"})
    assert made_parts(store, place, {"work": "group"}, make, False) is None
    first = made_parts(store, place, {"work": "group"}, make, True)
    second = made_parts(store, place, {"work": "group"}, make, False)
    assert first is not None
    assert second is not None
    assert (first.parts, first.units, first.facts) == (second.parts, (), {"groups": 3})
    assert first.parts.numbers == (2,)
    assert (first.computed, second.computed, calls) == (True, False, [place])


def test_the_scratch_of_an_outcome_goes_and_no_other_parts_do(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    def make(unit: Publication) -> None:
        write_parts(unit, SCHEMA, [(0, row_batch(SCHEMA, [1], [5]))])

    places = [f"{scratch('lines', key)}/hashes-0" for key in ("aa", "bb")]
    for place in (*places, keyed("near-keys", {})):
        made_parts(store, place, {}, make, True)
    discard(store, "lines", "aa")
    assert not store.names(scratch("lines", "aa"))
    assert store.names(places[1])
    assert store.names(keyed("near-keys", {}))


def test_only_one_module_knows_where_parts_lie() -> None:
    knowing = {
        path.name
        for path in COMPARISONS.rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (node.value.startswith("work/") or node.value.startswith("parts."))
    }
    assert knowing == {"exchange.py"}
