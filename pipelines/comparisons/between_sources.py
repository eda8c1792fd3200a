"""Between which sources a comparison removed documents: of one source, in favour of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.view import CorpusView
from pipelines.stages.base import CorpusVerdict

FACT = "in_favour_of"


def cross_source(view: CorpusView, verdict: CorpusVerdict) -> dict[str, dict[str, dict[str, int]]]:
    """The fact of a comparison, see :func:`in_favour_of`."""
    numbers = np.array([view.sources.index(chunk.source) for chunk in view.chunks], np.int64)
    return in_favour_of(
        view.sources,
        _sources(view, numbers, verdict.document),
        _sources(view, numbers, verdict.kept_row),
    )


def in_favour_of(
    sources: Sequence[str], removed: NDArray[np.int64], kept: NDArray[np.int64]
) -> dict[str, dict[str, dict[str, int]]]:
    """``{FACT: {source of the removed: {source of the document that stands for it: documents}}}``,
    both in the order of the recipe.

    removed, kept: (n,) places in ``sources``, of the removed documents and of those that stand for
    them.
    """
    count = len(sources)
    table = np.bincount(removed * count + kept, minlength=count * count).reshape(count, count)
    rows = {}
    for one, row in zip(sources, table.tolist(), strict=True):
        rows[one] = {
            other: documents for other, documents in zip(sources, row, strict=True) if documents
        }
    return {FACT: {one: row for one, row in rows.items() if row}}


def _sources(
    view: CorpusView, numbers: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The source, by its number, of each row."""
    return (
        numbers[np.searchsorted(view.starts, rows, side="right") - 1]
        if len(rows)
        else np.zeros(0, np.int64)
    )
