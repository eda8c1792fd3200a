"""Arrow text as the two numpy arrays a kernel reads, without a copy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def text_buffers(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """UTF-8 bytes (read-only view) and byte offsets (n + 1,) of an Arrow column, slices respected,
    nothing copied.

    Raises: TypeError if it is not a LargeStringArray, ValueError if it holds nulls.
    """
    if not isinstance(texts, pa.LargeStringArray):
        raise TypeError(f"texts must be a pyarrow LargeStringArray, not {type(texts).__name__}")
    if texts.null_count:
        raise ValueError(f"texts holds {texts.null_count} nulls; fill them before")
    _, offsets_buffer, values_buffer = texts.buffers()
    empty = len(texts) == 0  # then Arrow may leave the offsets out
    offsets = (
        np.zeros(1, np.int64)
        if empty
        else np.frombuffer(offsets_buffer, np.int64, len(texts) + 1, texts.offset * 8)
    )
    values = np.frombuffer(values_buffer if values_buffer is not None else b"", np.uint8)
    values.flags.writeable = False
    offsets.flags.writeable = False
    return values, offsets
