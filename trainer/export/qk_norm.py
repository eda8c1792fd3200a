"""What none of the layouts has."""

from __future__ import annotations

from artifacts.errors import UserError
from trainer.shapes.config import ModelConfig


def check_no_qk_norm(config: ModelConfig) -> None:
    """Raises: UserError for a model that norms queries and keys."""
    if config.qk_norm:
        raise UserError(
            "a model that norms queries and keys cannot be exported: the layouts have no place for "
            "the gains",
            field="model.qk_norm",
            found=True,
            fix="export a model that was trained with model.qk_norm: false",
        )
