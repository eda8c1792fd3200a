"""Columns of many records at once are those of one record at a time, and zstd in large pieces is
zstd in small ones.
"""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.schemas import DOCUMENTS, QUARANTINE
from pipelines.readers import Fields, Limits, Span, read
from pipelines.readers.jsonl import reading
from pipelines.readers.streams.zstd_pieces import BLOCKS_PER_PIECE, zstd_pieces

FIELDS = ("id", "text", "lang", "url", "license", "date", "meta", "other")
VALUES = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.sampled_from(
        ["", " ", 7, 2**63, 1.5, True, ["x"], {"url": "inner", "meta": 1}, {"k": {"z": 1, "a": 2}}]
    ),
)
RECORDS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(
    lambda record: orjson.dumps(
        {"id": "i", "text": "t", **record}, option=orjson.OPT_PASSTHROUGH_SUBCLASS
    )
)
LINES = st.one_of(
    RECORDS,
    RECORDS,
    st.sampled_from(
        [
            b"",
            b"{",
            b"[]",
            b'{"id":"x","text":"y","n":NaN}',
            b'{"id":"x","text":"y","d":' + b"[" * 300 + b"]" * 300 + b"}",
        ]
    ),
)


def read_all(
    path: Path, fields: Fields, batch_bytes: int
) -> list[tuple[pa.Table, pa.Table, int, int, int]]:
    found = read(
        Span(str(path), "x.jsonl"), "jsonl", "src", fields, Limits(batch_bytes=batch_bytes)
    )
    return [
        (
            pa.Table.from_batches([one.documents], DOCUMENTS),
            pa.Table.from_batches([one.quarantine], QUARANTINE),
            one.records,
            one.blank,
            one.bytes,
        )
        for one in found
    ]


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(LINES, max_size=12),
    fields=st.sampled_from(
        [
            Fields(),
            Fields(id_field="id"),
            Fields(id_field="id", lang="en", license="l"),
            Fields(url_field="text"),
            Fields(id_field="text"),
        ]
    ),
    batch_bytes=st.sampled_from([1, 60, 1 << 20]),
)
def test_runs_of_records_read_as_one_record_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], fields: Fields, batch_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    from_bytes = read_all(path, fields, batch_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_columns", lambda lines, starts, fields: None)
        together = read_all(path, fields, batch_bytes)
        patch.setattr(reading, "odd_rows", lambda records, fields: list(range(len(records))))
        assert from_bytes == together == read_all(path, fields, batch_bytes)


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.tuples(
            st.binary(max_size=300), st.integers(1, 3000), st.booleans(), st.sampled_from([1, 3])
        ),
        max_size=4,
    ),
    reading=st.sampled_from([1, 7, 100, 1 << 20]),
    junk=st.binary(max_size=30),
)
def test_pieces_are_the_file_and_decode_to_a_bounded_length(
    parts: list[tuple[bytes, int, bool, int]], reading: int, junk: bytes
) -> None:
    frames = [
        zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(content * times)
        for content, times, checksum, level in parts
    ]
    skippable = b"\x50\x2a\x4d\x18" + len(junk).to_bytes(4, "little") + junk
    packed = skippable.join([*frames, junk])

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(reading, size or 0))

    pieces = list(zstd_pieces(Slow(packed)))
    assert b"".join(piece for _, piece in pieces) == packed
    assert [position for position, _ in pieces] == [
        sum(len(piece) for _, piece in pieces[:number]) for number in range(len(pieces))
    ]


def test_a_piece_of_a_file_that_is_nearly_nothing_compressed_decodes_to_few_blocks() -> None:
    packed = zstandard.ZstdCompressor().compress(bytes(20 << 20))
    decoder = zstandard.ZstdDecompressor().decompressobj()
    lengths = [len(decoder.decompress(piece)) for _, piece in zstd_pieces(io.BytesIO(packed))]
    assert sum(lengths) == 20 << 20
    assert max(lengths) <= (BLOCKS_PER_PIECE + 1) * (128 << 10)
