"""The row kernel of the loss in CUDA C++: each row is read once, by a cluster of blocks that hold
it in registers.

Why not Triton: a row of 122,816 bf16 logits is 245 KB, more than the 227 KB of shared memory and
nearly all the registers of a multiprocessor, so reading it once takes blocks that work together,
which Triton cannot launch. Bytes: one read and one write, 8.05 GB at 16,384 rows, 1.87 ms at 4.3
TB/s, against 12.1 GB of two reads.

The source is ``cross_entropy_rows.cu``; formula and arguments are those of
:mod:`trainer.kernels.cross_entropy_rows`. It is compiled at the first launch (about a second) for
the card at hand and launched through the driver on torch's current stream.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.kernels.nvrtc import CompileError, NoCompilerError, compile_cuda

SOURCE = Path(__file__).with_name("cross_entropy_rows.cu")
NAME = "cross_entropy_rows"
LANE = 8  # logits of one 16-byte access


class UnavailableError(RuntimeError):
    """Why this kernel cannot run here; Triton's can."""


@dataclass(frozen=True)
class Cluster:
    """Blocks that share a row: ``blocks`` of ``threads``, of which a multiprocessor is to hold
    ``resident``.
    """

    blocks: int = 8
    threads: int = 512
    resident: int = 2

    def vectors(self, width: int) -> int:
        """16-byte vectors of a thread for a row of ``width`` logits."""
        return -(-width // (LANE * self.blocks * self.threads))

    def macros(self, width: int, gradient: bool) -> dict[str, int]:
        """What the source is compiled with for rows of ``width``."""
        sizes = {"CLUSTER": self.blocks, "THREADS": self.threads, "RESIDENT": self.resident}
        return {**sizes, "VECTORS": self.vectors(width), "GRADIENT": int(gradient)}


EIGHT, TWO = Cluster(), Cluster(blocks=2, threads=512, resident=1)
"""Eight blocks of 512 threads need 64 registers a thread, so that a multiprocessor holds blocks of
two rows and one loads while the other writes; two fill it with one row. Four blocks, two of them
resident, spill 40 bytes a thread, as do two of 1024 threads.
"""


def machine_code(
    width: int, gradient: bool, cluster: Cluster = EIGHT, architecture: str = "sm_90a"
) -> bytes:
    """The kernel for rows of ``width`` logits. Needs NVRTC, no GPU. Raises: CompileError,
    NoCompilerError.
    """
    return compile_cuda(
        SOURCE.read_text(encoding="utf-8"),
        SOURCE.name,
        architecture,
        cluster.macros(width, gradient),
    )


@functools.cache
def _function(device: int, width: int, gradient: bool, cluster: Cluster) -> ctypes.c_void_p:
    """The loaded kernel on a device, whose context torch has made current."""
    major, minor = torch.cuda.get_device_capability(device)
    if major < 9:
        raise UnavailableError(
            f"clusters of blocks need compute capability 9.0, this card has {major}.{minor}"
        )
    try:
        code = machine_code(width, gradient, cluster, f"sm_{major}{minor}a")
    except (NoCompilerError, CompileError) as reason:
        raise UnavailableError(str(reason)) from reason
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _check(_driver().cuModuleLoadData(ctypes.byref(module), code))
    _check(_driver().cuModuleGetFunction(ctypes.byref(function), module, NAME.encode()))
    return function


@functools.cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as reason:
        raise UnavailableError(f"the CUDA driver's library: {reason}") from reason


def _check(code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(code, ctypes.byref(text))
        raise UnavailableError(f"CUDA driver: {(text.value or b'unknown error').decode()} ({code})")


def launch_cuda_rows(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    scale: float,
    zeta: float,
    gradient: bool,
    cluster: Cluster = EIGHT,
) -> tuple[Tensor, Tensor]:
    """As :func:`trainer.kernels.cross_entropy_rows.launch_cross_entropy_rows`, for bf16 on Hopper
    and later. Raises: UnavailableError.
    """
    rows, width = logits.shape
    if (
        logits.dtype != torch.bfloat16
        or logits.stride(0) % LANE
        or width % LANE
        or logits.data_ptr() % 16
    ):
        raise UnavailableError(
            f"rows of {width} {logits.dtype} with stride {logits.stride(0)}: it takes bf16 in "
            f"whole vectors of {LANE}"
        )
    nll, lse = (torch.empty(rows, dtype=torch.float32, device=logits.device) for _ in range(2))
    if not rows:
        return nll, lse
    targets, weights = targets.contiguous(), weights.float().contiguous()
    with torch.cuda.device(logits.device):
        function = _function(torch.cuda.current_device(), width, gradient, cluster)
        pointers = [
            ctypes.c_void_p(tensor.data_ptr()) for tensor in (logits, targets, weights, nll, lse)
        ]
        figures = [
            ctypes.c_longlong(logits.stride(0)),
            ctypes.c_int(vocab_size),
            ctypes.c_int(width),
            ctypes.c_float(scale),
        ]
        arguments: list[Any] = [*pointers, *figures, ctypes.c_float(zeta)]
        listed = (ctypes.c_void_p * len(arguments))(
            *(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in arguments)
        )
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        _check(
            _driver().cuLaunchKernel(
                function,
                rows * cluster.blocks,
                1,
                1,
                cluster.threads,
                1,
                1,
                0,
                stream,
                listed,
                None,
            )
        )
    return nll, lse
