"""Which document goes into which part: one shuffle over the whole source, then cuts by tokens.

The order is that of the keyed hash of the id (ties by id), so it is the same however documents were
spread over chunks and needs no shared state. Parts hold whole documents and are of nearly equal
size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.ids import as_words, shown
from artifacts.keyed_hash import keyed_order

PART_TOKENS = 1 << 30


@dataclass(frozen=True)
class Part:
    """One part's documents in their final order: ``chunk`` and ``row`` (r,) int64, ``tokens`` in
    all.
    """

    chunk: NDArray[np.int64]
    row: NDArray[np.int64]
    tokens: int


def plan_parts(
    chunks: Sequence[tuple[pa.FixedSizeBinaryArray, NDArray[np.int64]]],
    key: int,
    part_tokens: int = PART_TOKENS,
    wanted: Sequence[NDArray[np.bool_]] | None = None,
) -> list[Part]:
    """Cut a source into shuffled parts of about ``part_tokens`` tokens.

    ``chunks``: for each encoded chunk its ids (n,) and token counts (n,); ``wanted``: the rows (n,)
    of each to take, default all. The number of parts is the total over ``part_tokens``, rounded; a
    document belongs to the part its first token falls into. Memory: about 50 bytes per document.
    Raises: UserError when an id occurs twice.
    """
    if part_tokens < 1:
        raise UserError("a part holds at least one token", field="part_tokens", found=part_tokens)
    if sum(len(ids) for ids, _ in chunks) == 0:
        return []
    ids = pa.concat_arrays([chunk_ids for chunk_ids, _ in chunks])
    counts = np.concatenate([np.asarray(chunk_counts, np.int64) for _, chunk_counts in chunks])
    chunk = np.repeat(np.arange(len(chunks)), [len(chunk_ids) for chunk_ids, _ in chunks])
    row = np.concatenate([np.arange(len(chunk_ids)) for chunk_ids, _ in chunks])
    if wanted is not None:
        taken = np.concatenate(wanted)
        ids, counts, chunk, row = (
            ids.filter(pa.array(taken)),
            counts[taken],
            chunk[taken],
            row[taken],
        )
        if not len(ids):
            return []
    order = keyed_order(ids, key)
    _check_unique(ids, order)
    ends = np.cumsum(counts[order])
    total = int(ends[-1])
    parts = max(1, (total + part_tokens // 2) // part_tokens)
    starts = ends - counts[order]
    # a part's first token, rounded up
    borders = [-(-total * part // parts) for part in range(1, parts)]
    cuts = [0, *np.searchsorted(starts, borders).tolist(), len(order)]
    spans = [(first, last) for first, last in pairwise(cuts) if last > first]
    return [
        Part(chunk[order[a:b]], row[order[a:b]], int(counts[order[a:b]].sum())) for a, b in spans
    ]


def _check_unique(ids: pa.FixedSizeBinaryArray, order: NDArray[np.int64]) -> None:
    words = as_words(ids)[order]
    same = np.flatnonzero((words[1:] == words[:-1]).all(axis=1))
    if len(same):
        raise UserError(
            "two documents of one source have the same id",
            field="id",
            found=shown(ids[int(order[same[0]])].as_py()),
            fix="quarantine the second before encoding; ids come from source name and key",
        )
