"""The rank of each document under a keep policy, of columns in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from pipelines.keep_policy import KeepPolicy


def keep_order(policy: KeepPolicy, ids: pa.FixedSizeBinaryArray, columns: dict[str, Any]) -> NDArray[np.int64]:
    """Rank of each row in keep order, 0 = most wanted; a permutation of 0…n-1.

    ``columns``: those the policy names, but for ``id``, (n,) each. Missing values lose against present ones; what
    the policy leaves equal is ordered by id, so the order is total.
    """
    words = as_words(ids)
    rows = np.arange(len(ids), dtype=np.int64)
    order = pl.DataFrame({"id_high": words[:, 0], "id_low": words[:, 1], "row": rows, **columns}).sort(
        by=[*policy.sort_columns(), "id_high", "id_low"],
        descending=[*policy.sort_descending(), False, False],
        nulls_last=True,
    )["row"]
    rank = np.empty(len(ids), np.int64)
    rank[order.to_numpy()] = rows
    return rank
