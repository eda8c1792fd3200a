"""Archives in the state they are found in: other spellings, wrong lengths, damage, other content."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from pipelines.readers import Batch, Fields, Limits, Span, read
from pipelines.readers.archives.record_headers import HeaderSearch, arc_header

PAGE = "<html><head><title>T</title></head><body><main><p>Page {} says a few words of its own.</p></main></body></html>"
LIMITS = Limits()


def record(
    payload: bytes,
    kind: str = "response",
    length: int | None = None,
    content_type: str = "application/http; msgtype=response",
    **fields: str,
) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return (
        (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:1>\r\n{more}"
            f"WARC-Date: 2020-01-02T03:04:05Z\r\nWARC-Target-URI: http://example.com/\r\n"
            f"Content-Type: {content_type}\r\n"
            f"Content-Length: {len(payload) if length is None else length}\r\n\r\n"
        ).encode()
        + payload
        + b"\r\n\r\n"
    )


def http(body: bytes, kind: str | None = "text/html; charset=utf-8") -> bytes:
    declared = f"Content-Type: {kind}\r\n" if kind else ""
    return f"HTTP/1.1 200 OK\r\n{declared}\r\n".encode() + body


def page(number: int, **options: Any) -> bytes:
    return record(http(PAGE.format(number).encode()), **options)


def batches(folder: Path, content: bytes, name: str = "a.warc", **span: Any) -> list[Batch]:
    path = folder / name
    path.write_bytes(content)
    return list(read(Span(str(path), "same-path", **span), "warc", "src", Fields(), LIMITS))


def texts(found: list[Batch]) -> list[int]:
    """Numbers of the pages that were read."""
    return [int(text.split()[1]) for batch in found for text in batch.documents["text"].to_pylist()]


def metas(found: list[Batch]) -> list[dict[str, Any]]:
    return [json.loads(meta) for batch in found for meta in batch.documents["meta"].to_pylist()]


def reasons(found: list[Batch]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for batch in found:
        counts.update(batch.quarantine["reason"].to_pylist())
        counts.update({reason: records for reason, (records, _) in batch.dropped.items()})
    return dict(counts)


def test_fields_in_lower_case_and_lines_that_end_in_lf_alone(tmp_path: Path) -> None:
    lower = page(1).replace(b"WARC-Type", b"warc-type").replace(b"Content-", b"content-")
    body = http(PAGE.format(2).encode()).replace(b"\r\n", b"\n")
    assert texts(batches(tmp_path, lower + record(body).replace(b"\r\n", b"\n"))) == [1, 2]


@pytest.mark.parametrize("per_record", [True, False])
@pytest.mark.parametrize("length", [64 << 20, 33_000_000, 40_000, 10, 1 << 60])
def test_one_wrong_length_costs_one_record(tmp_path: Path, per_record: bool, length: int) -> None:
    records = [page(n, length=length if n == 4 else None) for n in range(200)]
    content = b"".join(gzip.compress(one) if per_record else one for one in records)
    found = batches(tmp_path, content, "a.warc.gz" if per_record else "a.warc")
    assert texts(found) == [n for n in range(200) if n != 4]
    assert sum(reasons(found).values()) == 1
    assert sum(batch.bytes for batch in found) == sum(map(len, records))


def test_a_long_record_of_another_kind_is_passed_over_whole(tmp_path: Path) -> None:
    film = random.Random(1).randbytes(40 << 20)
    content = page(1) + record(film, "resource", content_type="video/mp4") + page(2)
    found = batches(tmp_path, content)
    assert texts(found) == [1, 2]
    assert reasons(found) == {"not_response": 1}


def test_lengths_that_lie_one_after_the_other_are_searched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    search = HeaderSearch._search

    def counted(self: HeaderSearch, start: int, end: int) -> None:
        searched.append(end - start)
        search(self, start, end)

    monkeypatch.setattr(HeaderSearch, "_search", counted)
    lying = b"WARC/1.0\r\nContent-Length: 33000000\r\n\r\nx\r\n"
    found = batches(tmp_path, gzip.compress(lying * 20_000), "a.warc.gz")
    assert sum(batch.records for batch in found) == 20_000
    assert sum(searched) <= 20_000 * len(lying)


def test_megabytes_of_blank_lines_between_records_are_nothing(tmp_path: Path) -> None:
    found = batches(tmp_path, page(1) + b"\r\n" * (8 << 20) + page(2))
    assert texts(found) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "identified", "body", "expected"),
    [
        ("text/html", None, b"%PDF-1.7 " + b"words " * 90, "not_html"),
        ("text/html", "application/pdf", PAGE.format(1).encode(), "not_html"),
        ("text/html", "text/html", PAGE.format(1).encode(), None),
        ("Text/HTML;charset=utf-8", "application/xhtml+xml", PAGE.format(1).encode(), None),
        (None, "text/html", PAGE.format(1).encode(), None),
        (None, None, PAGE.format(1).encode(), None),
        (None, None, b"<!-- a comment --> " + PAGE.format(1).encode(), None),
        (None, None, b"just words of a text", "not_html"),
        ("unknown/unknown", None, PAGE.format(1).encode(), None),
        ("image/png", "text/html", PAGE.format(1).encode(), "not_html"),
    ],
)
def test_what_is_a_page_is_told_by_all_that_speaks_of_it(
    tmp_path: Path, kind: str | None, identified: str | None, body: bytes, expected: str | None
) -> None:
    fields = {"WARC_Identified_Payload_Type": identified} if identified else {}
    found = batches(tmp_path, record(http(body, kind), **fields))
    assert reasons(found) == ({expected: 1} if expected else {})
    assert texts(found) == ([] if expected else [1])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/plain", PAGE.format(1)),
        ("text/html; charset=utf-8", "Page 1 says a few words of its own."),
        ("application/pdf", None),
    ],
)
def test_a_conversion_is_read_as_what_it_is(tmp_path: Path, kind: str, text: str | None) -> None:
    found = batches(tmp_path, record(PAGE.format(1).encode(), "conversion", content_type=kind))
    assert [one for batch in found for one in batch.documents["text"].to_pylist()] == (
        [text] if text else []
    )


def test_segments_are_said(tmp_path: Path) -> None:
    first = page(1, WARC_Segment_Number="1")
    found = batches(tmp_path, first + record(b"the rest", "continuation", WARC_Segment_Number="2"))
    assert [meta["truncated"] for meta in metas(found)] == ["segment"]
    assert reasons(found) == {"continuation": 1}


def test_arc_headers_hold_media_types_with_parameters() -> None:
    line = b"http://example.com/a b 10.0.0.1 20080430204825 text/html; charset=utf-8 1234\n"
    assert arc_header(line) == (
        "http://example.com/a b",
        "20080430204825",
        "text/html; charset=utf-8",
        1234,
    )
    second = b"http://e.com/ 10.0.0.1 20080430204825 text/html 200 ABC - 1234 a.arc.gz 99\n"
    assert arc_header(second) == ("http://e.com/", "20080430204825", "text/html", 99)
    for other in (b"", b"1 2 3", b"a 20080430204825 text/html 5\n", b"http://e.com/ 1.1.1.1 x 5\n"):
        assert arc_header(other) is None


def test_an_arc_with_parameters_is_read(tmp_path: Path) -> None:
    body = http(PAGE.format(3).encode(), None)
    head = b"http://example.com/ 10.0.0.1 20080430204825 text/html; charset=utf-8 %d\n" % len(body)
    assert texts(batches(tmp_path, head + body + b"\n", "a.arc")) == [3]


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress]
)
def test_a_flipped_bit_costs_its_member_and_marks_what_came_of_it(
    tmp_path: Path, pack: Any
) -> None:
    members = [bytearray(pack(page(n))) for n in range(9)]
    members[4][-5 if pack is gzip.compress else -1] ^= 1  # of the checksum
    members[6][len(members[6]) // 2] ^= 0x10
    name = "a.warc.gz" if pack is gzip.compress else "a.warc.zst"
    found = batches(tmp_path, b"".join(map(bytes, members)), name)
    assert set(range(9)) - {4, 6} <= set(texts(found))
    assert reasons(found)["corrupt_stream"] >= 2
    suspect = tuple(stretch for batch in found for stretch in batch.suspect)
    again = batches(tmp_path, (tmp_path / name).read_bytes(), name, suspect=suspect)
    damaged = [n for n, meta in zip(texts(again), metas(again), strict=True) if "damaged" in meta]
    assert set(damaged) <= {4, 6}
    assert 4 in damaged or 4 not in texts(again)


def test_counts_are_those_of_warcio(tmp_path: Path) -> None:
    kinds = ["response", "request", "warcinfo", "revisit", "metadata", "conversion", "resource"]
    content = b"".join(gzip.compress(page(n, kind=kinds[n % len(kinds)])) for n in range(100))
    found = batches(tmp_path, content, "a.warc.gz")
    with (tmp_path / "a.warc.gz").open("rb") as file:
        expected = sum(1 for _ in ArchiveIterator(file))
    assert sum(batch.records for batch in found) == expected == 100


@settings(max_examples=200)
@given(data=st.data(), packed=st.sampled_from(["", ".gz", ".zst"]))
def test_damage_anywhere_balances_and_is_the_same_each_time(
    tmp_path: Path, data: st.DataObject, packed: str
) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[packed]
    members = [pack(page(n)) for n in range(6)]
    content = bytearray(b"".join(members))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "double", "splice"]))
        if kind == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 400))]
        elif kind == "double":
            content[place:place] = content[place : place + data.draw(st.integers(1, 400))]
        else:
            content[place:place] = data.draw(st.binary(max_size=40))
        if not content:
            return
    first = batches(tmp_path, bytes(content), f"a.warc{packed}")
    second = batches(tmp_path, bytes(content), f"a.warc{packed}")
    assert [(b.records, b.bytes) for b in first] == [(b.records, b.bytes) for b in second]
    offsets = [o for batch in first for o in batch.documents["offset"].to_pylist()]
    assert len(set(offsets)) == len(offsets)
