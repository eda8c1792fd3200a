"""The short forms of an edit of a plan, as options spell them: NAME=NUMBER."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from artifacts.errors import UserError
from mixtures.freeze.edit import Change


def change_of(
    lengthen: Sequence[str],
    drop: Sequence[str],
    weight: Sequence[str],
    decay: int | None,
    skip: int | None,
) -> Change | None:
    """The short forms together, None where there are none.

    Raises: UserError for one that is not a name and a number.
    """
    if not (lengthen or drop or weight or decay or skip):
        return None
    more = {
        name: _tokens("--lengthen", text, value)
        for text in lengthen
        for name, value in [_pair("--lengthen", text)]
    }
    weights = {
        name: _number("--weight", text, value)
        for text in weight
        for name, value in [_pair("--weight", text)]
    }
    return Change(more, tuple(drop), weights, decay, skip)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise UserError(
            "not a name and a number", field=option, found=text, fix=f"write {option} NAME=NUMBER"
        )
    return name, value


def _number(option: str, text: str, value: str) -> float:
    try:
        return float(value.replace("_", ""))
    except ValueError:
        raise UserError(
            "not a number", field=option, found=text, fix=f"write {option} NAME=NUMBER"
        ) from None


def _tokens(option: str, text: str, value: str) -> int:
    tokens = _number(option, text, value)
    if not isfinite(tokens):
        raise UserError(
            "not a number of tokens", field=option, found=text, fix=f"write {option} NAME=TOKENS"
        )
    return int(tokens)
