"""What a rule looked at: the measure of every document of a chunk, and whether it breaks the
rule.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.signals.rules import Rule


def measured(columns: ChunkColumns, rule: Rule) -> NDArray[np.float64] | None:
    """The rule's measure, (n,), nan where there is none; None where nobody measured it."""
    values = columns.column(rule.column)
    per = None if rule.per is None else columns.column(rule.per)
    if values is None or (rule.per is not None and per is None):
        return None
    plain: NDArray[np.float64] = pc.cast(values, "float64").to_numpy()
    if per is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = plain / pc.cast(per, "float64").to_numpy()
    return plain


def counts(columns: ChunkColumns, rule: Rule) -> bool:
    """Whether the rule's measure is a whole number."""
    values = columns.column(rule.column)
    return rule.per is None and values is not None and pa.types.is_integer(values.type)


def broken(rule: Rule, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a measure breaks the rule, whatever other rules say."""
    where: NDArray[np.bool_] = (
        values < rule.threshold if rule.comparison == "<" else values > rule.threshold
    )
    return where


def measure_name(rule: Rule) -> str:
    """What the rule looks at, in words."""
    return rule.column if rule.per is None else f"{rule.column} per {rule.per}"
