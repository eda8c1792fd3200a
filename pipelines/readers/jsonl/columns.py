"""Lines of JSON objects into columns of documents, straight from the bytes: no Python object per
record.

    # lines: bytes, starts: (n + 1,) where each begins
    columns, outcome = read_columns(lines, starts, fields)

What is usual is read by a kernel, at about 2 GB/s; a line with anything it does not know
(malformed, a column of another type, a field given twice, no text) is declined and left to
:mod:`pipelines.readers.rows.plain`, which is the definition of what a line means. Of a record whose
further fields are not plain (nested values, fractions, escapes that have another spelling) only
those go through orjson.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.readers.jsonl.fields import SHORT
from pipelines.readers.jsonl.numbers import wide_rows
from pipelines.readers.jsonl.records import DECLINED, REST_IS_JSON, read_lines
from pipelines.readers.jsonl.scan import PADDING, Bytes, Ends
from pipelines.readers.rows.records import spread
from pipelines.readers.span import Fields


def read_columns(
    lines: bytes, starts: Ends, fields: Fields
) -> tuple[dict[str, pa.Array], Bytes] | None:
    """Columns of lines, and what became of each, (n,); rows of declined lines are not to be used.

    ``lines``: whole lines with their newlines, and :data:`PADDING` zero bytes. None where these
    fields or bytes are none for the kernel: conversations, one field for two columns, invalid
    UTF-8.
    """
    names = [
        fields.text_field,
        fields.id_field,
        fields.lang_field,
        fields.url_field,
        fields.license_field,
        fields.date_field,
    ]
    named = [name for name in names if name is not None]
    if fields.messages_field is not None or len(set(named)) < len(named) or not _valid_utf8(lines):
        return None
    keys = [b"" if name is None else name.encode("utf-8", "surrogatepass") for name in names]
    key_ends = np.cumsum([0, *map(len, keys)])
    wanted = np.array([name is not None for name in names])
    data = np.frombuffer(lines, np.uint8)
    rows, room = len(starts) - 1, int(starts[-1] - starts[0]) + PADDING
    outcome = np.empty(rows, np.uint8)
    texts, text_ends = np.empty(room, np.uint8), np.zeros(rows + 1, np.int64)
    short, short_ends, short_valid = (
        np.empty((5, room), np.uint8),
        np.zeros((5, rows + 1), np.int32),
        np.empty((5, rows), np.bool_),
    )
    rest, rest_ends = np.empty(room, np.uint8), np.zeros(rows + 1, np.int64)
    read_lines(
        data, starts, np.frombuffer(b"".join(keys) + b"\0", np.uint8), key_ends, wanted, texts,
        text_ends, short, short_ends, short_valid, rest, rest_ends, outcome,
    )  # fmt: skip
    columns = {
        "text": pa.Array.from_buffers(
            pa.large_string(), rows, [None, pa.py_buffer(text_ends), pa.py_buffer(texts)]
        )
    }
    for number, name in enumerate(SHORT):
        columns[name] = _strings(
            pa.string(), short_ends[number], short[number], short_valid[number]
        )
    for name, default in (("lang", fields.lang), ("license", fields.license)):
        columns[name] = _defaulted(columns[name], default)
    _decline_wide(rest, rest_ends, outcome)
    columns["meta"] = _meta(
        _strings(pa.large_string(), rest_ends, rest, rest_ends[1:] > rest_ends[:-1]),
        outcome,
        fields,
    )
    return columns, outcome


def _valid_utf8(lines: bytes) -> bool:
    whole = pa.LargeStringArray.from_buffers(
        1, pa.py_buffer(np.array([0, len(lines)], np.int64)), pa.py_buffer(lines)
    )
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _strings(
    kind: pa.DataType, ends: NDArray[Any], values: Bytes, valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    nulls = (
        None
        if valid is None or valid.all()
        else pa.py_buffer(np.packbits(valid, bitorder="little"))
    )
    content = pa.py_buffer(values[: ends[-1]].tobytes())
    return pa.Array.from_buffers(
        kind, len(ends) - 1, [nulls, pa.py_buffer(ends.tobytes()), content]
    )


def _defaulted(values: pa.Array, default: str | None) -> pa.Array:
    """What a record does not say, or says with nothing, is the default."""
    lengths = np.diff(np.frombuffer(values.buffers()[1], np.int32))
    if lengths.all():
        return values
    if not lengths.any():
        return pa.repeat(pa.scalar(default, pa.string()), len(values))
    return pa.array([value or default for value in values.to_pylist()], pa.string())


def _decline_wide(rest: Bytes, ends: Ends, outcome: Bytes) -> None:
    """Decline lines with an integer beyond 64 bits, which orjson would not keep as it is."""
    if (outcome == REST_IS_JSON).any():
        wide = np.empty(len(outcome), np.bool_)
        wide_rows(rest, ends, wide)
        outcome[wide & (outcome == REST_IS_JSON)] = DECLINED


def _meta(rest: pa.Array, outcome: Bytes, fields: Fields) -> pa.Array:
    """Further fields with sorted keys; lines whose further fields are no JSON become declined."""
    rows = np.flatnonzero(outcome == REST_IS_JSON)
    if not len(rows):
        return rest
    values = rest.to_pylist()
    for row in rows.tolist():
        try:
            fuller = spread(orjson.loads(values[row]), fields)
            values[row] = (
                orjson.dumps(fuller, option=orjson.OPT_SORT_KEYS).decode() if fuller else None
            )
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            values[row], outcome[row] = None, DECLINED
    return pa.array(values, pa.large_string())
