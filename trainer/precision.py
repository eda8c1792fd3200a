"""In which precision a run computes.

    fp32    weights, moments, activations and every sum of products in 32 bits; sums that decide a figure in 64
    auto    what this device trains best in: on a CPU fp32, the only precision this release has

Torch has switches that would make fp32 something else in silence: another default type, and products that may be
rounded to bf16 inside. While a run lasts they stand where the name says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

DTYPES = {"fp32": torch.float32}


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[torch.dtype]:
    """Tensors of this type and products without rounding to less, while the block runs; yields the type.

    ``precision``: one of :data:`DTYPES`. Torch's switches are put back afterwards.
    """
    dtype = DTYPES[precision]
    before, products = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    torch.set_default_dtype(dtype)
    torch.set_float32_matmul_precision("highest")
    try:
        yield dtype
    finally:
        torch.set_default_dtype(before)
        torch.set_float32_matmul_precision(products)
