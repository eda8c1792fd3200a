"""Columns straight from a table: the documents of the same rows as JSON Lines, cut where they are
full.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.schemas import DOCUMENTS, QUARANTINE
from pipelines.readers import Batch, Fields, Limits, Span, read
from pipelines.readers.parquet.usual import usual_columns

FIELDS = Fields(id_field="id", lang="en", license="MIT")
TEXTS = st.sampled_from(["a text", "中文", " a", "\u3000字", "x" * 30, "\n\nb", "\u00a0\u1680c"])
ODD_TEXTS = st.sampled_from([None, "", " ", "\u3000", "\u2003\u00a0", "\x1f\x85", "y" * 101])
SHORT = st.sampled_from([None, "", "de", "zh"])
KINDS = st.sampled_from(
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 300))
    odd = set(draw(st.lists(st.integers(0, rows - 1), max_size=rows if rows < 20 else 6)))
    some, texts, odd_texts = (
        draw(st.lists(of, min_size=5, max_size=9)) for of in (SHORT, TEXTS, ODD_TEXTS)
    )
    columns: dict[str, Any] = {
        "text": pa.array(
            [(odd_texts if row in odd else texts)[row % 5] for row in range(rows)], pa.string()
        ),
        "id": draw(
            st.sampled_from(
                [
                    pa.array([f"n{row}" if row % 97 else "" for row in range(rows)]),
                    pa.array([row if row % 89 else None for row in range(rows)], pa.uint64()),
                ]
            )
        ),
    }
    for name in draw(st.lists(st.sampled_from(["lang", "license", "url", "date"]), unique=True)):
        columns[name] = pa.array([some[row % len(some)] for row in range(rows)], pa.string())
    if draw(st.booleans()):
        columns["date"] = pa.array(range(rows), pa.int64())
    if draw(st.booleans()):
        columns["meta"] = pa.array([{"b": row, "lang": "own"} for row in range(rows)])
    if draw(st.booleans()):
        columns["score"] = pa.array([row / 7 for row in range(rows)])
    for name, column in columns.items():
        if column.type == pa.string():
            columns[name] = column.cast(draw(KINDS)) if len(column) else column
    return pa.table(columns)


def batches(path: Path, limits: Limits) -> list[Batch]:
    return list(read(Span(str(path), "same"), path.suffix[1:], "s", FIELDS, limits))


def table_of(found: list[Batch]) -> pa.Table:
    merged = pa.Table.from_batches([batch.documents for batch in found], DOCUMENTS)
    return merged.drop_columns(["offset"]).combine_chunks()


def reasons(found: list[Batch]) -> list[tuple[str, str, bytes]]:
    rows = pa.Table.from_batches([batch.quarantine for batch in found], QUARANTINE).to_pylist()
    return [(row["reason"], row["detail"], row["raw"]) for row in rows]


@settings(max_examples=150, deadline=None)
@given(table=tables(), group=st.integers(20, 400))
def test_a_table_gives_what_the_same_rows_give_as_json_lines(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, group: int
) -> None:
    folder = tmp_path_factory.mktemp("t")
    pq.write_table(table, folder / "a.parquet", row_group_size=group)
    lines = b"".join(orjson.dumps(row) + b"\n" for row in table.to_pylist())
    (folder / "a.jsonl").write_bytes(lines)
    limits = Limits(record_bytes=1000)
    found, expected = (batches(folder / f"a.{kind}", limits) for kind in ("parquet", "jsonl"))
    assert table_of(found).equals(table_of(expected))
    assert reasons(found) == reasons(expected)


@settings(max_examples=60, deadline=None)
@given(table=tables(), room=st.integers(50, 20_000))
def test_a_batch_ends_with_the_row_that_fills_it(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, room: int
) -> None:
    path = tmp_path_factory.mktemp("t") / "a.parquet"
    pq.write_table(table, path, row_group_size=table.num_rows)
    found = batches(path, Limits(batch_bytes=room))
    total, rows = pq.read_metadata(path).row_group(0).total_byte_size, table.num_rows
    done = before = 0
    for batch in found:
        done += batch.records
        assert batch.bytes == total * done // rows - before
        last = total * done // rows - total * (done - 1) // rows
        held = batch.documents["text"].nbytes + batch.documents["meta"].nbytes
        assert batch.bytes - last < room
        assert batch.bytes >= room or 2 * held >= room or batch is found[-1]
        before += batch.bytes
    assert done == rows


def test_texts_that_a_dictionary_repeats_fill_a_batch_by_what_they_take(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 640}), path, row_group_size=640)
    found = list(read(Span(str(path), "same"), "parquet", "s", Fields(), Limits(batch_bytes=8192)))
    assert [batch.records for batch in found] == [17] * 37 + [11]


def test_the_usual_table_needs_no_record() -> None:
    table = pa.record_batch({"id": [1, 2, 3], "text": ["a", " ", "b"], "score": [1.5, 2.5, 3.5]})
    usual = usual_columns(table, FIELDS, 100)
    assert usual is not None
    assert usual.holds.tolist() == [True, False, True]
    assert usual.taken.tolist() == [14, 28, 42]
    assert usual.columns["lang"].to_pylist() == ["en"] * 3
    assert usual_columns(table.set_column(2, "lang", pa.array([1, 2, 3])), FIELDS, 100) is None
