"""A few documents that every source keeps, drawn at random, the same ones in every report.

Ids are hashes, so the documents with the smallest ones are a sample of all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.corpus.excerpts import Excerpt, Place, one_line

SAMPLES = 3
"""Documents of a source."""

SOURCES = 24
"""The sources that keep most have samples."""

SNIPPET = 300  # characters


@dataclass
class KeptSamples:
    """Kept documents by source, a chunk at a time: how many, and the places of those drawn.

    ``hidden``: ids of documents that are not shown, as they were taken down.
    """

    hidden: Collection[tuple[int, int]] = ()
    kept: dict[str, int] = field(default_factory=dict)
    _drawn: dict[str, list[tuple[tuple[int, int], Place]]] = field(default_factory=dict)

    def add(self, columns: ChunkColumns) -> None:
        rows = np.flatnonzero(columns.kept)
        source = columns.chunk.source
        self.kept[source] = self.kept.get(source, 0) + len(rows)
        rows = rows[~self._hidden(columns.ids[rows])] if self.hidden else rows
        ids = columns.ids[rows]
        if len(rows) > SAMPLES:
            first = ids[:, 0] <= np.partition(ids[:, 0], SAMPLES - 1)[SAMPLES - 1]
            rows, ids = rows[first], ids[first]
        near = [
            ((int(id_[0]), int(id_[1])), (columns.chunk.number, int(row)))
            for id_, row in zip(ids, rows, strict=True)
        ]
        self._drawn[source] = sorted([*self._drawn.get(source, []), *near])[:SAMPLES]

    def _hidden(self, ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which ids, (n, 2), are of documents that are not shown, (n,)."""
        mask: NDArray[np.bool_] = np.isin(
            ids[:, 0], np.array([high for high, _ in self.hidden], np.uint64)
        )
        mask[mask] = [(int(high), int(low)) in self.hidden for high, low in ids[mask]]
        return mask

    def places(self) -> Iterator[tuple[str, list[Place]]]:
        """Places of the documents drawn, by source, of the sources that keep most."""
        largest = sorted(self.kept, key=lambda source: (-self.kept[source], source))[:SOURCES]
        for source in largest:
            if self._drawn[source]:
                yield source, [place for _, place in self._drawn[source]]


def kept_section(kept: KeptSamples, excerpts: Mapping[Place, Excerpt]) -> list[dict[str, Any]]:
    """The documents drawn of every source, those that keep most first."""
    rows = []
    for source, places in kept.places():
        documents = [excerpts[place] for place in places if place in excerpts]
        samples = [
            {"document": document, "text": one_line(document.text, SNIPPET)}
            for document in documents
        ]
        rows.append({"source": source, "documents": kept.kept[source], "samples": samples})
    return rows
