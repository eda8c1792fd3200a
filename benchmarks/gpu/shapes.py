"""The shapes that kernels are measured and checked at: those of the presets, and toy ones.

Shapes: N tokens, d width, F inner width, H query and G key-value heads of K, V vocabulary, P padded
vocabulary, T window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainer.shapes.config import ModelConfig
from trainer.shapes.presets import PAPER_VOCABULARY, preset

TOKENS, WINDOW = 16_384, 4096
CHECKED_TOKENS, CHECKED_WINDOW = 1044, 261


@dataclass(frozen=True)
class Shape:
    """A model's sizes and the tokens of a call: ``tokens`` in windows of ``window``."""

    name: str
    config: ModelConfig
    tokens: int
    window: int

    @property
    def rows(self) -> int:
        """Windows of a call."""
        return self.tokens // self.window


LARGE = Shape("2.4B", preset("2.4B"), TOKENS, WINDOW)
SMALL = Shape("1.2B", preset("1.2B", vocab_size=PAPER_VOCABULARY), TOKENS, WINDOW)
TINY = Shape(
    "tiny",
    ModelConfig(vocab_size=150, width=96, layers=2, heads=6, kv_heads=3, head_dim=16, ff=160),
    48,
    16,
)


def measured(tiny: bool) -> list[Shape]:
    """Shapes to time."""
    return [TINY] if tiny else [LARGE, SMALL]


def checked(tiny: bool) -> list[Shape]:
    """Shapes to compare with the truth: the presets' widths, fewer tokens, and not a round number
    of them.
    """
    return (
        [TINY]
        if tiny
        else [
            replace(shape, tokens=CHECKED_TOKENS, window=CHECKED_WINDOW) for shape in (LARGE, SMALL)
        ]
    )
