"""Parquet: the records of JSON Lines, row groups that add up, honest about broken files."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.messages import without_nulls
from artifacts.schemas import DOCUMENTS, INSTRUCTIONS, QUARANTINE
from pipelines.readers import Batch, Fields, InputFile, Limits, Span, plan_chunks, read

NO_FIELDS = Fields()
LIMITS = Limits()
RECORDS = [
    {
        "id": f"d{row}",
        "text": f"text {row} 中文",
        "url": None if row % 3 else "u",
        "score": row / 2,
        "tags": ["x"] * (row % 4),
    }
    for row in range(50)
]


def batches(
    path: Path,
    fields: Fields = NO_FIELDS,
    limits: Limits = LIMITS,
    start: int = 0,
    end: int | None = None,
) -> list[Batch]:
    return list(
        read(Span(str(path), "same-path", start, end), path.suffix[1:], "src", fields, limits)
    )


def documents(found: list[Batch], schema: pa.Schema = DOCUMENTS) -> pa.Table:
    return pa.Table.from_batches([batch.documents for batch in found], schema).combine_chunks()


def quarantine(found: list[Batch]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.Table.from_batches(
        [batch.quarantine for batch in found], QUARANTINE
    ).to_pylist()
    return rows


def write(folder: Path, table: pa.Table, rows: int = 7) -> Path:
    path = folder / "a.parquet"
    pq.write_table(table, path, row_group_size=rows)
    return path


def footer_bytes(path: Path) -> int:
    footer = pq.read_metadata(path)
    return sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))


def test_rows_become_the_documents_of_the_same_json_lines(tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in RECORDS))
    fields = Fields(id_field="id")
    found = documents(batches(write(tmp_path, pa.Table.from_pylist(RECORDS)), fields))
    expected = documents(batches(lines, fields))
    assert found["offset"].to_pylist() == list(range(50))
    assert found.drop_columns(["offset"]).equals(expected.drop_columns(["offset"]))


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 9), rows=st.integers(1, 60), batch_bytes=st.integers(1, 3000))
def test_cutting_between_row_groups_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rows: int, batch_bytes: int
) -> None:
    path = write(
        tmp_path_factory.getbasetemp(),
        pa.Table.from_pylist([*RECORDS, {"id": "e", "text": None}]),
        rows,
    )
    whole = batches(path)
    groups = pq.read_metadata(path).num_row_groups
    limits = Limits(batch_bytes=batch_bytes)
    cuts = [
        batch
        for start in range(0, groups, cut)
        for batch in batches(path, Fields(), limits, start, start + cut)
    ]
    assert documents(cuts).equals(documents(whole))
    assert quarantine(cuts) == quarantine(whole)
    assert (
        sum(batch.bytes for batch in cuts)
        == sum(batch.bytes for batch in whole)
        == footer_bytes(path)
    )
    assert sum(batch.records for batch in cuts) == 51


def test_empty_rows_are_quarantined_with_row_number_and_json(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", None, "", "b"], "k": [1, 2, 3, 4]})
    found = batches(write(tmp_path, table, rows=2))
    assert documents(found)["offset"].to_pylist() == [0, 3]
    assert [
        (row["offset"], row["reason"], json.loads(row["raw"])) for row in quarantine(found)
    ] == [
        (1, "no_text", {"text": None, "k": 2}),
        (2, "no_text", {"text": "", "k": 3}),
    ]
    assert all(row["length"] == len(row["raw"]) for row in quarantine(found))


def test_values_json_does_not_know_are_kept_as_text(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["x"],
            "when": pa.array([1], pa.timestamp("ns")),
            "day": [datetime.date(2020, 1, 2)],
            "price": [decimal.Decimal("1.50")],
            "blob": [b"\xff\x00"],
            "nan": [float("nan")],
            "inner": [{"blob": [b"a"]}],
        }
    )
    (row,) = documents(batches(write(tmp_path, table))).to_pylist()
    assert json.loads(row["meta"]) == {
        "when": "1970-01-01 00:00:00.000000001",
        "day": "2020-01-02",
        "price": "1.50",
        "blob": "/wA=",
        "nan": "NaN",
        "inner": {"blob": ["YQ=="]},
    }


def test_conversations_and_dictionary_columns_are_read(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], [], None]
    table = pa.table(
        {"messages": messages, "lang": pa.array(["en", "zh", "en"]).dictionary_encode()}
    )
    found = batches(write(tmp_path, table), Fields(messages_field="messages"))
    (row,) = documents(found, INSTRUCTIONS).to_pylist()
    assert (row["text"], row["lang"]) == ("q\n\na", "en")
    assert without_nulls(row["messages"]) == messages[0]
    assert [row["reason"] for row in quarantine(found)] == ["bad_messages", "bad_messages"]


def test_a_string_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"caf\xe9", b"fine"]).cast(pa.binary()).view(pa.string())
    found = batches(write(tmp_path, pa.table({"text": texts})))
    assert documents(found)["text"].to_pylist() == ["good", "fine"]
    assert [(row["offset"], row["reason"]) for row in quarantine(found)] == [(1, "invalid_utf8")]


@pytest.mark.parametrize(
    ("columns", "fields", "words"),
    [
        ({"body": ["x"]}, Fields(), ["a.parquet", "text", "body"]),
        ({"text": [1]}, Fields(), ["a.parquet", "text", "int64", "large_string"]),
        ({"text": ["x"], "id": [1.5]}, Fields(id_field="id"), ["id", "double", "int64"]),
        ({"text": ["x"]}, Fields(id_field="uid"), ["uid", "text"]),
        (
            {"text": ["x"], "messages": ["x"]},
            Fields(messages_field="messages"),
            ["messages", "list<struct<role"],
        ),
    ],
)
def test_a_missing_or_wrong_column_is_the_users_error(
    tmp_path: Path, columns: dict[str, list[object]], fields: Fields, words: list[str]
) -> None:
    path = write(tmp_path, pa.table(columns))
    with pytest.raises(UserError) as error:
        batches(path, fields)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"no parquet at all" * 10, b"PAR1" + b"\xff" * 100 + b"\x10\0\0\0PAR1"],
)
def test_a_file_that_is_no_parquet_is_quarantined_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    found = batches(path)
    (row,) = quarantine(found)
    assert (row["reason"], row["offset"], row["length"], row["raw"]) == (
        "corrupt_file",
        0,
        len(content),
        content,
    )
    assert sum(batch.bytes for batch in found) == len(content)
    assert plan_chunks([InputFile(str(path), "a.parquet", len(content), "parquet")], 10) == [
        (Span(str(path), "a.parquet"),)
    ]


def test_a_truncated_file_is_quarantined_whole(tmp_path: Path) -> None:
    path = write(tmp_path, pa.Table.from_pylist(RECORDS))
    path.write_bytes(path.read_bytes()[:-20])
    assert [row["reason"] for row in quarantine(batches(path))] == ["corrupt_file"]


def test_a_corrupt_row_group_costs_its_rest_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=10, compression="zstd")
    column = pq.read_metadata(path).row_group(2).column(1)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    found = batches(path)
    assert documents(found)["offset"].to_pylist() == [*range(20), *range(30, 50)]
    (row,) = quarantine(found)
    assert (row["reason"], row["offset"]) == ("corrupt_row_group", 20)
    assert "10 rows" in str(row["detail"])
    assert sum(batch.bytes for batch in found) == footer_bytes(path)


def test_a_text_longer_than_the_limit_is_quarantined(tmp_path: Path) -> None:
    found = batches(
        write(tmp_path, pa.table({"text": ["x" * 100, "y"]})),
        limits=Limits(record_bytes=50, quarantine_bytes=10),
    )
    (row,) = quarantine(found)
    assert (row["reason"], row["offset"], row["length"], len(row["raw"])) == (
        "record_too_long",
        0,
        111,
        10,
    )


def test_a_failing_disk_is_no_corrupt_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, pa.Table.from_pylist(RECORDS))

    class Failing:
        def __init__(self, inner: BinaryIO) -> None:
            self.inner = inner
            self.failures = 1

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self, length: int) -> bytes:
            if self.failures:
                self.failures -= 1
                raise TimeoutError("the network is gone")
            return self.inner.read(length)

    with path.open("rb") as file:
        monkeypatch.setattr(
            "pipelines.readers.parquet.reading.open_input", lambda url: Failing(file)
        )
        with pytest.raises(TimeoutError, match="network"):
            batches(path)
