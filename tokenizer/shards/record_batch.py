"""One record batch of a part: from the bytes of its recorded range, and whether it is safe to read.

Kernels follow a batch's offsets without a bounds check, so nothing leaves :func:`open_batch`
unchecked.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.commands import Command
from artifacts.errors import UserError


def open_batch(buffer: pa.Buffer | bytes, schema: pa.Schema, file: object = None) -> pa.RecordBatch:
    """The record batch whose IPC message (metadata and body) these bytes are, without a copy.

    ``buffer``: the range of a :class:`~tokenizer.shards.part_index.BatchRange`, a slice of a mapped
    file or as fetched. ``schema``: :func:`tokenizer.shards.format.shard_schema` of the source's
    token type. ``file`` is named in errors. Raises: UserError when the bytes are no record batch of
    the schema, or it is not sound (:func:`unsound`).
    """
    try:
        batch = decode_batch(buffer, schema)
        problem = unsound(batch)
    except pa.ArrowException as error:
        problem = str(error)
    if problem is not None:
        raise UserError(
            "not a sound record batch",
            file=file,
            found=problem,
            fix=(Command("shards verify RUN"), " names the damage; then restore the part"),
        )
    return batch


def decode_batch(buffer: pa.Buffer | bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The batch as the bytes have it, not yet checked. Raises: pa.ArrowInvalid when they are no
    record batch of the schema.
    """
    try:
        message = pa.ipc.read_message(buffer)
        if message.type != "record batch":
            raise pa.ArrowInvalid(f"the message is a {message.type}")
        return pa.ipc.read_record_batch(message, schema)
    except (OSError, EOFError) as error:
        raise pa.ArrowInvalid(str(error)) from None


def unsound(batch: pa.RecordBatch) -> str | None:
    """Why a batch of a part must not be read, or None.

    Sound: :func:`unreadable` has nothing against it, and spans lie inside their documents.
    """
    problem = unreadable(batch)
    if problem is not None or not batch.num_rows:
        return problem
    beyond = rows_with_bad_spans(
        batch.column("trainable"), np.diff(batch.column("tokens").offsets.to_numpy())
    )
    return (
        f"target spans of row {beyond[0]} are empty, overlap or reach past its end"
        if len(beyond)
        else None
    )


def unreadable(batch: pa.RecordBatch) -> str | None:
    """Why following a batch's offsets would not be safe, or None.

    Safe: buffers as long as the rows need, offsets that start at 0 or above, do not decrease and
    end within the values, and no null where none may be.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowException as error:
        return str(error)
    for name in ("id", "text_hash", "tokens"):
        if batch.column(name).null_count:
            return f"a null in {name}, where none may be"
    spans = batch.column("trainable").values
    if spans.null_count or spans.field("start").null_count or spans.field("end").null_count:
        return "a null in a span of trainable, where none may be"
    return None


def rows_with_bad_spans(spans: pa.ListArray, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows whose spans are not ascending, apart, nonempty and inside the document; ``lengths``
    (rows,) in tokens.
    """
    ends_of_rows = spans.offsets.to_numpy().astype(np.int64)
    starts = spans.values.field("start").to_numpy().astype(np.int64)
    ends = spans.values.field("end").to_numpy().astype(np.int64)
    owner = np.searchsorted(ends_of_rows, np.arange(len(starts)), "right") - 1
    inside = (owner >= 0) & (owner < len(lengths))
    starts, ends, owner = starts[inside], ends[inside], owner[inside]
    bad = (starts >= ends) | (ends > lengths[owner])
    bad[1:] |= (owner[1:] == owner[:-1]) & (starts[1:] < ends[:-1])
    return np.unique(owner[bad])
