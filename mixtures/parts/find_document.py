"""Find a document by its id without an index.

A source's parts hold its documents in the order of a keyed hash of their ids
(:mod:`tokenizer.shards.shuffle`), one such order for each time documents were added. So a document
is found by bisection: a few dozen ids are read, whatever the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.ids import as_words
from artifacts.keyed_hash import keyed_hash
from mixtures.parts.stream import SourceStream, StreamBatch

Key = tuple[int, int, int]


@dataclass(frozen=True)
class Found:
    """A document of stream ``source``: row ``row`` of part ``part``, tokens ``start`` to ``stop`` -
    1 of the stream.
    """

    source: int
    part: int
    row: int
    start: int
    stop: int


def find_document(streams: Sequence[SourceStream], document: str) -> Found:
    """Where a document lies; ``document`` is 32 hex digits. Raises: UserError when it is no id or
    no stream holds it.
    """
    try:
        wanted = pa.array([bytes.fromhex(document)], pa.binary(16))
    except (ValueError, pa.ArrowInvalid):
        raise UserError("an id is 32 hex digits", field="id", found=document) from None
    for index, stream in enumerate(streams):
        key = int(stream.files.manifest.shuffle_key, 16)
        records = stream.files.manifest.parts[: len(stream.pinned.parts)]
        for append in dict.fromkeys(part.append for part in records):
            parts = [
                number for number, part in enumerate(records) if part.append == append and part.rows
            ]
            found = _bisect(stream, parts, _order_key(wanted, key), key)
            if found is not None:
                part, row = found
                batch, inside = _row(stream, part, row)
                start = batch.start + int(batch.offsets[inside])
                return Found(index, part, row, start, batch.start + int(batch.offsets[inside + 1]))
    raise UserError(
        "no source of the plan holds this document",
        field="id",
        found=document,
        fix=("ask why: ", Command("corpus explain ID --run RUN")),
    )


def _bisect(
    stream: SourceStream, parts: list[int], wanted: Key, key: int
) -> tuple[int, int] | None:
    """(part, row) of the document with an order key, in parts of one shuffle."""
    rows = np.concatenate([[0], np.cumsum([stream.pinned.parts[part].rows for part in parts])])
    low, high = 0, int(rows[-1])
    while low < high:
        middle = (low + high) // 2
        place = int(np.searchsorted(rows, middle, "right")) - 1
        part, row = parts[place], middle - int(rows[place])
        batch, inside = _row(stream, part, row)
        here = _order_key(batch.record.column("id").slice(inside, 1), key)
        if here == wanted:
            return part, row
        low, high = (middle + 1, high) if here < wanted else (low, middle)
    return None


def _row(stream: SourceStream, part: int, row: int) -> tuple[StreamBatch, int]:
    _, rows = stream.layout(part)
    number = int(np.searchsorted(rows, row, "right")) - 1
    return stream.batch(part, number), row - int(rows[number])


def _order_key(ids: pa.FixedSizeBinaryArray, key: int) -> Key:
    """What the shuffle sorts by: the hash, and for equal hashes the id."""
    words = as_words(ids)
    return int(keyed_hash(ids, key)[0]), int(words[0, 0]), int(words[0, 1])
