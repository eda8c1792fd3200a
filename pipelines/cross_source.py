"""Between which sources a comparison removed documents: of one source, in favour of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus_view import CorpusView
from pipelines.stages.base import CorpusVerdict

FACT = "in_favour_of"


def cross_source(view: CorpusView, verdict: CorpusVerdict) -> dict[str, dict[str, dict[str, int]]]:
    """``{FACT: {source of the removed: {source of the document that stands for it: documents}}}``, both in the order of the recipe."""
    numbers = np.array([view.sources.index(chunk.source) for chunk in view.chunks], np.int64)
    removed, kept = _sources(view, numbers, verdict.document), _sources(view, numbers, verdict.kept_row)
    count = len(view.sources)
    table = np.bincount(removed * count + kept, minlength=count * count).reshape(count, count)
    rows = {}
    for one, row in zip(view.sources, table.tolist(), strict=True):
        rows[one] = {other: documents for other, documents in zip(view.sources, row, strict=True) if documents}
    return {FACT: {one: row for one, row in rows.items() if row}}


def _sources(view: CorpusView, numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The source, by its number, of each row."""
    return numbers[np.searchsorted(view.starts, rows, side="right") - 1] if len(rows) else np.zeros(0, np.int64)
