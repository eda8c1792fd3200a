"""Rotary positions (RoPE): each pair of channels (i, i + head_dim/2) is turned by position *
frequency(i), as tables of angles.

    frequency(i) = theta^(-2i/head_dim),  i = 0 … head_dim/2 - 1

How a model trained on short contexts looks at longer ones is a matter of the frequencies alone:

    Rotary(theta=10000.0)
        the plain table; a larger theta is ABF (arXiv 2309.16039)
    Rotary(scaling="ntk", factor=4)
        NTK-aware: theta grows to theta * factor^(K/(K-2))
    Rotary(scaling="yarn", factor=4, original_context=4096)
        YaRN (arXiv 2309.00071)

NTK-aware keeps the fastest frequency and divides the slowest by ``factor``. YaRN keeps those that
turn more than ``beta_fast`` times within the original context, divides those that turn less than
``beta_slow`` times, goes from one to the other by a ramp over the channels between, and sharpens
attention: queries and keys are multiplied by 0.1 ln(factor) + 1 each.

Frequencies are computed in fp64; angles, sines and cosines in fp32, whatever the precision of
queries and keys. The halves convention is the one of Llama-format checkpoints. The turn itself is
:func:`trainer.kernels.rope.rotated_qkv`.

Shapes: B rows, T tokens, K = head_dim.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from artifacts.errors import UserError

SCALINGS = ("none", "ntk", "yarn")


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How frequencies follow from a base ``theta`` and, for longer contexts, a ``factor`` that the
    context grows by.

    ``original_context`` (tokens), ``beta_fast`` and ``beta_slow`` (turns) speak to ``yarn`` alone.
    Raises UserError for settings that make no table.
    """

    theta: float = 10000.0
    scaling: str = "none"
    factor: float = 1.0
    original_context: int | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise UserError(
                "no such scaling of rotary positions",
                field="rotary.scaling",
                found=self.scaling,
                allowed=SCALINGS,
            )
        base = 0.0 if self.scaling == "none" else 1.0
        for name, least in (
            ("theta", base),
            ("factor", 1.0),
            ("beta_slow", 0.0),
            ("beta_fast", self.beta_slow),
        ):
            value = getattr(self, name)
            known = (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and math.isfinite(value)
            )
            if not known or value < least or (value == least and name != "factor"):
                bound = (
                    f"a finite number {'of at least' if name == 'factor' else 'above'} {least:g}"
                )
                raise UserError(
                    "rotary positions cannot be made of this",
                    field=f"rotary.{name}",
                    found=value,
                    fix=f"give {bound}",
                )
            object.__setattr__(self, name, float(value))
        if self.scaling == "none" and self.factor != 1.0:
            raise UserError(
                "a factor needs a scaling",
                field="rotary.factor",
                found=self.factor,
                fix="give scaling: ntk or yarn",
            )
        context = self.original_context
        if (self.scaling == "yarn" or context is not None) and (
            not isinstance(context, int) or isinstance(context, bool) or context < 1
        ):
            fix = "give the context that the model was trained with, in tokens"
            raise UserError(
                "YaRN starts from a context",
                field="rotary.original_context",
                found=context,
                fix=fix,
            )

    @property
    def temperature(self) -> float:
        """What cosines and sines are multiplied by, and scores by its square: 0.1 ln(factor) + 1
        for YaRN, otherwise 1.
        """
        return 0.1 * math.log(self.factor) + 1.0 if self.scaling == "yarn" else 1.0

    def frequencies(self, head_dim: int, device: torch.device | str = "cpu") -> Tensor:
        """Radians per position (head_dim/2,) fp64, fastest first."""
        exponent = torch.arange(0, head_dim, 2, dtype=torch.float64, device=device) / head_dim
        if self.scaling == "ntk":
            if head_dim < 4:
                raise UserError(
                    "NTK-aware scaling needs two frequencies",
                    field="model.head_dim",
                    found=head_dim,
                    fix="give at least 4",
                )
            base = self.theta * self.factor ** (head_dim / (head_dim - 2))
        else:
            base = self.theta
        plain = torch.pow(base, -exponent)
        if self.scaling != "yarn":
            return plain
        first, last = (
            math.floor(self._channel(self.beta_fast, head_dim)),
            math.ceil(self._channel(self.beta_slow, head_dim)),
        )
        first, last = max(first, 0), min(last, head_dim - 1)
        ramp = (torch.arange(head_dim // 2, dtype=torch.float64, device=device) - first) / max(
            last - first, 0.001
        )
        divided = ramp.clamp(0.0, 1.0)  # 0: as it was, 1: divided by the factor
        return plain * (1.0 - divided) + plain / self.factor * divided

    def _channel(self, turns: float, head_dim: int) -> float:
        """The channel, as a real number, that turns so often within the original context."""
        assert self.original_context is not None
        return (
            head_dim
            * math.log(self.original_context / (turns * 2.0 * math.pi))
            / (2.0 * math.log(self.theta))
        )


def rotation(positions: Tensor, head_dim: int, rotary: Rotary) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, T, 1, head_dim/2) fp32 of ``positions`` (B, T) int64, which may be
    any.
    """
    frequency = rotary.frequencies(head_dim, positions.device).float()
    angle = (positions.float()[..., None] * frequency)[:, :, None, :]  # (B, T, 1, K/2)
    cos, sin = angle.cos(), angle.sin()
    return (
        (cos, sin)
        if rotary.temperature == 1.0
        else (cos * rotary.temperature, sin * rotary.temperature)
    )
