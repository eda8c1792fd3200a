"""Values of a foreign ``config.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from artifacts.errors import UserError


def number(values: Mapping[str, Any], name: str, file: str, usual: float | None = None) -> float:
    """A finite number above 0; ``usual`` where it is left out. Raises: UserError for anything
    else.
    """
    value = values.get(name, usual)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or value <= 0
    ):
        raise UserError(
            "the model needs a number above 0 here",
            file=file,
            field=name,
            found=value,
            fix="restore config.json from where the model came from",
        )
    return float(value)


def count(values: Mapping[str, Any], name: str, file: str, usual: int | None = None) -> int:
    """A whole number from 1; ``usual`` where it is left out or null. Raises: UserError for anything
    else.
    """
    value = values.get(name)
    value = usual if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(
            "the model needs a whole number from 1 here",
            file=file,
            field=name,
            found=value,
            fix="restore config.json from where the model came from",
        )
    return value


def refuse_set(values: Mapping[str, Any], usual: Mapping[str, Any], file: str) -> None:
    """Raises: UserError for the first setting that is there and is not ``usual``."""
    for name, plain in usual.items():
        found = values.get(name)
        if found is not None and found != plain:
            raise UserError(
                "a setting that models here do not have",
                file=file,
                field=name,
                found=found,
                allowed=[plain],
            )
