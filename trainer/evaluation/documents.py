"""Which held-out documents a model is measured on, and in which windows they lie.

    stream, bytes of each id ─ chosen ─▶ whole documents, up to so many bytes
    documents ─ groups ─▶ groups of about equal bytes ─ windows ─▶ pieces of windows, packed

Documents are chosen and grouped by their order in the shards and their bytes of text. Neither
depends on the tokenizer, so two tokenizers are measured on the same texts. A group stands for a
draw of documents: how much the groups' losses differ says how sure the loss of all of them is.

Shapes: n documents, m pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixtures.loader.fill import FIRST, LENGTH, PLACE, ROW, SOURCE
from mixtures.loader.windows import PIECE
from mixtures.parts.stream import SourceStream
from mixtures.sequences.packing import pack

Ints = NDArray[np.int64]

GROUPS = 16
"""Groups of a source with as many documents or more."""


@dataclass(frozen=True)
class Documents:
    """Documents of a source: ``starts`` (n,) places in its stream, ``tokens`` (n,) with EOS,
    ``bytes`` (n,) of text.
    """

    starts: Ints
    tokens: Ints
    bytes: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Documents:
        """Some of them."""
        return Documents(self.starts[rows], self.tokens[rows], self.bytes[rows])


def chosen(stream: SourceStream, sizes: Ints, budget: int | None) -> Documents:
    """The first documents of a source whose texts reach ``budget`` bytes together, all of them
    where it is None. Longer documents than that are passed by, unless there are no others.

    ``sizes`` (V,): bytes each id decodes to.
    """
    found: list[Documents] = []
    longer: Documents | None = None
    reached = 0
    for documents in _documents(stream, sizes):
        fitting = documents.bytes <= budget if budget is not None else documents.bytes >= 0
        short = documents.at(fitting)
        if budget is not None:
            short = short.at(reached + np.cumsum(short.bytes) - short.bytes < budget)
        found.append(short)
        reached += int(short.bytes.sum())
        if longer is None and not fitting.all():
            longer = documents.at(np.flatnonzero(~fitting)[:1])
        if budget is not None and reached >= budget:
            break
    if longer is not None and not any(len(part) for part in found):
        return longer
    return _joined(found)


def groups(documents: Documents) -> Iterator[Documents]:
    """The documents in order as :data:`GROUPS` groups of about equal bytes, or of one each."""
    number = np.arange(len(documents))
    if len(documents) > GROUPS:
        before = np.cumsum(documents.bytes) - documents.bytes
        number = before * GROUPS // max(1, int(documents.bytes.sum()))
    for group in np.unique(number):
        yield documents.at(number == group)


def windows(documents: Documents, length: int) -> Ints:
    """Pieces (m, 5) of windows of ``length`` tokens that hold the documents, by row and place;
    longer documents are cut.
    """
    offsets = np.concatenate([[0], np.cumsum(documents.tokens)]).astype(np.int64)
    packing = pack(offsets, length)
    document = np.searchsorted(offsets, packing.start, "right") - 1
    row = np.repeat(np.arange(packing.windows), np.diff(packing.first))
    ends = np.cumsum(packing.tokens)
    before = np.concatenate([[0], ends])[packing.first[:-1]]
    pieces = np.empty((len(packing.start), PIECE), np.int64)
    pieces[:, ROW] = row
    pieces[:, PLACE] = ends - packing.tokens - before[row]
    pieces[:, SOURCE] = 0
    pieces[:, FIRST] = documents.starts[document] + packing.start - offsets[document]
    pieces[:, LENGTH] = packing.tokens
    return pieces


def _documents(stream: SourceStream, sizes: Ints) -> Iterator[Documents]:
    """The documents that have tokens, a record batch at a time."""
    for batch in stream.batches(0, stream.tokens):
        offsets = np.asarray(batch.offsets, np.int64)
        ends = np.concatenate([[0], np.cumsum(sizes[batch.values])]).astype(np.int64)
        documents = Documents(batch.start + offsets[:-1], np.diff(offsets), np.diff(ends[offsets]))
        yield documents.at(documents.tokens > 0)


def _joined(parts: list[Documents]) -> Documents:
    columns = (
        np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])
        for name in ("starts", "tokens", "bytes")
    )
    return Documents(*columns)
