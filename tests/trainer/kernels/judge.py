"""How far a kernel may be from the truth: three times as far as torch in the same dtype, plus a
little (QuACK's rule).
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = {torch.float32: 2**-23, torch.float16: 2**-10, torch.bfloat16: 2**-7}
"""Distance of neighbouring values near 1. The interpreter cuts bf16 off instead of rounding it, so
this, not half of it.
"""


def assert_as_good_as_torch(found: Tensor, torch_in_dtype: Tensor, exact: Tensor) -> None:
    """``found`` against ``exact`` (fp64), allowed 3 times the largest error of ``torch_in_dtype``
    plus one rounding of the largest value.
    """
    assert found.shape == exact.shape
    assert found.dtype == torch_in_dtype.dtype
    assert bool(torch.isfinite(found).all())
    if not found.numel():
        return
    allowed = (
        3 * (torch_in_dtype.double() - exact).abs().max()
        + ROUNDING[found.dtype] * exact.abs().max()
        + 1e-5 * ROUNDING[found.dtype]
    )
    error = (found.double() - exact).abs().max()
    assert error <= allowed, f"error {error:.3e}, allowed {allowed:.3e}"


def draw(
    *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0
) -> Tensor:
    """Normal values of a shape, the same for a seed."""
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)
