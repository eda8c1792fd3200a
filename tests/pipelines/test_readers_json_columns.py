"""What the kernel reads of a line is what orjson and the rules for records say; what it does not
know it leaves to them.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.readers import Fields
from pipelines.readers.jsonl.columns import read_columns
from pipelines.readers.jsonl.lines import LineRun
from pipelines.readers.jsonl.records import DECLINED, READ, REST_IS_JSON
from pipelines.readers.jsonl.scan import PADDING
from pipelines.readers.jsonl.values import parse_record
from pipelines.readers.rows.records import RecordRejectedError, Row, row_of

NAMES = (
    "id",
    "text",
    "lang",
    "url",
    "license",
    "date",
    "meta",
    "other",
    "a",
    "ab",
    "é",
    "me\\ta",
    "",
)
ALPHABET = st.sampled_from(
    [*'ab"\\/\b\n\r\t\x1f\x7f \u2028é中\u3000𝄞', "long enough for a stride of bytes"]
)
STRINGS = st.lists(ALPHABET, max_size=6).map("".join)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    STRINGS,
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)
MEMBERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6)
FIELDS = st.sampled_from(
    [
        Fields(),
        Fields(id_field="id"),
        Fields(id_field="id", lang="en", license="l"),
        Fields(text_field="other", url_field="é"),
    ]
)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A record as somebody might spell it: any order, keys twice, spaces, escapes that need not
    be.
    """
    members = draw(
        st.permutations([("text", draw(STRINGS) + "t"), ("id", draw(STRINGS)), *draw(MEMBERS)])
    )
    ascii_only = draw(st.booleans())
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), ("\t,", " :\r")]))

    def spelled(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=ascii_only, separators=(comma, colon))
        return text.replace("/", "\\/") if ascii_only else text

    return (
        "{" + comma.join(spelled(name) + colon + spelled(value) for name, value in members) + "}"
    ).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A record in which a few bytes are others, missing or too many."""
    line = bytearray(draw(records()))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(line) - 1)) if line else 0
        piece = draw(
            st.sampled_from(
                [
                    b"",
                    b'"',
                    b"\\",
                    b"{",
                    b"}",
                    b"[",
                    b"]",
                    b",",
                    b":",
                    b"0",
                    b"-",
                    b"u",
                    b"\xed\xa0\x80",
                    b" ",
                ]
            )
        )
        line[place : place + draw(st.integers(0, 2))] = piece
    return bytes(line).replace(b"\n", b"")


def run_of(lines: list[bytes]) -> LineRun:
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    return LineRun(
        pa.array(starts, pa.int64()).to_numpy(),
        b"".join(line + b"\n" for line in lines) + bytes(PADDING),
        0,
    )


def expected(line: bytes, fields: Fields) -> Row | None:
    try:
        return row_of(parse_record(line), fields)
    except RecordRejectedError:
        return None


@settings(max_examples=500, deadline=None)
@given(lines=st.lists(records() | damaged(), min_size=1, max_size=6), fields=FIELDS)
@example(
    lines=[
        b'{"text":"t","meta":{"a":1,"b":{"c":2}},"a":3}',
        b'{"text":"t","meta":"m","meta":{"a":1}}',
    ],
    fields=Fields(),
)
@example(
    lines=[
        b'{"text":"t","a":1{"x":2}',
        b'{"text":"t","a":"\\ud800"}',
        b'{"text":"\\udc00\\ud800"}',
        b'{"text":"t","a":-0}',
    ],
    fields=Fields(),
)
@example(
    lines=[b'{"text":"t","meta":{"text":"inner","a":1}}', b'{"text":"t","meta":{"lang":"de"}}'],
    fields=Fields(lang="en"),
)
@example(
    lines=[
        '{"text":"Привет"}'.encode(),
        b'{"text":"\xe1\x9a\x80"}',
        b'{"text":"\xc2\x85\xc2\xa0"}',
        b'{"text":"\xc3\xa9"}',
    ],
    fields=Fields(),
)
@example(
    lines=[
        b'{"text":"t","a":1,}',
        b'{"text":"t"}}',
        b'{"text":"t"',
        b"{}",
        b"{,}",
        b'\xef\xbb\xbf{"text":"t"}',
        b"",
    ],
    fields=Fields(),
)
@example(
    lines=[
        b'{"text":"\\u3000\\u2028 "}',
        b'{"text":" \\n"}',
        b'{"text":""}',
        b'{"text":"t","meta":{}}',
    ],
    fields=Fields(),
)
@example(
    lines=[
        b'{"text":"t","b":1,"a":2,"b":3,"c":4}',
        b'{"text":"s","text":"t"}',
        b'{"\\u0074ext":"s","text":"t"}',
    ],
    fields=Fields(),
)
def test_a_line_that_is_read_is_the_row_of_its_record(lines: list[bytes], fields: Fields) -> None:
    run = run_of(lines)
    found = read_columns(run.held, run.starts, fields)
    if found is None:
        with pytest.raises(UnicodeDecodeError):
            run.held.decode()
        return
    columns, outcome = found
    for row, line in enumerate(lines):
        if outcome[row] != DECLINED:
            values = {name: column[row].as_py() for name, column in columns.items()}
            assert Row(**values) == expected(line, fields)


def test_usual_records_are_not_declined() -> None:
    lines = [
        b'{"id":"1","text":"One.\\nTwo: \\u00e9 \\ud834\\udd1e.","url":"http://x/","license":null,"source":"s","path":"a/b"}',
        b'{"id": 2, "text": "\xe4\xb8\xad", "meta": {"page": 3, "ok": true, "none": null}}',
        b'{"id":"3","text":"t","score":0.25,"tags":["a",{"b":[]}]}\r',
        b'{"id":"4","text":"t","meta":{"deep":{"er":1}}}',
    ]
    run = run_of(lines)
    found = read_columns(run.held, run.starts, Fields(id_field="id"))
    assert found is not None
    assert found[1].tolist() == [READ, READ, REST_IS_JSON, REST_IS_JSON]


def test_every_prefix_and_every_byte_of_a_record_is_told_from_a_record() -> None:
    line = b'{"text":"a\\u00e9\\n/","n":-12,"f":1.5e3,"meta":{"k":[1,{"x":null}],"t":true},"lang":"en"}'
    fields = Fields()
    lines = [line[:end] for end in range(len(line))]
    lines += [
        line[:place] + bytes([byte]) + line[place + 1 :]
        for place in range(len(line))
        for byte in b'"\\{}[],:0eu \x01z'
    ]
    run = run_of(lines)
    found = read_columns(run.held, run.starts, fields)
    assert found is not None
    columns, outcome = found
    for row, spelled in enumerate(lines):
        if outcome[row] != DECLINED:
            assert Row(
                **{name: column[row].as_py() for name, column in columns.items()}
            ) == expected(spelled, fields)
