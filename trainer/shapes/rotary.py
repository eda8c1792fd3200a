"""Settings of rotary positions (RoPE): how far each pair of channels is turned per position.

How a model trained on short contexts looks at longer ones is a matter of the frequencies alone:

    Rotary(theta=10000.0)
        the plain table; a larger theta is ABF (arXiv 2309.16039)
    Rotary(scaling="ntk", factor=4)
        NTK-aware: theta grows to theta * factor^(K/(K-2)), K the head size
    Rotary(scaling="dynamic", factor=4, original_context=4096)
        dynamic NTK: the longer the text, the larger theta; up to the original context it is plain
    Rotary(scaling="yarn", factor=4, original_context=4096)
        YaRN (arXiv 2309.00071)

:mod:`trainer.model.rotary` computes frequencies and angles.
"""

from __future__ import annotations

import dataclasses
import math

from artifacts.errors import UserError

SCALINGS = ("none", "ntk", "dynamic", "yarn")
_FROM_A_CONTEXT = ("dynamic", "yarn")


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How frequencies follow from a base ``theta`` and, for longer contexts, a ``factor`` that the
    context grows by.

    ``original_context`` (tokens) speaks to ``dynamic`` and ``yarn``, ``beta_fast`` and
    ``beta_slow`` (turns) to ``yarn`` alone. Raises UserError for settings that make no table.
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
                fix="give a scaling, or leave the factor out",
                allowed=SCALINGS[1:],
            )
        context = self.original_context
        if (self.scaling in _FROM_A_CONTEXT or context is not None) and (
            not isinstance(context, int) or isinstance(context, bool) or context < 1
        ):
            raise UserError(
                f"rotary positions scaled by {' or '.join(_FROM_A_CONTEXT)} start from a context",
                field="rotary.original_context",
                found=context,
                fix="give the context that the model was trained with, in tokens",
            )

    def check_head(self, head_dim: int) -> None:
        """Raises: UserError where a head of this size has too few channels for the scaling."""
        if self.scaling in ("ntk", "dynamic") and head_dim < 4:
            raise UserError(
                "NTK-aware scaling needs two frequencies",
                field="model.head_dim",
                found=head_dim,
                fix="give at least 4",
            )

    @property
    def temperature(self) -> float:
        """What cosines and sines are multiplied by, and scores by its square: 0.1 ln(factor) + 1
        for YaRN, otherwise 1.
        """
        return 0.1 * math.log(self.factor) + 1.0 if self.scaling == "yarn" else 1.0
