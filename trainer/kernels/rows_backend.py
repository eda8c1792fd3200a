"""Which row kernel the loss uses on a GPU: Triton's, or the one in CUDA C++.

    from trainer.kernels import rows_backend
    rows_backend.use("cuda")

Triton's is the default until a measurement says otherwise. Where CUDA C++ is asked for and cannot
be had (no NVRTC, a card older than Hopper, a dtype it is not written for), Triton's runs instead
and the log says why, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from torch import Tensor

from trainer.kernels.cross_entropy_rows import launch_cross_entropy_rows
from trainer.kernels.cuda_rows import UnavailableError, launch_cuda_rows

Rows = Callable[[Tensor, Tensor, Tensor, int, float, float, bool], tuple[Tensor, Tensor]]
Backend = Literal["triton", "cuda"]

_log = logging.getLogger(__name__)
_chosen: Backend = "triton"


def use(backend: Backend) -> None:
    """Choose the row kernel for the rest of the process."""
    global _chosen
    if backend not in ("triton", "cuda"):
        raise ValueError(f"{backend!r} is no backend of the loss's rows; there are triton and cuda")
    _chosen = backend


def rows() -> Rows:
    """The kernel to launch: same arguments and results as
    :func:`trainer.kernels.cross_entropy_rows.launch_cross_entropy_rows`.
    """
    return launch_cross_entropy_rows if _chosen == "triton" else _cuda_or_triton


def _cuda_or_triton(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    scale: float,
    zeta: float,
    gradient: bool,
) -> tuple[Tensor, Tensor]:
    try:
        return launch_cuda_rows(logits, targets, weights, vocab_size, scale, zeta, gradient)
    except UnavailableError as reason:
        _log.warning("the loss's rows fall back to Triton: %s", reason)
        use("triton")
        return launch_cross_entropy_rows(
            logits, targets, weights, vocab_size, scale, zeta, gradient
        )
