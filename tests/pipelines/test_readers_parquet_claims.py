"""Parquet whose footer lies: no row is lost without a word, and no claim fills memory."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UserError
from artifacts.ledger import Entry
from pipelines.chunks.reading import account
from pipelines.readers import Batch, Fields, InputFile, Limits, Span, plan_chunks, read

ROWS = [f"Row {row} holds a sentence of its own for reading." for row in range(1000)]
NO_FIELDS = Fields()
LIMITS = Limits()


def batches(path: Path, limits: Limits = LIMITS, fields: Fields = NO_FIELDS) -> list[Batch]:
    return list(read(Span(str(path), "a.parquet"), "parquet", "src", fields, limits))


def outcome(found: list[Batch]) -> tuple[dict[int, bytes], list[tuple[int, str, str]]]:
    """Ids by offset, and the quarantine; the ledger balances."""
    entry, ids, bad = Entry(), {}, []
    for batch in found:
        account(entry, batch)
        offsets, names = batch.documents["offset"].to_pylist(), batch.documents["id"].to_pylist()
        ids.update(zip(offsets, names, strict=True))
        rows = batch.quarantine.to_pylist()
        bad += [(row["offset"], row["reason"], row["detail"]) for row in rows]
    entry.check("read", "src")
    assert len(ids) == entry.kept.documents
    return ids, bad


def varint(number: int, length: int = 0) -> bytes:
    """A signed number as Thrift's compact protocol writes it, filled up to a length."""
    value, digits = (number << 1) ^ (number >> 63), bytearray()
    while value > 127 or len(digits) + 1 < length:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def edited(path: Path, group: int, *, rows: int | None = None, size: int | None = None) -> None:
    """Give a row group of the footer another count of rows, or another size."""
    content = path.read_bytes()
    start = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    footer = content[start:-8]
    stated = pq.read_metadata(path).row_group(group)
    before = b"\x16" + varint(stated.total_byte_size) + b"\x16" + varint(stated.num_rows) + b"\x26"
    after = (
        b"\x16"
        + varint(stated.total_byte_size if size is None else size)
        + b"\x16"
        + varint(stated.num_rows if rows is None else rows)
        + b"\x26"
    )
    pieces = footer.split(before)
    same = [
        number
        for number in range(pq.read_metadata(path).num_row_groups)
        if pq.read_metadata(path).row_group(number).total_byte_size == stated.total_byte_size
    ]
    assert len(pieces) == len(same) + 1
    place = same.index(group) + 1
    footer = before.join(pieces[:place]) + after + before.join(pieces[place:])
    path.write_bytes(content[:start] + footer + struct.pack("<I", len(footer)) + b"PAR1")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ROWS, "tags": [["x"]] * 1000}), path, row_group_size=100)
    return path


@pytest.mark.parametrize("rows", [0, 1, 50, 99, -1, 101, 1 << 40])
def test_a_row_group_that_counts_other_rows_than_its_columns_is_quarantined(
    table: Path, rows: int
) -> None:
    honest, _ = outcome(batches(table))
    edited(table, 3, rows=rows)

    ids, bad = outcome(batches(table))

    assert ids == {offset: name for offset, name in honest.items() if not 300 <= offset < 400}
    assert [(offset, reason) for offset, reason, _ in bad] == [(300, "corrupt_row_group")]
    assert f"the footer says {rows:,} rows" in bad[0][2]


def test_a_lying_row_group_is_the_same_however_the_file_is_cut(table: Path) -> None:
    edited(table, 3, rows=50)
    file = InputFile(str(table), "a.parquet", table.stat().st_size, "parquet")
    outcomes = []
    for chunk_bytes in (1, 10_000, 1 << 30):
        spans = [span for chunk in plan_chunks([file], chunk_bytes) for span in chunk]
        found = [
            batch for span in spans for batch in read(span, "parquet", "src", NO_FIELDS, LIMITS)
        ]
        outcomes.append(outcome(found))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_rows_of_a_list_column_that_the_footer_does_not_count_are_quarantined(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.parquet"
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    pq.write_table(pa.table({"messages": [talk] * 100}), path)
    edited(path, 0, rows=60)

    ids, bad = outcome(batches(path, fields=Fields(messages_field="messages")))

    assert sorted(ids) == list(range(60))
    assert bad == [(0, "corrupt_file", "the footer says 100 rows, its row groups hold 60")]


def test_row_groups_taken_out_of_the_footer_are_quarantined(table: Path, tmp_path: Path) -> None:
    content, other = table.read_bytes(), tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": ROWS[:900], "tags": [["x"]] * 900}), other, row_group_size=100)
    short = other.read_bytes()
    start = len(short) - 8 - struct.unpack("<I", short[-8:-4])[0]
    footer = short[start:-8].replace(b"\x16" + varint(900), b"\x16" + varint(1000), 1)
    kept = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    table.write_bytes(content[:kept] + footer + struct.pack("<I", len(footer)) + b"PAR1")

    ids, bad = outcome(batches(table))

    assert len(ids) == 900
    detail = "the footer says 1,000 rows, its row groups hold 900"
    assert bad == [(0, "corrupt_file", detail)]


def test_pages_that_hold_other_rows_than_footer_and_columns_say_are_quarantined(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ROWS[:100]}), path)
    content = path.read_bytes()
    start = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    footer = content[start:].replace(varint(100), varint(50, 2))
    path.write_bytes(content[:start] + footer)
    assert pq.read_metadata(path).num_rows == 50
    assert pq.read_metadata(path).row_group(0).column(0).num_values == 50

    ids, bad = outcome(batches(path))

    assert not ids
    assert [(offset, reason) for offset, reason, _ in bad] == [(0, "corrupt_row_group")]
    assert "the footer says 50 values, the pages hold 100" in bad[0][2]


@pytest.mark.parametrize("size", [1 << 62, -1, -(1 << 62), 0])
def test_a_size_that_cannot_be_costs_nothing(table: Path, size: int) -> None:
    honest = outcome(batches(table))
    edited(table, 3, size=size)
    file = InputFile(str(table), "a.parquet", table.stat().st_size, "parquet")

    assert outcome(batches(table)) == honest
    assert all(plan_chunks([file], chunk_bytes) for chunk_bytes in (1, 1 << 30))
    assert all(batch.bytes >= 0 for batch in batches(table))


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_values_repeated_from_a_dictionary_are_handed_on_in_bounded_batches(
    tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "a.parquet"
    values = pa.array(["word " * 4000, "other " * 10])
    places = pa.array(np.zeros(20_000, np.int32))
    text = pa.DictionaryArray.from_arrays(places, values)
    own = pa.array([np.random.default_rng(row).bytes(16).hex() for row in range(20_000)])
    pq.write_table(pa.table({"text": text, "own": own}), path, compression=compression)
    limits = Limits(batch_bytes=1 << 20, record_bytes=1 << 20)
    allocated = pa.total_allocated_bytes()
    documents = 0

    for batch in read(Span(str(path), "a.parquet"), "parquet", "src", NO_FIELDS, limits):
        documents += batch.documents.num_rows
        assert batch.documents["text"].nbytes < 3 << 20
        assert pa.total_allocated_bytes() - allocated < 16 << 20

    assert documents == 20_000


def test_a_page_that_becomes_huge_from_next_to_nothing_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["a" * (20 << 20), "an honest text"]})
    pq.write_table(table, path, row_group_size=1, compression="zstd", use_dictionary=False)
    limits = Limits(batch_bytes=1 << 20, record_bytes=1 << 20)

    ids, bad = outcome(batches(path, limits))

    assert list(ids) == [1]
    assert [(offset, reason) for offset, reason, _ in bad] == [(0, "row_group_too_large")]


def test_a_row_group_that_becomes_huge_from_next_to_nothing_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    repeated = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(200_000, np.int32)), pa.array(["word " * 200])
    )
    honest = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(["an honest text"]))
    with pq.ParquetWriter(path, pa.schema([("text", repeated.type)]), compression="zstd") as file:
        for column in (repeated, honest):
            file.write_table(pa.table({"text": column}))
    limits = Limits(batch_bytes=1 << 20, record_bytes=1 << 20)

    ids, bad = outcome(batches(path, limits))

    assert list(ids) == [200_000]
    assert [(offset, reason) for offset, reason, _ in bad] == [(0, "row_group_too_large")]


def test_a_long_text_may_stand_in_every_row_beside_short_ones_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [str(row) for row in range(20_000)]
    prompts = [f"{number}: be kind " * 500 for number in range(57)]
    table = pa.table({"text": texts, "prompt": [prompts[row % 57] for row in range(20_000)]})
    pq.write_table(table, path, compression="zstd")
    limits = Limits(batch_bytes=1 << 20, record_bytes=1 << 20)

    ids, bad = outcome(batches(path, limits))

    assert (len(ids), bad) == (20_000, [])


def test_one_page_may_stand_in_every_row_of_a_file_that_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["404, not found. " * 40] * 50_000}), path, compression="zstd")

    ids, bad = outcome(batches(path, Limits(batch_bytes=1 << 20, record_bytes=1 << 20)))

    assert (len(ids), bad) == (50_000, [])


def test_a_list_that_becomes_huge_from_next_to_nothing_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    row = [{"role": "user", "content": "the same words"}] * 3_000_000
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    pq.write_table(pa.table({"messages": pa.array([row], kind)}), path, compression="zstd")
    limits = Limits(batch_bytes=1 << 20, record_bytes=1 << 20)

    ids, bad = outcome(batches(path, limits, Fields(messages_field="messages")))

    assert not ids
    assert [(offset, reason) for offset, reason, _ in bad] == [(0, "row_group_too_large")]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_honest_files_of_every_kind_are_read_whole(
    tmp_path: Path, version: str, compression: str
) -> None:
    path = tmp_path / "a.parquet"
    texts = [text * (row % 40 + 1) for row, text in enumerate(ROWS)]
    table = pa.table(
        {
            "text": texts,
            "tags": [[str(tag) for tag in range(row % 5)] or None for row in range(1000)],
            "score": [None if row % 7 else row / 3 for row in range(1000)],
            "about": [{"site": f"s{row % 3}", "seen": row} for row in range(1000)],
        }
    )
    pq.write_table(
        table,
        path,
        row_group_size=300,
        compression=compression,
        data_page_version=version,
        data_page_size=4096,
        write_page_index=True,
    )
    ids, bad = outcome(batches(path))
    assert (sorted(ids), bad) == (list(range(1000)), [])


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"]), "text"),
        (pa.Table.from_arrays([pa.array(["a"])] * 3, ["text", "x", "x"]), "x"),
        (
            pa.table(
                {
                    "text": ["a"],
                    "about": pa.array(
                        [[None]],
                        pa.list_(pa.struct([pa.field("k", pa.int64()), pa.field("k", pa.int64())])),
                    ),
                }
            ),
            "about.k",
        ),
    ],
)
def test_a_column_that_is_there_twice_is_named(tmp_path: Path, table: pa.Table, place: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    with pytest.raises(UserError) as caught:
        batches(path)
    assert (caught.value.field, caught.value.file) == (place, str(path))


def test_a_wrong_id_field_is_named_with_its_setting(table: Path) -> None:
    with pytest.raises(UserError, match="id_field") as caught:
        batches(table, fields=Fields(id_field="uuid"))
    assert (caught.value.field, caught.value.allowed) == ("uuid", ["text", "tags"])
