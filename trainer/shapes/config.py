"""The shape of a model and the numbers its width and depth fix.

MiniCPM's parameterisation (arXiv 2404.06395, Table 7) lets one learning rate serve every size: with
m = width / dim_model_base the embedding output is multiplied by ``scale_emb``, each residual branch
by ``scale_depth / layers^depth_alpha`` (1/2 in the paper; with 1 rates are found to carry over in
depth too, arXiv 2505.01618), the hidden state before the head by 1/m; hidden matrices start with
standard deviation ``init_std / sqrt(m)`` and learn at 1/m of the rate. Attention keeps
1/sqrt(head_dim).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from artifacts.errors import Address, UserError
from artifacts.later import LATER
from trainer.shapes.rotary import Rotary

# rows of the embedding are padded to this, so that matrix kernels find aligned shapes
VOCABULARY_MULTIPLE = 64
_COUNTS = ("vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "ff", "dim_model_base")
_POSITIVE = ("scale_emb", "scale_depth", "init_std", "rope_theta", "norm_eps")
SQUARE_ROOT = 0.5
"""The paper's ``depth_alpha``."""
STEEPEST = 2
"""The largest ``depth_alpha``."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Shape and scales of one model; immutable, comparable, stored in every checkpoint.

    ``vocab_size`` is the real vocabulary V; the tables have ``padded_vocab`` rows. ``ff`` is the
    inner width of the SwiGLU, ``kv_heads`` < ``heads`` is grouped-query attention.
    ``rope_scaling``, ``rope_factor`` and ``rope_original_context`` are the settings of
    :class:`trainer.shapes.rotary.Rotary`. ``qk_norm`` norms queries and keys head by head before
    they are turned (RMSNorm with a gain of its own for each). Raises UserError for a shape that
    cannot be built.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    ff: int
    head_dim: int = 64
    scale_emb: float = 12.0
    scale_depth: float = 1.4
    dim_model_base: int = 256
    init_std: float = 0.1
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True
    rope_scaling: str = dataclasses.field(default="none", metadata={LATER: True})
    rope_factor: float = dataclasses.field(default=1.0, metadata={LATER: True})
    rope_original_context: int | None = dataclasses.field(default=None, metadata={LATER: True})
    qk_norm: bool = dataclasses.field(default=False, metadata={LATER: True})
    depth_alpha: float = dataclasses.field(default=SQUARE_ROOT, metadata={LATER: True})

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(
                    "a model needs whole sizes",
                    field=f"model.{name}",
                    found=value,
                    fix="give an integer of at least 1",
                )
        for name in _POSITIVE:
            value = getattr(self, name)
            if not _is_finite(value) or value <= 0:
                raise UserError(
                    "a model needs positive scales",
                    field=f"model.{name}",
                    found=value,
                    fix="give a finite number above 0",
                )
            object.__setattr__(self, name, float(value))
        if not _is_finite(self.depth_alpha) or not 0 <= self.depth_alpha <= STEEPEST:
            raise UserError(
                "residual branches are divided by a power of the number of layers",
                field="model.depth_alpha",
                found=self.depth_alpha,
                fix=f"give a number from 0 to {STEEPEST}; 0.5 is the paper's square root",
            )
        object.__setattr__(self, "depth_alpha", float(self.depth_alpha))
        if self.heads % self.kv_heads:
            raise UserError(
                f"{self.heads} query heads cannot share {self.kv_heads} key-value heads evenly",
                field="model.kv_heads",
                found=self.kv_heads,
                allowed=[count for count in range(1, self.heads + 1) if self.heads % count == 0],
            )
        if self.head_dim % 2:
            raise UserError(
                "rotary positions turn pairs",
                field="model.head_dim",
                found=self.head_dim,
                fix="give an even head size",
            )
        try:
            rotary = self.rotary
        except UserError as error:
            raise error.relocated(_of_model) from None
        rotary.check_head(self.head_dim)
        object.__setattr__(self, "rope_factor", rotary.factor)

    @cached_property
    def rotary(self) -> Rotary:
        """How rotary positions are made."""
        return Rotary(
            theta=self.rope_theta,
            scaling=self.rope_scaling,
            factor=self.rope_factor,
            original_context=self.rope_original_context,
        )

    @property
    def padded_vocab(self) -> int:
        """Rows of the embedding and of the head: V rounded up to a multiple of 64."""
        return -(-self.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE

    @property
    def width_multiplier(self) -> float:
        """m = width / dim_model_base."""
        return self.width / self.dim_model_base

    @property
    def below_base(self) -> str:
        """What is odd about a model narrower than its base, m < 1; nothing where it is not."""
        if self.width_multiplier >= 1:
            return ""
        return (
            f"the model is narrower than its base: m = {self.width} / {self.dim_model_base} is "
            "below 1, so logits are multiplied instead of divided, and hidden matrices start and "
            f"learn larger than the embedding; dim_model_base: {self.width} gives m = 1"
        )

    @property
    def residual_multiplier(self) -> float:
        """What each attention and each feed-forward branch is multiplied by before it joins the
        stream.
        """
        return self.scale_depth / self.depth_divisor

    @property
    def depth_divisor(self) -> float:
        """layers^depth_alpha."""
        if self.depth_alpha == SQUARE_ROOT:
            return math.sqrt(self.layers)
        return float(self.layers**self.depth_alpha)

    @property
    def attention_multiplier(self) -> float:
        """Scale of the attention scores: 1/sqrt(head_dim), not scaled by width."""
        return 1.0 / math.sqrt(self.head_dim)

    @property
    def hidden_std(self) -> float:
        """Standard deviation hidden matrices start with."""
        return self.init_std / math.sqrt(self.width_multiplier)

    def as_dict(self) -> dict[str, Any]:
        """Plain values in declaration order."""
        return dataclasses.asdict(self)

    def recorded(self) -> dict[str, Any]:
        """The same as ``state.json`` stores them: settings that came later than the first release
        only where they differ from their defaults.
        """
        # it brings pydantic, which a model does not need
        from artifacts.settings import key_settings

        return key_settings(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The config of stored values; UserError for an unknown or a missing name."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise UserError(
                    "a model has no such setting", field="model", found=name, allowed=fields
                )
        missing = [
            name
            for name, field in fields.items()
            if field.default is dataclasses.MISSING and name not in values
        ]
        if missing:
            raise UserError(
                f"the model lacks {', '.join(missing)}",
                field="model",
                fix="name a preset or give the whole shape",
            )
        return cls(**values)


def _is_finite(value: object) -> bool:
    """Whether a setting is a number, and finite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value)


def _of_model(address: Address) -> Address:
    """A setting of rotary positions as a model's settings name it."""
    return ("model", f"rope_{address[-1]}")
