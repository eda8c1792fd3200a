"""The selection of a chunk: which of its documents are still kept, and by which stage and why the
others went.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.schemas import SELECTION


def selection_after(
    size: pa.Table, previous: pa.Table | None, stage: str, drop: np.ndarray, reason: pa.Array
) -> pa.Table:
    """The selection of a chunk once the rows in ``drop`` (all kept so far) are dropped by
    ``stage``.
    """
    rows = len(size)
    kept = np.ones(rows, np.bool_) if previous is None else previous["kept"].to_numpy()
    stages = pa.nulls(rows, pa.string()) if previous is None else previous["stage"].combine_chunks()
    reasons = (
        pa.nulls(rows, pa.string()) if previous is None else previous["reason"].combine_chunks()
    )
    mask = pa.array(drop)
    return pa.table(
        [
            size["id"],
            size["text_hash"],
            pa.array(kept & ~drop),
            pc.if_else(mask, pa.scalar(stage), stages),
            pc.if_else(mask, reason, reasons),
        ],
        schema=SELECTION,
    )
