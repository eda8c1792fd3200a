"""The planted corpus holds what it says: checked with the standard library and with the readers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipelines.readers import Fields, Limits, Span, read
from tests.pipelines.broken_corpus import COUNT, Planted, break_corpus

LIMIT = 4000
REASONS = {
    "invalid_json",
    "invalid_utf8",
    "lone_surrogate",
    "not_an_object",
    "bad_id",
    "duplicate_key",
    "no_text",
    "bad_messages",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for name, records in (
        ("b.jsonl.zst", 300),
        ("a.jsonl.zst", 350),
        ("deeper/chat.jsonl.zst", 90),
    ):
        lines = [
            json.dumps(good_record(name, row), ensure_ascii=False).encode()
            for row in range(records)
        ]
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(
            zstandard.compress(b"\n".join(lines) + (b"\n" if name != "b.jsonl.zst" else b""))
        )
    return folder


def good_record(name: str, row: int) -> dict[str, Any]:
    text = f"Record {row} of {name}: 正文 with an accent, é, and \\ud800 spelled out. " * (
        1 + row % 7
    )
    body = {"messages": [{"role": "user", "content": text}]} if "chat" in name else {"text": text}
    return {"id": f"{name}#{row}", **body, "lang": "en", "meta": {"row": row}}


def stream_of(file: Path) -> bytes:
    with zstandard.open(file, "rb") as stream:
        return stream.read()


def test_a_copy_holds_exactly_the_good_records_and_the_planted_ones_at_their_offsets(
    source: Path, tmp_path: Path
) -> None:
    planted = break_corpus(source, tmp_path, seed=1)
    assert len(planted) == len(set(planted)) == COUNT
    assert planted == sorted(planted, key=lambda record: (record.path.encode(), record.offset))
    taken: set[str] = set()
    for name in sorted(str(file.relative_to(source)) for file in source.rglob("*.zst")):
        reasons = {record.offset: record.reason for record in planted if record.path == name}
        good, offset = b"", 0
        for line in stream_of(tmp_path / name).splitlines(keepends=True):
            reason = reason_by_standard_library(line, taken, "chat" in name)
            assert reason == reasons.pop(offset, None), line
            good += line if reason is None else b""
            offset += len(line)
        assert reasons == {}
        assert good == stream_of(source / name)


def test_every_reason_is_planted_and_none_dominates(source: Path, tmp_path: Path) -> None:
    counts = Counter(record.reason for record in break_corpus(source, tmp_path, seed=2))
    assert set(counts) == REASONS
    assert max(counts.values()) < COUNT // 3


def test_the_first_and_last_records_of_a_file_stay_good(source: Path, tmp_path: Path) -> None:
    planted = break_corpus(source, tmp_path, seed=3)
    for path in {record.path for record in planted}:
        lines = stream_of(tmp_path / path).splitlines()
        assert json.loads(lines[0])["id"] == f"{path}#0"
        assert lines[-1] == stream_of(source / path).splitlines()[-1]


def test_the_seed_decides_every_byte(source: Path, tmp_path: Path) -> None:
    first = break_corpus(source, tmp_path / "first", seed=4)
    again = break_corpus(source, tmp_path / "again", seed=4)
    other = break_corpus(source, tmp_path / "other", seed=5)
    assert first == again != other
    assert all(
        (tmp_path / "first" / r.path).read_bytes() == (tmp_path / "again" / r.path).read_bytes()
        for r in first
    )


def test_a_corpus_smaller_than_the_plantation_still_takes_all(source: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    lines = [json.dumps(good_record("x", row)).encode() + b"\n" for row in range(3)]
    (tmp_path / "small" / "x.jsonl.zst").write_bytes(zstandard.compress(b"".join(lines)))
    planted = break_corpus(tmp_path / "small", tmp_path / "broken", seed=6, count=40)
    assert len({record.offset for record in planted}) == 40


def test_a_folder_without_two_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl.zst").write_bytes(zstandard.compress(b'{"id": "1", "text": "alone"}\n'))
    with pytest.raises(ValueError, match="two records"):
        break_corpus(tmp_path, tmp_path / "broken", seed=7)


def test_a_limit_below_a_good_record_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exceeds the limit of 100"):
        break_corpus(source, tmp_path, seed=8, record_bytes=100)


@pytest.mark.parametrize("record_bytes", [None, LIMIT])
def test_readers_quarantine_the_planted_records_and_keep_the_good_ones(
    source: Path, tmp_path: Path, record_bytes: int | None
) -> None:
    planted = break_corpus(source, tmp_path, seed=9, record_bytes=record_bytes)
    assert ("line_too_long" in {record.reason for record in planted}) == (record_bytes is not None)
    limits = (
        Limits()
        if record_bytes is None
        else Limits(record_bytes=record_bytes, quarantine_bytes=1000)
    )
    duplicates = {record[:2] for record in planted if record.reason == "duplicate_key"}
    for path in sorted({record.path for record in planted}):
        fields = Fields(id_field="id", messages_field="messages" if "chat" in path else None)
        batches = list(read(Span(str(tmp_path / path), path), "jsonl", "broken", fields, limits))
        found = [Planted(*row) for batch in batches for row in rows_of(batch.quarantine)]
        assert found == [
            record for record in planted if record.path == path and record.reason != "duplicate_key"
        ]
        kept = [
            row["native_id"]
            for batch in batches
            for row in batch.documents.to_pylist()
            if (path, row["offset"]) not in duplicates
        ]
        assert kept == [
            f"{path}#{row}" for row in range(len(stream_of(source / path).splitlines()))
        ]


def rows_of(quarantine: Any) -> list[tuple[str, int, str]]:
    return [(row["path"], row["offset"], row["reason"]) for row in quarantine.to_pylist()]


def reason_by_standard_library(line: bytes, taken: set[str], conversations: bool) -> str | None:
    """What is wrong with a line, found without the readers; ids of good records are added to
    ``taken``.
    """
    try:
        record = json.loads(line.decode())
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return "invalid_utf8"
    except UnicodeEncodeError:
        return "lone_surrogate"
    except json.JSONDecodeError:
        return "invalid_json"
    if not isinstance(record, dict):
        return "not_an_object"
    if not isinstance(record.get("id"), str) or not record["id"]:
        return "bad_id"
    messages = record.get("messages")
    sound = (
        isinstance(messages, list)
        and messages
        and all(isinstance(m, dict) and isinstance(m["content"], str) for m in messages)
    )
    if not sound and not (isinstance(record.get("text"), str) and record["text"]):
        return "bad_messages" if conversations else "no_text"
    if record["id"] in taken:
        return "duplicate_key"
    taken.add(record["id"])
    return None
