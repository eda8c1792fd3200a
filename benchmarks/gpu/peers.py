"""The same operations by others: torch compiled, Liger and QuACK where they can be imported.

A peer that has nothing for an operation is left out; one that fails says how. Neither Liger nor
QuACK knows the scale of a residual branch or z-loss with weights per token, so there they do less
than ours and the comparison favours them. Where a peer takes its inputs in another form than a
packed product (halves of SwiGLU apart, tables of both halves for RoPE), bringing them into it is
timed with it, forward and backward: a model that has the packed product pays for that. Liger's and
QuACK's own figures, with inputs as they like them, are better.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.operations import Operation

Run = Callable[..., Any]
# stands beside the one without CUDA C++, whose peers are its own
ALONE = ("linear_cross_entropy, CUDA C++ rows",)
NOTHING_TO_FUSE = ("attention", "attention, packed", "float8_linear")


def variants(operation: Operation, backend: str = "inductor") -> dict[str, Run | str]:
    """Functions of the operation's arguments by name; text where a peer could not be had."""
    if operation.name in ALONE:
        return {}
    found: dict[str, Run | str] = {"torch": operation.plain}
    if operation.name not in NOTHING_TO_FUSE:
        found["torch.compile"] = torch.compile(operation.plain, dynamic=False, backend=backend)
    for name, makers in {"liger": LIGER, "quack": QUACK}.items():
        if operation.name in makers:
            try:
                found[name] = makers[operation.name]()
            except Exception as error:  # whatever a peer's import comes to is that peer's result
                found[name] = f"{type(error).__name__}: {error}"
    return found


def _of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _liger_rms_norm() -> Run:
    function = _of("liger_kernel.ops.rms_norm", "LigerRMSNormFunction")
    return lambda x, weight, eps: function.apply(x, weight, eps)


def _liger_residual_norm() -> Run:
    function = _of("liger_kernel.ops.fused_add_rms_norm", "LigerFusedAddRMSNormFunction")

    def run(
        branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
    ) -> tuple[Tensor, Tensor]:
        y, stream = function.apply(branch, residual, weight, eps)
        return stream, y

    return run


def _liger_swiglu() -> Run:
    function = _of("liger_kernel.ops.swiglu", "LigerSiLUMulFunction")
    return lambda gate_up: function.apply(*(part.contiguous() for part in gate_up.chunk(2, -1)))


def _liger_loss() -> Run:
    function = _of(
        "liger_kernel.transformers.fused_linear_cross_entropy", "LigerFusedLinearCrossEntropyLoss"
    )(reduction="sum")
    return lambda hidden, head, targets, weights, vocab_size, *_: (
        function(head[:vocab_size], hidden, targets),
    )


def _liger_rotated_qkv() -> Run:
    function = _of("liger_kernel.ops.rope", "LigerRopeFunction")

    def run(qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, kv_heads: int) -> tuple[Tensor, ...]:
        q, k, v = (part.transpose(1, 2) for part in qkv.split((heads, kv_heads, kv_heads), 2))
        twice = [torch.cat((table, table), -1)[:, :, 0].to(qkv.dtype) for table in (cos, sin)]
        return (*function.apply(q, k, *twice), v)

    return run


def _quack_rms_norm() -> Run:
    function = _of("quack", "rmsnorm")
    return lambda x, weight, eps: function(x, weight, eps=eps)


def _quack_loss() -> Run:
    function = _of("quack.linear_cross_entropy", "chunked_linear_cross_entropy")
    return lambda hidden, head, targets, weights, vocab_size, *_: (
        function(hidden, head[:vocab_size], targets, reduction="sum"),
    )


LIGER: dict[str, Callable[[], Run]] = {
    "rms_norm": _liger_rms_norm,
    "residual_norm": _liger_residual_norm,
    "swiglu": _liger_swiglu,
    "rotated_qkv": _liger_rotated_qkv,
    "linear_cross_entropy": _liger_loss,
}
QUACK: dict[str, Callable[[], Run]] = {
    "rms_norm": _quack_rms_norm,
    "linear_cross_entropy": _quack_loss,
}
