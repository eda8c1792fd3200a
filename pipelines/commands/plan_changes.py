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
        for name, (text, value) in _pairs("--lengthen", lengthen).items()
    }
    weights = {
        name: _number("--weight", text, value)
        for name, (text, value) in _pairs("--weight", weight).items()
    }
    return Change(more, tuple(drop), weights, decay, skip)


def _pairs(option: str, texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Texts and values by name. Raises: UserError for a name that is given twice."""
    pairs: dict[str, tuple[str, str]] = {}
    for text in texts:
        name, value = _pair(option, text)
        if name in pairs:
            raise UserError(
                f"{name} is given twice",
                field=option,
                found=f"{pairs[name][0]}, {text}",
                fix=f"give {option} {name}=… once",
            )
        pairs[name] = text, value
    return pairs


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
