"""Texts of a few chosen documents, found by id or by place, read chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.visible_text import visible
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.corpus.texts import ChunkTexts, sound_texts

MOST_CHARACTERS = 200_000  # of a document held for the report
Place = tuple[int, int]  # (chunk number, row)
Id = tuple[int, int]


@dataclass(frozen=True)
class Excerpt:
    """A document as the report shows it: the beginning of its current text, with what identifies
    it.
    """

    id: str  # 32 hex digits
    native_id: str
    source: str
    url: str
    text: str


def id_of(shown: str) -> Id:
    """The id that is shown as these 32 hex digits."""
    return int(shown[:16], 16), int(shown[16:], 16)


class Places:
    """Where documents of given ids lie; asked chunk by chunk."""

    def __init__(self, wanted: Iterable[Id]) -> None:
        ordered = sorted(set(wanted))
        self._ids = ordered
        self._high = np.array([high for high, _ in ordered], np.uint64)
        self.found: dict[Id, Place] = {}

    def add(self, columns: ChunkColumns) -> None:
        if not self._ids:
            return
        for row in np.flatnonzero(np.isin(columns.ids[:, 0], self._high)):
            key = (int(columns.ids[row, 0]), int(columns.ids[row, 1]))
            if key in self._ids:
                self.found[key] = (columns.chunk.number, int(row))


def read_excerpts(
    store: Store, chunks: Sequence[Chunk], places: Iterable[Place]
) -> Mapping[Place, Excerpt]:
    """The documents at the given places; only chunks that hold one are opened."""
    rows: dict[int, list[int]] = {}
    for number, row in sorted(set(places)):
        rows.setdefault(number, []).append(row)
    found: dict[Place, Excerpt] = {}
    for chunk in chunks:
        if chunk.number in rows:
            with sound_texts(store, chunk):
                found.update(_read_chunk(store, chunk, np.array(rows[chunk.number], np.int64)))
    return found


def _read_chunk(store: Store, chunk: Chunk, rows: NDArray[np.int64]) -> dict[Place, Excerpt]:
    found: dict[Place, Excerpt] = {}
    start = 0
    for batch in ChunkTexts(store, chunk).batches():
        low, high = np.searchsorted(rows, [start, start + batch.num_rows])
        for row in rows[low:high]:
            value = {
                name: batch[name][int(row) - start].as_py()
                for name in ("id", "native_id", "url", "text")
            }
            text = visible(value["text"][:MOST_CHARACTERS])
            found[chunk.number, int(row)] = Excerpt(
                value["id"].hex(),
                visible(value["native_id"] or ""),
                chunk.source,
                visible(value["url"] or ""),
                text,
            )
        start += batch.num_rows
        if high == len(rows):
            break
    return found


def one_line(text: str, characters: int, start: int = 0) -> str:
    """About ``characters`` of a text on one line, from the first word after ``start``, with marks
    where it was cut.
    """
    if start:
        space = text.find(" ", start, start + 20)
        start = space + 1 if space >= 0 else start
    cut = " ".join(text[start : start + 2 * characters].split())
    whole = len(cut) <= characters and start + 2 * characters >= len(text)
    return ("… " if start else "") + (cut if whole else cut[:characters].rstrip() + " …")
