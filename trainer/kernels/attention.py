"""Causal attention inside documents: torch's own kernels, chosen by device, dtype and shape.

    CPU, fp32 on a GPU
        rows of one document each    ``scaled_dot_product_attention``, causal
        packed documents             the same with the mask of :mod:`trainer.kernels.attention_mask`
    bf16 and fp16 on a GPU
        rows of one document each    ``scaled_dot_product_attention``, by cuDNN or flash attention
        packed documents             ``torch.nn.attention.varlen.varlen_attn``, which skips what is
                                     masked

Deterministic algorithms, in which training runs, exclude cuDNN: there it is flash attention with
its deterministic backward, which is slower; how much is to be measured.

No kernel of our own: with heads of 64 and causal masking the known kernels reach about 400 TFLOP/s
on Hopper (forward 0.31 TFLOP and backward 0.77 per layer at 16,384 tokens of the 2.4B), and cuDNN
and FlashAttention-3 differ by 7% (arXiv 2407.08608). One is built only when a measurement
(benchmarks/gpu/questions.py) shows 15% to gain.

Where documents begin is found once per forward pass, not per layer::

    bounds = document_bounds(documents, tokens.device)
    mixed = attention(q, k, v, scale, bounds)

Give ``documents`` on the CPU, where the batch was made: how many they are is then known without
waiting for the GPU, and there are as many offsets as documents (rounded up to a power of two, so
that compiled code sees few shapes). ``documents`` on the GPU are not waited for either, but any
token might begin a document there: there are as many offsets as tokens, and the kernel has to look
at many empty documents.

Shapes: B rows, T tokens, H query heads, G key-value heads, K head_dim, N = B T tokens of all rows,
S documents.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer.kernels.attention_mask import document_mask
from trainer.kernels.grid import next_power_of_two

HALF = (torch.bfloat16, torch.float16)
FASTEST = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float, documents: Tensor | None) -> Tensor:
    """Mixed values (B, H, T, K) of ``q`` (B, H, T, K), ``k`` and ``v`` (B, G, T, K), G a divisor of
    H.

    ``documents`` is what :func:`document_bounds` made for this device: None where rows are one
    document each, on a CPU the mask (B, 1, T, T), on a GPU offsets (S + 1,) int32. Never waits for
    a GPU. Deterministic backward where torch is told so.
    """
    if q.device.type != "cuda":
        return _masked(q, k, v, scale, documents)
    if q.dtype not in HALF:
        return _masked(
            q,
            k,
            v,
            scale,
            None if documents is None else mask_of(documents, q.shape[0], q.shape[2]),
        )
    if documents is not None:
        return _packed(q, k, v, scale, documents)
    with sdpa_kernel(FASTEST, set_priority=True):
        return _masked(q, k, v, scale, None)


def _masked(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _packed(q: Tensor, k: Tensor, v: Tensor, scale: float, offsets: Tensor) -> Tensor:
    """All rows end to end as one sequence of documents (N, H, K); a document ends with its row."""
    from torch.nn.attention.varlen import varlen_attn

    rows, heads, tokens, size = q.shape
    options: dict[str, Any] = {"scale": scale, **_causal_option()}
    if heads != k.shape[1]:
        if "enable_gqa" in _varlen_parameters():
            options["enable_gqa"] = True
        else:
            k, v = (part.repeat_interleave(heads // part.shape[1], 1) for part in (k, v))
    flat = [part.transpose(1, 2).reshape(rows * tokens, -1, size) for part in (q, k, v)]
    run: Any = varlen_attn  # other releases have other signatures
    mixed: Tensor = run(*flat, offsets, offsets, tokens, tokens, **options)
    return mixed.view(rows, tokens, heads, size).transpose(1, 2)


@functools.cache
def _varlen_parameters() -> frozenset[str]:
    """What this torch's ``varlen_attn`` takes; it has grown with each release since 2.10."""
    from torch.nn.attention.varlen import varlen_attn

    return frozenset(inspect.signature(varlen_attn).parameters)


def _causal_option() -> dict[str, Any]:
    """Causal masking: a window that ends at the token itself, or the flag of older releases."""
    return (
        {"window_size": (-1, 0)} if "window_size" in _varlen_parameters() else {"is_causal": True}
    )


def document_bounds(documents: Tensor | None, device: torch.device) -> Tensor | None:
    """What :func:`attention` on ``device`` has to know of ``documents`` (B, T), equal numbers being
    neighbours of one document.

    None for rows of one document each, as far as that can be seen without waiting for a GPU.
    """
    if documents is None or device.type != "cuda":
        return document_mask(documents)
    if documents.device.type == "cuda":
        return device_offsets(documents)
    numbers = documents.numpy()
    if bool((numbers == numbers[:, :1]).all()):
        return None
    return torch.from_numpy(host_offsets(numbers)).pin_memory().to(device, non_blocking=True)


def host_offsets(documents: NDArray[np.integer]) -> NDArray[np.int32]:
    """Where documents of (B, T) numbers begin in the N tokens, and N for every place that is left:
    (S + 1,), S a power of two.
    """
    begins = np.ones(documents.shape, np.bool_)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = np.flatnonzero(begins)
    offsets = np.full(next_power_of_two(len(starts)) + 1, documents.size, np.int32)
    offsets[: len(starts)] = starts
    return offsets


def device_offsets(documents: Tensor) -> Tensor:
    """The same made where ``documents`` lie, without waiting for them: (N + 1,) int32, as many as
    there could be.
    """
    tokens = documents.numel()
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    place = torch.arange(tokens, dtype=torch.int32, device=documents.device)
    starts = torch.where(begins.flatten(), place, tokens).sort().values
    return F.pad(starts.to(torch.int32), (0, 1), value=tokens)


def mask_of(offsets: Tensor, rows: int, tokens: int) -> Tensor:
    """The mask (B, 1, T, T) that offsets mean: for dtypes that only kernels with a mask take."""
    place = torch.arange(rows * tokens, dtype=offsets.dtype, device=offsets.device)
    number = torch.searchsorted(offsets, place, right=True).view(rows, tokens)
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=offsets.device).tril()
    return ((number[:, :, None] == number[:, None, :]) & causal)[:, None]
