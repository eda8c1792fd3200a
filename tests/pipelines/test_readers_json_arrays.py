"""Files that are one JSON array: each element is a record, as on a line of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.readers import Batch, Fields, Limits, Span, read
from pipelines.readers.base import InputFile
from pipelines.readers.chunks import plan_chunks
from pipelines.readers.jsonl.arrays import elements_as_lines
from pipelines.readers.streams.damage import Damage
from tests.pipelines.packing import COMPRESS

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def as_lines(content: bytes, size: int) -> bytes:
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(block for block in elements_as_lines(blocks) if not isinstance(block, Damage))


@given(
    st.lists(st.dictionaries(TEXT, VALUES, max_size=3), min_size=1, max_size=5),
    st.sampled_from([None, 0, 2, "\t"]),
    st.booleans(),
    st.integers(1, 40),
)
def test_each_element_is_a_line_and_nothing_moves(
    elements: list[dict[str, Any]], indent: int | str | None, ascii_alone: bool, size: int
) -> None:
    content = json.dumps(elements, indent=indent, ensure_ascii=ascii_alone).encode()
    lines = as_lines(content, size)
    assert len(lines) == len(content)
    assert [json.loads(line) for line in lines.split(b"\n")] == elements
    assert all(
        new == old or (old in b"[],\n" and new in b" \n")
        for old, new in zip(content, lines, strict=True)
    )


@pytest.mark.parametrize(
    "content",
    [
        b'[]\n"\n{"text": "see {x} [y], z"}\n',
        b'["id", "text"]\n{"text": "one"}\n{"text": "t [w], o"}\n',
        b'[{"text":"one"}]\n{"text": "t {w}, o"}\n',
        b"[1, 2]\n[3]\n",
        b'{{"text": "one"}, {"text": "two"}}',
        b"[\n" + b" " * (1 << 16) + b'{"text": "one"}]',
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_no_byte_behind_an_array_or_of_other_lines_is_altered(content: bytes, size: int) -> None:
    lines = as_lines(content, size)
    assert len(lines) == len(content)
    end = content.find(b"]\n") + 1 if content.startswith((b"[]", b"[{")) else 0
    assert lines[end:] == content[end:]
    if not content.startswith((b"[]", b"[{")):
        assert lines == content


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    "content", [b'[{"text":"one"},{"text":"two"}', b'[{"text":"one"},', b'[{"text":"one"}}', b"[{"]
)
def test_an_array_that_is_cut_off_says_so(content: bytes, size: int) -> None:
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    *_, last = elements_as_lines(blocks)
    assert isinstance(last, Damage)
    assert last.reason == "truncated_stream"


def test_a_cut_array_keeps_its_whole_elements_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text":"one"},\n{"text":"two"},\n{"text":"thr')
    batches = list(read(Span(str(path), "a.json"), "auto", "s"))
    assert [row["text"] for row in documents(batches)] == ["one", "two"]
    (bad,) = [row for batch in batches for row in batch.quarantine.to_pylist()]
    assert (bad["reason"], bad["raw"]) == ("truncated_stream", b' {"text":"thr')
    assert "not closed" in bad["detail"]


def test_blanks_before_an_array_change_nothing_about_how_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\n" * 5000 + json.dumps(ALPACA).encode())
    file = InputFile(str(path), "a.json", path.stat().st_size, "jsonl")
    assert sum(len(chunk) for chunk in plan_chunks([file], 10_000)) == 1


@given(st.binary(max_size=80), st.integers(1, 40))
def test_what_does_not_begin_as_an_array_stays(content: bytes, size: int) -> None:
    if not content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        assert as_lines(b"x" + content, size) == b"x" + content


def documents(batches: list[Batch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.documents.to_pylist()]


ALPACA = [
    {"instruction": f"Say {number}.", "input": "", "output": f'"{number}", said\n[I].'}
    for number in range(400)
]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
def test_the_alpaca_file_as_it_was_published(tmp_path: Path, suffix: str) -> None:
    content = json.dumps(ALPACA, indent=4).encode()
    path = tmp_path / f"alpaca_data.json{suffix}"
    path.write_bytes(COMPRESS[suffix[1:]](content) if suffix else content)
    fields = Fields(messages_field="auto")
    batches = list(read(Span(str(path), path.name), "auto", "sft", fields))
    assert [row["messages"][1]["content"] for row in documents(batches)] == [
        record["output"] for record in ALPACA
    ]
    assert sum(batch.quarantine.num_rows for batch in batches) == 0
    assert sum(batch.bytes for batch in batches) == len(content)


def test_a_plain_array_is_not_cut_and_lines_are(tmp_path: Path) -> None:
    for name, content, pieces in (
        ("array.json", json.dumps(ALPACA), 1),
        ("lines.json", "\n".join(map(json.dumps, ALPACA)), 5),
        ("array.jsonl", json.dumps(ALPACA), 5),
    ):
        (tmp_path / name).write_text(content)
        size = len(content)
        file = InputFile(str(tmp_path / name), name, size, "jsonl")
        assert sum(len(chunk) for chunk in plan_chunks([file], size // 5 + 1)) == pieces


def test_a_bad_element_is_quarantined_alone_and_its_place_is_that_in_the_file(
    tmp_path: Path,
) -> None:
    content = b'\xef\xbb\xbf [\n {"text": "one"},\n nonsense,\n {"text":\n  "two"}\n]\n'
    path = tmp_path / "a.json"
    path.write_bytes(content)
    (batch,) = read(Span(str(path), "a.json"), "auto", "s", limits=Limits())
    assert batch.documents["text"].to_pylist() == ["one", "two"]
    (bad,) = batch.quarantine.to_pylist()
    assert bad["reason"] == "invalid_json"
    stretch = content[bad["offset"] : bad["offset"] + bad["length"]]
    assert stretch.strip() == b"nonsense"
    assert batch.records == 3
