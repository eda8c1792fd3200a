"""JSON Lines from columns: the bytes that orjson would write."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.writers.json_lines import json_lines

CHARACTERS = "".join(chr(code) for code in [*range(0x81), 0x2028, 0xFEFF, 0xFFFD, 0x4E2D, 0x1F600])
TEXTS = st.text(
    st.one_of(st.sampled_from(CHARACTERS), st.characters(exclude_categories=["Cs"])), max_size=40
)
RESTS = st.none() | st.dictionaries(
    st.text(max_size=5), st.none() | st.integers(-5, 5) | st.lists(TEXTS, max_size=2), max_size=3
)
ROWS = st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS, RESTS), max_size=8)


def expected(
    row: tuple[str | None, str | None, dict[str, object] | None], names: tuple[str, str]
) -> bytes:
    line = orjson.dumps(
        {name: value for name, value in zip(names, row[:2], strict=True) if value is not None}
    )[1:-1]
    rest = orjson.dumps(row[2] or {}, option=orjson.OPT_SORT_KEYS)[1:-1]
    return b"{" + b",".join(part for part in (line, rest) if part) + b"}\n"


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 3), data=st.data())
def test_lines_are_those_of_orjson(
    rows: list[tuple[str | None, str | None, dict[str, object] | None]],
    cut: int,
    data: st.DataObject,
) -> None:
    names = ("text", 'na"me\n')
    first = pa.array([row[0] for row in rows], pa.large_string()).slice(cut)
    second = pa.array([row[1] for row in rows], pa.string()).slice(cut)
    rest = pa.array(
        [
            None if row[2] is None else orjson.dumps(row[2], option=orjson.OPT_SORT_KEYS).decode()
            for row in rows
        ],
        pa.large_string(),
    )
    there = rows[cut:]
    wanted = data.draw(
        st.lists(st.sampled_from(range(len(there))), unique=True) if there else st.just([])
    )
    columns = [(names[0], first), (names[1], second)]
    whole = json_lines(columns, rest.slice(cut)).tobytes()
    assert whole == b"".join(expected(row, names) for row in there)
    some = json_lines(columns, rest.slice(cut), np.array(wanted, np.int64)).tobytes()
    assert some == b"".join(expected(there[row], names) for row in wanted)


def test_every_character_is_escaped_as_orjson_does() -> None:
    texts = [*CHARACTERS, CHARACTERS]
    lines = json_lines([("t", pa.array(texts))], pa.nulls(len(texts), pa.large_string())).tobytes()
    assert lines == b"".join(orjson.dumps({"t": text}) + b"\n" for text in texts)
