"""Strides of bytes are what a loop over the bytes says they are."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from artifacts.strides import STRIDE, copy_stride, plain_bytes


@given(content=st.binary(min_size=STRIDE, max_size=3 * STRIDE), at=st.integers(0, 2 * STRIDE))
@example(content=b"a" * 40, at=3)
@example(content=b"\x7f\x80\xff" * 20, at=0)
@example(content=b"x" * (STRIDE - 1) + b'"', at=0)
def test_plain_bytes_end_before_the_first_that_json_escapes(content: bytes, at: int) -> None:
    at = min(at, len(content) - STRIDE)
    stride = content[at : at + STRIDE]
    expected = next(
        (place for place, byte in enumerate(stride) if byte < 0x20 or byte in b'"\\'), STRIDE
    )
    assert plain_bytes(np.frombuffer(content, np.uint8), at) == expected


@given(content=st.binary(min_size=STRIDE, max_size=2 * STRIDE), place=st.integers(0, 20))
def test_a_stride_is_copied_and_nothing_beside_it(content: bytes, place: int) -> None:
    data = np.frombuffer(content, np.uint8)
    at = len(content) - STRIDE
    out = np.full(STRIDE + 40, 7, np.uint8)
    copy_stride(data, at, out, place)
    assert out.tobytes() == b"\7" * place + content[at:] + b"\7" * (40 - place)
