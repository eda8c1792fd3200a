"""Compressed input: equal to plain, honest about where it breaks, bounded in memory."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.schemas import DOCUMENTS, QUARANTINE
from pipelines.readers import Batch, Fields, Limits, Span, read
from pipelines.readers.streams.damage import Damage
from pipelines.readers.streams.decoding import blocks
from tests.pipelines.packing import COMPRESS

LIMITS = Limits()
LINE = b'{"id":"%d","text":"%s"}\n'


def corpus(records: int) -> bytes:
    words = random.Random(1)
    return b"".join(
        LINE % (number, words.randbytes(40).hex().encode()) for number in range(records)
    )


STANDARD = ["gz", "zst", "bz2", "xz"]


@pytest.mark.parametrize(
    "tail",
    [b"", bytes(512), gzip.compress(b'{"id":"z","text":"second"}\n')],
    ids=["none", "zeros", "member"],
)
def test_a_gzip_member_that_grows_beyond_a_block_within_one_piece_ends_where_it_ends(
    tmp_path: Path, tail: bytes
) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text":"hello world"}\n' * 100_000) + tail)
    found = list(read(Span(str(path), "same-path"), "jsonl", "src", Fields(), LIMITS))
    assert sum(batch.documents.num_rows for batch in found) == 100_000 + (tail[:1] == b"\x1f")


def batches(path: Path, limits: Limits = LIMITS) -> list[Batch]:
    return list(read(Span(str(path), "same-path"), "jsonl", "src", Fields(id_field="id"), limits))


def tables(found: list[Batch]) -> tuple[pa.Table, pa.Table]:
    documents = pa.Table.from_batches(
        [batch.documents for batch in found], DOCUMENTS
    ).combine_chunks()
    return documents, pa.Table.from_batches(
        [batch.quarantine for batch in found], QUARANTINE
    ).combine_chunks()


def decode(
    content: bytes, compression: str, limits: Limits = LIMITS
) -> tuple[bytes, Damage | None]:
    """What is decoded, and the first damage."""
    pieces: list[bytes] = []
    found: list[Damage] = []
    for block in blocks(io.BytesIO(content), compression, limits):
        if isinstance(block, Damage):
            found.append(block)
        else:
            pieces.append(block)
    return b"".join(pieces), found[0] if found else None


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_copy_gives_the_documents_and_quarantine_of_the_plain_file(
    tmp_path: Path, suffix: str
) -> None:
    content = corpus(500) + b"broken\n\n" + corpus(3)
    plain, packed = tmp_path / "a.jsonl", tmp_path / f"a.jsonl.{suffix}"
    plain.write_bytes(content)
    packed.write_bytes(COMPRESS[suffix](content))
    expected, found = batches(plain), batches(packed)
    for one, other in zip(tables(expected), tables(found), strict=True):
        assert one.equals(other)
    assert sum(batch.bytes for batch in found) == len(content)


@pytest.mark.parametrize("suffix", STANDARD)
def test_members_frames_and_streams_one_after_the_other_are_one_file(
    tmp_path: Path, suffix: str
) -> None:
    first, second = corpus(50), corpus(70)
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(COMPRESS[suffix](first) + COMPRESS[suffix](b"") + COMPRESS[suffix](second))
    documents, quarantine = tables(batches(path))
    assert (documents.num_rows, quarantine.num_rows) == (120, 0)


def test_a_zstd_file_with_skippable_frames_and_a_wide_window_is_read() -> None:
    content = random.Random(2).randbytes(1000) * 100
    parameters = zstandard.ZstdCompressionParameters(window_log=26, enable_ldm=True)
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    packed = skippable + zstandard.ZstdCompressor(
        compression_params=parameters
    ).compressobj().compress(b"")
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed += compressor.compress(content) + compressor.flush() + skippable
    assert decode(packed, "zstd") == (content, None)


def test_a_zstd_window_beyond_the_limit_is_reported_not_allocated() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(b"x" * 1000) + compressor.flush()
    found, damage = decode(packed, "zstd", Limits(window_bytes=1 << 20))
    assert found == b""
    assert damage is not None
    assert damage.reason == "corrupt_stream"


@pytest.mark.parametrize("suffix", STANDARD)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_stream_cut_short_keeps_its_whole_lines_and_quarantines_the_rest(
    tmp_path: Path, suffix: str, share: float
) -> None:
    content = corpus(4000)
    packed = COMPRESS[suffix](content)
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(packed[: int(len(packed) * share)])
    found = batches(path)
    documents, quarantine = tables(found)
    (row,) = quarantine.to_pylist()
    assert row["reason"] == "truncated_stream"
    decoded = row["offset"] + row["length"]
    assert content[row["offset"] : decoded].startswith(row["raw"])
    assert b"\n" not in row["raw"]
    assert documents.num_rows == content[: row["offset"]].count(b"\n")
    assert sum(batch.bytes for batch in found) == decoded
    assert sum(batch.records for batch in found) == documents.num_rows + 1


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_gzip_file_that_lacks_part_of_its_trailer_keeps_every_line(
    tmp_path: Path, cut: int
) -> None:
    content = corpus(100)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(content)[:-cut])
    documents, quarantine = tables(batches(path))
    (row,) = quarantine.to_pylist()
    assert documents.num_rows == 100
    assert (row["reason"], row["offset"], row["length"], row["raw"]) == (
        "truncated_stream",
        len(content),
        0,
        b"",
    )


def test_everything_before_a_corrupt_byte_of_gzip_is_kept() -> None:
    content = corpus(3000)
    # stored blocks: 5 bytes of header, then the content as it is
    packed = bytearray(gzip.compress(content, 0))
    place, decodable = 10, 0
    for _ in range(3):
        length = int.from_bytes(packed[place + 1 : place + 3], "little")
        decodable += length
        place += 5 + length
    packed[place + 3] ^= 0xFF  # the complement of the length of the fourth block
    found, damage = decode(bytes(packed), "gzip")
    assert found == content[:decodable]
    assert damage is not None
    assert damage.reason == "corrupt_stream"
    assert str(place + 4) in damage.detail


def test_a_wrong_zstd_checksum_keeps_the_content_and_is_reported() -> None:
    content = corpus(2000)
    packed = bytearray(COMPRESS["zst"](content))
    packed[-1] ^= 1
    found, damage = decode(bytes(packed), "zstd")
    assert content.startswith(found)
    assert damage is not None
    assert damage.reason == "corrupt_stream"


def test_a_corrupt_second_frame_keeps_the_first_whole(tmp_path: Path) -> None:
    first = corpus(200)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(COMPRESS["zst"](first) + b"this is no frame")
    documents, quarantine = tables(batches(path))
    (row,) = quarantine.to_pylist()
    assert documents.num_rows == 200
    assert (row["reason"], row["offset"]) == ("corrupt_stream", len(first))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_is_not_what_its_suffix_says_is_quarantined_at_its_start(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(corpus(3))
    documents, quarantine = tables(batches(path))
    (row,) = quarantine.to_pylist()
    assert documents.num_rows == 0
    assert (row["reason"], row["offset"]) == ("corrupt_stream", 0)


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_zero_padding_after_a_member_is_no_damage(suffix: str) -> None:
    compression = {"gz": "gzip", "xz": "xz"}[suffix]
    assert decode(COMPRESS[suffix](b"abc\n") + b"\0" * 512, compression) == (b"abc\n", None)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2", "xz"])
def test_a_decompression_bomb_stays_bounded_in_memory(compression: str, tmp_path: Path) -> None:
    suffix = {"gzip": "gz", "zstd": "zst", "bzip2": "bz2", "xz": "xz"}[compression]
    path = tmp_path / f"bomb.jsonl.{suffix}"
    path.write_bytes(COMPRESS[suffix](bytes(64 << 20)))
    tracemalloc.start()
    found = batches(path, Limits(record_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (row,) = tables(found)[1].to_pylist()
    assert (row["reason"], row["length"]) == ("line_too_long", 64 << 20)
    assert peak < 52 << 20


@settings(max_examples=60, deadline=None)
@given(data=st.data(), compression=st.sampled_from(["gzip", "zstd", "bzip2", "xz", "lz4"]))
def test_any_damage_gives_a_report_or_the_content_and_never_another_exception(
    data: st.DataObject, compression: str
) -> None:
    suffix = {"gzip": "gz", "zstd": "zst", "bzip2": "bz2", "xz": "xz", "lz4": "lz4"}[compression]
    content = corpus(40)
    packed = bytearray(COMPRESS[suffix](content))
    assert decode(bytes(packed), compression) == (content, None)
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(packed[: data.draw(st.integers(0, len(packed)))])
    found, damage = decode(broken, compression)
    assert decode(broken, compression)[0] == found
    # these carry checksums the test always writes
    if damage is None and compression in ("gzip", "bzip2", "xz"):
        assert found == content


def test_a_partial_span_of_a_compressed_file_is_a_defect_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(ValueError, match="read whole"):
        list(read(Span(str(path), "a.jsonl.gz", 5, None), "jsonl", "src"))


MEMBERS = ["gz", "zst", "bz2", "xz", "lz4"]


@pytest.mark.parametrize("suffix", MEMBERS)
def test_behind_a_damaged_member_reading_goes_on_at_the_next(tmp_path: Path, suffix: str) -> None:
    parts = [corpus(60).replace(b'"id":"', b'"id":"%d-' % number) for number in range(5)]
    packed = [bytearray(COMPRESS[suffix](part)) for part in parts]
    packed[1][: len(packed[1]) // 2] = bytes(len(packed[1]) // 2)  # not even its magic is left
    packed[3][12] ^= 0xFF
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(b"".join(map(bytes, packed)))
    documents, quarantine = tables(batches(path))
    ids = documents["native_id"].to_pylist()
    for number in (0, 2, 4):
        assert [name for name in ids if name.startswith(f"{number}-")] == [
            f"{number}-{row}" for row in range(60)
        ]
    assert set(quarantine["reason"].to_pylist()) <= {"corrupt_stream", "invalid_json"}
    assert "corrupt_stream" in quarantine["reason"].to_pylist()
    told = " ".join(filter(None, quarantine["detail"].to_pylist()))
    assert f"reading goes on at byte {sum(map(len, packed[:2]))}" in told


def test_a_member_whose_checksum_fails_is_told_and_what_follows_is_whole(tmp_path: Path) -> None:
    first, second, third = corpus(30), corpus(40), corpus(50)
    packed = bytearray(gzip.compress(second))
    packed[-8] ^= 1  # of the checksum
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(first) + bytes(packed) + gzip.compress(third))
    found = batches(path)
    documents, quarantine = tables(found)
    (row,) = quarantine.to_pylist()
    suspect = (len(first), len(first) + len(second))
    assert documents.num_rows == 120
    assert (row["reason"], row["length"]) == ("corrupt_stream", 0)
    assert [stretch for batch in found for stretch in batch.suspect] == [suspect]
    assert sum(batch.bytes for batch in found) == len(first + second + third)
    assert documents["meta"].null_count == 120

    span = Span(str(path), "same-path", suspect=(suspect,))
    again, _ = tables(list(read(span, "jsonl", "src", Fields(id_field="id"), LIMITS)))
    marks = again["meta"].to_pylist()
    assert marks == [None] * 30 + ['{"damaged":"checksum"}'] * 40 + [None] * 50
    assert again.drop_columns("meta").equals(documents.drop_columns("meta"))


def test_what_a_damaged_member_gave_before_the_damage_is_suspect() -> None:
    content = corpus(3000)
    packed = bytearray(gzip.compress(content, 0))
    packed[10 + 3] ^= 0xFF  # the length of the first stored block
    _, damage = decode(gzip.compress(b"sound\n") + bytes(packed), "gzip")
    assert damage is not None
    assert damage.suspect is None  # nothing of it was handed on
    place = 10 + 5 + int.from_bytes(gzip.compress(content, 0)[11:13], "little")
    packed = bytearray(gzip.compress(content, 0))
    packed[place + 3] ^= 0xFF
    _, damage = decode(gzip.compress(b"sound\n") + bytes(packed), "gzip")
    assert damage is not None
    assert damage.suspect == (6, 6 + place - 15)


def test_a_cut_member_is_short_and_not_suspect() -> None:
    _, damage = decode(gzip.compress(corpus(3000))[:-500], "gzip")
    assert damage is not None
    assert (damage.reason, damage.suspect) == ("truncated_stream", None)


def test_the_search_for_the_next_member_is_bounded() -> None:
    class Counted(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            block = super().read(size)
            self.count += len(block)
            return block

    # every twelve bytes look like a member, and none of them is one
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
    packed = (head + b"\0\0") * 200_000
    limits = Limits(search_bytes=1 << 20)
    file = Counted(packed)
    found = list(blocks(file, "gzip", limits))
    (damage,) = found
    assert isinstance(damage, Damage)
    assert "was given up" in damage.detail
    assert file.count < 100 << 20
