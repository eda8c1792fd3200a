"""WARC, WET and ARC: pages become documents, the rest is counted, broken archives end in
quarantine.
"""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash
import zstandard
from fastwarc.stream_io import Lz4Writer
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.schemas import DOCUMENTS, QUARANTINE
from pipelines.readers import Batch, Fields, Limits, Span, read

NO_FIELDS = Fields()
LIMITS = Limits()
HTTP = "application/http; msgtype=response"
PAGE = "<html><head><title> A  page </title></head><body><nav>menu</nav><main><p>{}</p></main></body></html>"
PROSE = "The quick brown fox jumps over the lazy dog, again and again and again."


def http(
    body: bytes, status: str = "200 OK", kind: str = "text/html; charset=utf-8", **headers: str
) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(
    payload: bytes, kind: str = "response", length: int | None = None, content_type: str = HTTP
) -> bytes:
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{len(payload)}>\r\nWARC-Date: 2020-01-02T03:04:05Z\r\n"
        f"WARC-Target-URI: http://example.com/{kind}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(payload) if length is None else length}\r\n\r\n"
    )
    return header.encode() + payload + b"\r\n\r\n"


def page(text: str = PROSE) -> bytes:
    return record(http(PAGE.format(text).encode()))


def arc(
    payload: bytes,
    url: str = "http://example.com/a b",
    kind: str = "text/html",
    length: int | None = None,
) -> bytes:
    return (
        f"{url} 10.0.0.1 20080430204825 {kind} {len(payload) if length is None else length}\n".encode()
        + payload
        + b"\n"
    )


def batches(
    folder: Path,
    content: bytes,
    name: str = "a.warc",
    fields: Fields = NO_FIELDS,
    limits: Limits = LIMITS,
) -> list[Batch]:
    path = folder / name
    path.write_bytes(content)
    return list(read(Span(str(path), "same-path"), "warc", "src", fields, limits))


def documents(found: list[Batch]) -> pa.Table:
    return pa.Table.from_batches([batch.documents for batch in found], DOCUMENTS).combine_chunks()


def quarantine(found: list[Batch]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.Table.from_batches(
        [batch.quarantine for batch in found], QUARANTINE
    ).to_pylist()
    return rows


def dropped(found: list[Batch]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for batch in found:
        counts.update({reason: records for reason, (records, _) in batch.dropped.items()})
    return dict(counts)


def places(found: list[Batch]) -> list[tuple[int, int, str]]:
    return [(row["offset"], row["length"], row["reason"]) for row in quarantine(found)]


def test_an_html_response_becomes_a_document(tmp_path: Path) -> None:
    first = record(b"software: x", "warcinfo", content_type="application/warc-fields")
    found = batches(tmp_path, first + page(), fields=Fields(lang="en", license="CC0"))
    (row,) = documents(found).to_pylist()
    assert row["text"] == PROSE
    assert row["id"] == xxhash.xxh3_128_digest(b"src\0p\0same-path\0" + str(len(first)).encode())
    kept = ("native_id", "url", "date", "lang", "license", "offset")
    assert [row[name] for name in kept] == [
        None,
        "http://example.com/response",
        "2020-01-02T03:04:05Z",
        "en",
        "CC0",
        len(first),
    ]
    assert json.loads(row["meta"])["title"] == "A page"
    assert dropped(found) == {"not_response": 1}
    assert sum(batch.bytes for batch in found) == len(first + page())


def test_the_record_id_is_the_key_where_it_is_asked_for(tmp_path: Path) -> None:
    (row,) = documents(
        batches(tmp_path, page(), fields=Fields(id_field="warc_record_id"))
    ).to_pylist()
    assert row["native_id"].startswith("urn:uuid:")
    assert row["id"] == xxhash.xxh3_128_digest(b"src\0n\0" + row["native_id"].encode())


def test_what_is_no_document_is_dropped_and_counted_by_reason(tmp_path: Path) -> None:
    content = b"".join(
        [
            record(b"GET / HTTP/1.1\r\n\r\n", "request"),
            record(b"a: b", "metadata", content_type="application/warc-fields"),
            record(http(b""), "revisit"),
            record(http(PAGE.format(PROSE).encode(), status="404 Not Found")),
            record(http(b"%PDF", kind="application/pdf")),
            record(http(gzip.compress(b"x"), kind="application/gzip")),
            record(b"example.com. IN A 10.0.0.1", content_type="text/dns"),
            record(http(b"<html><body></body></html>")),
        ]
    )
    found = batches(tmp_path, content)
    assert dropped(found) == {
        "not_response": 2,
        "revisit": 1,
        "http_status": 1,
        "not_html": 3,
        "empty_extraction": 1,
    }
    assert sum(size for batch in found for _, size in batch.dropped.values()) == len(content)
    assert (documents(found).num_rows, quarantine(found)) == (0, [])


def test_plain_and_compressed_archives_give_the_same_documents(tmp_path: Path) -> None:
    records = [page(f"{PROSE} {number}") for number in range(5)]
    lz4 = io.BytesIO()
    writer = Lz4Writer(lz4)
    writer.write(b"".join(records))
    writer.finish()
    writer.flush()
    copies = {
        "a.warc": b"".join(records),
        "a.warc.gz": b"".join(map(gzip.compress, records)),
        "a.warc.zst": b"".join(map(zstandard.compress, records)),
        "a.warc.lz4": lz4.getvalue(),
    }
    tables = [documents(batches(tmp_path, content, name)) for name, content in copies.items()]
    assert tables[0].num_rows == 5
    assert all(table.equals(tables[0]) for table in tables)


def test_offsets_are_those_of_fastwarc(tmp_path: Path) -> None:
    content = b"".join(page(PROSE * number) for number in range(1, 6))
    expected = [entry.stream_pos for entry in ArchiveIterator(io.BytesIO(content))]
    assert documents(batches(tmp_path, content))["offset"].to_pylist() == expected


def test_a_text_conversion_is_taken_as_it_is(tmp_path: Path) -> None:
    content = record("Grüße\n\n  indented".encode(), "conversion", content_type="text/plain")
    assert documents(batches(tmp_path, content, "a.warc.wet"))["text"].to_pylist() == [
        "Grüße\n\n  indented"
    ]


MARKUP = PAGE.format(PROSE).encode()
CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (MARKUP[:50], MARKUP[50:], b""))


@pytest.mark.parametrize(
    "payload",
    [
        http(CHUNKED, Transfer_Encoding="chunked"),
        http(gzip.compress(MARKUP), Content_Encoding="gzip"),
        http(MARKUP, Transfer_Encoding="chunked"),
        http(MARKUP, Content_Encoding="gzip"),
        http(MARKUP, Content_Encoding="br", Transfer_Encoding="chunked"),
        http(gzip.compress(MARKUP), Content_Encoding="gzip", Transfer_Encoding="chunked"),
        http(MARKUP).replace(b"\r\n", b"\n"),
        b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" + b"<!DOCTYPE html>" + MARKUP,
    ],
)
def test_bodies_are_decoded_also_where_the_headers_are_wrong(
    tmp_path: Path, payload: bytes
) -> None:
    assert documents(batches(tmp_path, record(payload)))["text"].to_pylist() == [PROSE]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"<html>no header</html>",
        http(gzip.compress(b"x" * 999)[:8] + b"??", Content_Encoding="gzip"),
    ],
)
def test_a_response_that_cannot_be_decoded_is_quarantined(tmp_path: Path, payload: bytes) -> None:
    content = record(payload)
    assert places(batches(tmp_path, content + page())) == [(0, len(content), "corrupt_payload")]


def test_a_compressed_body_that_unfolds_beyond_the_limit_is_quarantined(tmp_path: Path) -> None:
    content = record(http(gzip.compress(b"x" * 1_000_000), Content_Encoding="gzip"))
    found = batches(tmp_path, content, limits=Limits(record_bytes=100_000))
    assert places(found) == [(0, len(content), "record_too_long")]


def test_a_record_longer_than_the_limit_is_passed_over(tmp_path: Path) -> None:
    long = page("x " * 1000)
    found = batches(
        tmp_path, page() + long + page(), limits=Limits(record_bytes=1000, quarantine_bytes=600)
    )
    assert places(found) == [(len(page()), len(long), "record_too_long")]
    assert quarantine(found)[0]["raw"] == long[:600]
    assert documents(found)["offset"].to_pylist() == [0, len(page()) + len(long)]


def test_long_records_that_are_no_documents_are_dropped_unread(tmp_path: Path) -> None:
    film = record(http(b"x" * (48 << 20), kind="video/mp4"))
    archive = film + record(b"y" * 2000, "resource") + page()
    (tmp_path / "a.warc").write_bytes(archive)
    tracemalloc.start()
    found = list(
        read(
            Span(str(tmp_path / "a.warc"), "a.warc"),
            "warc",
            "src",
            NO_FIELDS,
            Limits(record_bytes=1000),
        )
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dropped(found) == {"not_html": 1, "not_response": 1}
    assert documents(found)["offset"].to_pylist() == [len(archive) - len(page())]
    assert peak < 16 << 20


def test_garbage_between_records_costs_no_record(tmp_path: Path) -> None:
    garbage = b"this is\nnot a record\n"
    found = batches(tmp_path, page() + garbage + page())
    assert places(found) == [(len(page()), len(garbage), "corrupt_record")]
    assert quarantine(found)[0]["raw"] == garbage
    assert documents(found).num_rows == 2


@pytest.mark.parametrize(
    ("length", "reason"),
    [(100_000, "corrupt_record"), (0, "corrupt_record"), (10, "corrupt_record")],
)
def test_a_wrong_content_length_costs_one_record(tmp_path: Path, length: int, reason: str) -> None:
    wrong = record(http(MARKUP), length=length)
    found = batches(tmp_path, page() + wrong + page())
    assert places(found) == [(len(page()), len(wrong), reason)]
    assert documents(found)["offset"].to_pylist() == [0, len(page()) + len(wrong)]


@pytest.mark.parametrize("header", [b"WARC-Type: response\r\n", b"Content-Length: -5\r\n", b""])
def test_a_header_without_a_valid_length_costs_one_record(tmp_path: Path, header: bytes) -> None:
    header = b"WARC/1.0\r\n" + header + b"\r\n"
    found = batches(tmp_path, page() + header + b"body\r\n\r\n" + page())
    assert places(found) == [(len(page()), len(header) + 8, "corrupt_record")]
    assert documents(found).num_rows == 2


def test_an_archive_cut_inside_a_record_keeps_the_records_before(tmp_path: Path) -> None:
    content = page() + page()[:-60]
    found = batches(tmp_path, content)
    assert documents(found).num_rows == 1
    assert places(found) == [(len(page()), len(page()) - 60, "truncated_record")]


def test_a_compressed_archive_cut_short_has_one_quarantined_rest(tmp_path: Path) -> None:
    content = gzip.compress(page()) + gzip.compress(page("y " * 500))[:-30]
    found = batches(tmp_path, content, "a.warc.gz")
    assert documents(found).num_rows == 1
    ((offset, length, reason),) = places(found)
    assert (offset, reason) == (len(page()), "truncated_stream")
    assert sum(batch.bytes for batch in found) == len(page()) + length


def test_a_corrupt_member_after_whole_records_is_one_quarantined_rest(tmp_path: Path) -> None:
    found = batches(tmp_path, gzip.compress(page()) + b"no gzip", "a.warc.gz")
    assert documents(found).num_rows == 1
    assert places(found) == [(len(page()), 0, "corrupt_stream")]


def test_a_file_that_is_no_archive_is_one_quarantined_record(tmp_path: Path) -> None:
    assert places(batches(tmp_path, b"hello\nworld\n" * 50)) == [(0, 600, "corrupt_record")]


def test_arc_records_are_read_with_url_and_date(tmp_path: Path) -> None:
    about = arc(
        b"1 0 Example\nURL IP-address Archive-date Content-type Archive-length\n",
        "filedesc://x.arc",
        "text/plain",
    )
    dns = arc(b"20080430204825\n", "dns:example.com", "text/dns")
    found = batches(tmp_path, about + b"\n" + dns + arc(http(MARKUP)), "a.arc")
    (row,) = documents(found).to_pylist()
    assert [row[name] for name in ("text", "url", "date")] == [
        PROSE,
        "http://example.com/a b",
        "2008-04-30T20:48:25Z",
    ]
    assert row["offset"] == len(about) + 1 + len(dns)
    assert dropped(found) == {"not_response": 2}


def test_a_broken_arc_length_costs_one_record(tmp_path: Path) -> None:
    payload = http(MARKUP)
    wrong = arc(payload, length=len(payload) + 300)
    found = batches(
        tmp_path, wrong + arc(payload) + arc(payload, url="http://x/", length=-1), "a.arc"
    )
    assert quarantine(found)[0]["raw"] == wrong
    third = len(wrong + arc(payload))
    assert [(offset, reason) for offset, _, reason in places(found)] == [
        (0, "corrupt_record"),
        (third, "corrupt_record"),
    ]
    assert documents(found)["offset"].to_pylist() == [len(wrong)]


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_damage_balances_and_never_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(page() + record(b"GET", "request") + page(PROSE * 3) + arc(http(b"<p>x")))
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    found = batches(tmp_path_factory.getbasetemp(), bytes(content))
    covered = sum(batch.bytes for batch in found)
    assert covered == len(content)
    rows = sum(batch.documents.num_rows + batch.quarantine.num_rows for batch in found)
    assert sum(batch.records for batch in found) == rows + sum(dropped(found).values())


@pytest.mark.parametrize("fields", [Fields(id_field="id"), Fields(messages_field="messages")])
def test_fields_an_archive_has_not_are_the_users_error(tmp_path: Path, fields: Fields) -> None:
    with pytest.raises(UserError, match="web pages"):
        batches(tmp_path, page(), fields=fields)
