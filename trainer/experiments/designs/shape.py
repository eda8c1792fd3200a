"""Shapes of models in a study: the paper's proportions at any width and depth."""

from __future__ import annotations

from typing import Any

from artifacts.errors import UserError

HEAD = 64
"""Size of a head in the paper's small models (arXiv 2404.06395, Table 8)."""


def shape(width: int, layers: int, base: int | None = None) -> dict[str, Any]:
    """Settings of a model of a width and a depth: heads of 64, or of 16 where the width is no
    multiple of that, and a feed-forward of 2.5 widths, rounded to whole eights. ``base``: the
    ``dim_model_base``.

    Raises: UserError for a width that is not a multiple of 16.
    """
    if width % 16:
        raise UserError(
            "a width is made of heads",
            field="width",
            found=width,
            fix="give a multiple of 16, or of 64 for the paper's heads",
        )
    head = HEAD if width % HEAD == 0 else 16
    heads = width // head
    facts: dict[str, Any] = {
        "width": width,
        "layers": layers,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": head,
        "ff": -(-(5 * width // 2) // 8) * 8,
    }
    return facts if base is None else {**facts, "dim_model_base": base}
