"""Rotary positions (RoPE): each pair of channels (i, i + head_dim/2) is turned by position *
frequency(i), as tables of angles.

    frequency(i) = theta^(-2i/head_dim),  i = 0 … head_dim/2 - 1

:class:`~trainer.shapes.rotary.Rotary` says how frequencies change for contexts that are longer
than those of training. NTK-aware keeps the fastest frequency and divides the slowest by
``factor``. Dynamic NTK does so with the factor s T/T0 - (s - 1), where T is the length of the row
and T0 the original context; a row that is no longer than T0 has the plain table. YaRN keeps those
that turn more than ``beta_fast`` times within the original context, divides those that turn less
than ``beta_slow`` times, goes from one to the other by a ramp over the channels between, and
sharpens attention: queries and keys are multiplied by 0.1 ln(factor) + 1 each.

Frequencies are computed in fp64; angles, sines and cosines in fp32, whatever the precision of
queries and keys. The halves convention is the one of Llama-format checkpoints. The turn itself is
:func:`trainer.kernels.rope.rotated_qkv`.

Shapes: B rows, T tokens, K = head_dim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.shapes.rotary import Rotary


def rotation(positions: Tensor, head_dim: int, rotary: Rotary) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, T, 1, head_dim/2) fp32 of ``positions`` (B, T) int64, which may be
    any.

    Dynamic NTK takes a row to be as long as its largest position says.
    """
    if rotary.scaling == "dynamic":
        frequency = dynamic_frequencies(rotary, head_dim, positions.amax(-1) + 1)[:, None, :]
    else:
        frequency = frequencies(rotary, head_dim, positions.device)
    angle = (positions.float()[..., None] * frequency.float())[:, :, None, :]  # (B, T, 1, K/2)
    cos, sin = angle.cos(), angle.sin()
    return (
        (cos, sin)
        if rotary.temperature == 1.0
        else (cos * rotary.temperature, sin * rotary.temperature)
    )


def frequencies(rotary: Rotary, head_dim: int, device: torch.device | str = "cpu") -> Tensor:
    """Radians per position (head_dim/2,) fp64, fastest first; of dynamic NTK those within the
    original context.
    """
    if rotary.scaling == "ntk":
        base = rotary.theta * rotary.factor ** (head_dim / (head_dim - 2))
    else:
        base = rotary.theta
    plain = torch.pow(base, -_exponents(head_dim, device))
    if rotary.scaling != "yarn":
        return plain
    divided = _divided(rotary, head_dim, device)
    return plain * (1.0 - divided) + plain / rotary.factor * divided


def dynamic_frequencies(rotary: Rotary, head_dim: int, lengths: Tensor) -> Tensor:
    """Radians per position (B, head_dim/2) fp64 of rows of ``lengths`` (B,) tokens, by dynamic NTK.

    Nothing waits for a GPU.
    """
    assert rotary.original_context is not None
    grown = lengths.double().clamp(min=rotary.original_context) / rotary.original_context
    factor = rotary.factor * grown - (rotary.factor - 1.0)
    base = rotary.theta * factor ** (head_dim / (head_dim - 2))
    return torch.pow(base[:, None], -_exponents(head_dim, lengths.device))


def _exponents(head_dim: int, device: torch.device | str) -> Tensor:
    return torch.arange(0, head_dim, 2, dtype=torch.float64, device=device) / head_dim


def _divided(rotary: Rotary, head_dim: int, device: torch.device | str) -> Tensor:
    """Of each channel how much YaRN divides it: 0 as it was, 1 by the whole factor."""
    first, last = (
        math.floor(_channel(rotary, rotary.beta_fast, head_dim)),
        math.ceil(_channel(rotary, rotary.beta_slow, head_dim)),
    )
    first, last = max(first, 0), min(last, head_dim - 1)
    ramp = (torch.arange(head_dim // 2, dtype=torch.float64, device=device) - first) / max(
        last - first, 0.001
    )
    return ramp.clamp(0.0, 1.0)


def _channel(rotary: Rotary, turns: float, head_dim: int) -> float:
    """The channel, as a real number, that turns so often within the original context."""
    assert rotary.original_context is not None
    return (
        head_dim
        * math.log(rotary.original_context / (turns * 2.0 * math.pi))
        / (2.0 * math.log(rotary.theta))
    )
