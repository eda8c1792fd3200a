"""Values of a foreign ``config.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from artifacts.errors import UserError

LARGEST = (1 << 31) - 1
"""Of a size or a number of tokens; no model comes near it."""


def number(values: Mapping[str, Any], name: str, file: str, usual: float | None = None) -> float:
    """A finite number above 0; ``usual`` where it is left out. Raises: UserError for anything
    else.
    """
    value = values.get(name, usual)
    if not is_number(value) or value <= 0:
        raise UserError(
            "the model needs a number above 0 here",
            file=file,
            field=name,
            found=value,
            fix="restore config.json from where the model came from",
        )
    return float(value)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def count(values: Mapping[str, Any], name: str, file: str, usual: int | None = None) -> int:
    """A whole number from 1 to :data:`LARGEST`; ``usual`` where it is left out or null. Raises:
    UserError for anything else.
    """
    value = values.get(name)
    value = usual if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise UserError(
            "the model needs a whole number here",
            file=file,
            field=name,
            found=value,
            allowed=[f"1 to {LARGEST:,}"],
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
                fix="take a model without it",
            )
