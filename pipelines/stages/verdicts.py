"""What a choosing step says of rows: the first reason of each, and whom its rule sets are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True)
class Judged:
    """Which rows each rule set was applied to; those of another language it says nothing about.

    sets: by rule set, (n,). languages: of the documents, (n,), null where none is known.
    """

    sets: Mapping[str, NDArray[np.bool_]]
    languages: pa.StringArray

    def facts(self, entering: NDArray[np.bool_]) -> dict[str, Any]:
        """Counts of the documents that enter the step: judged by each rule set, not judged by any,
        by language, and of no known language.
        """
        anyone = np.logical_or.reduce([*self.sets.values()])
        others = self.languages.filter(pa.array(entering & ~anyone))
        unknown = self.languages.is_null().to_numpy(zero_copy_only=False)
        counts = sorted(
            (pair["values"], pair["counts"]) for pair in pc.value_counts(others).to_pylist()
        )
        return {
            "judged": {name: int((entering & rows).sum()) for name, rows in self.sets.items()},
            "not_judged": dict(counts),
            "language_not_known": int((entering & unknown).sum()),
        }


def first_reason(names: Sequence[str], rules: NDArray[np.uint64]) -> pa.StringArray:
    """The name of the lowest set bit of each row, null where none is set."""
    lowest = rules & (~rules + np.uint64(1))
    index = np.where(rules == 0, 0, np.log2(np.maximum(lowest, 1).astype(np.float64))).astype(
        np.int32
    )
    indices = pa.array(index, mask=rules == 0)
    return pa.DictionaryArray.from_arrays(
        indices, pa.array(list(names), pa.string())
    ).dictionary_decode()
