"""Names of shards: bands, parts of a source that are sources of their own, named ``SOURCE/BAND``,
and held-out documents, which lie beside the others as ``NAME-validation``.

    web-en/high, web-en/low             shards of web-en, split by quality
    weights: {web-en: 0.6}              all bands, each by its tokens: as if the source were not
                                        split
    weights: {web-en: 0.6}, bands: {web-en: {high: 3, low: 1}}
                                        a token of high is shown three times as often as one of low

A rule for ``web-en`` (a cap, a reserve) holds for each of its bands that has no rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from artifacts.errors import Address, UserError, address_of

SEPARATOR = "/"
HELD_OUT = "-validation"
Rule = TypeVar("Rule")


def source_of(name: str) -> str:
    """The source a band belongs to; of a source, itself."""
    return name.split(SEPARATOR, 1)[0]


def held_out_of(name: str) -> str:
    """What the shards with the held-out documents of a source or band are called."""
    return name + HELD_OUT


def is_held_out(name: str) -> bool:
    """Whether shards of this name hold held-out documents."""
    return name.endswith(HELD_OUT)


def shown_beside(name: str) -> str:
    """The source or band that held-out shards were taken from; of any other name, itself."""
    return name.removesuffix(HELD_OUT)


def names_meant(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Which of ``names`` a name means: itself where it is one of them, else all bands of it, in
    order.
    """
    names = tuple(names)
    return (
        (name,)
        if name in names
        else tuple(other for other in names if other.startswith(name + SEPARATOR))
    )


def rule_of(rules: Mapping[str, Rule], name: str) -> tuple[str, Rule] | None:
    """The rule that holds for a source or band and the name it stands under: its own, else that of
    its source.
    """
    key = name if name in rules else source_of(name)
    return (key, rules[key]) if key in rules else None


def tokens_of(name: str, available: Mapping[str, int], field: str | Address) -> int:
    """Tokens of a source, those of its bands together where it is split.

    Raises: UserError when there are no shards of that name.
    """
    meant = names_meant(name, available)
    if not meant:
        raise UserError(
            "a source without shards",
            field=field,
            found=name,
            allowed=sorted({*available, *map(source_of, available)}),
            fix="name one of the sources above, or build shards for it",
        )
    return sum(available[other] for other in meant)


def split(
    name: str,
    weight: float,
    factors: Mapping[str, float] | None,
    available: Mapping[str, int],
    field: str | Address,
) -> dict[str, float]:
    """A source's weight as weights of its bands, in proportion to factor x tokens; without factors
    every band has 1.

    A source that is not split keeps its weight.
    Raises: UserError for a source without bands, unknown bands, bands without a factor, and factors
    that leave nothing.
    """
    if factors is None:
        meant = names_meant(name, available)
        tokens = {other: float(available[other]) for other in meant}
        if meant == (name,):
            return {name: weight}
    else:
        bands = {
            other.split(SEPARATOR, 1)[1]: other
            for other in available
            if other.startswith(name + SEPARATOR)
        }
        _check_factors(name, factors, bands, available, field)
        tokens = {other: factors[band] * available[other] for band, other in bands.items()}
    total = sum(tokens.values())
    if total <= 0:
        raise UserError(
            f"the bands of {name} come to no tokens at all, so their weights sum to zero",
            field=field,
            found=", ".join(f"{other}: {available[other]:,} tokens" for other in tokens),
            fix="give a band that has tokens a factor above 0",
        )
    return {other: weight * part / total for other, part in tokens.items() if part > 0}


def _check_factors(
    name: str,
    factors: Mapping[str, float],
    bands: Mapping[str, str],
    available: Mapping[str, int],
    field: str | Address,
) -> None:
    if not bands:
        split_sources = sorted({source_of(other) for other in available if SEPARATOR in other})
        raise UserError(
            f"{name} is not split into bands",
            field=field,
            found=name,
            allowed=split_sources,
            fix=(
                "take it out of bands, or split its "
                f"shards{'' if split_sources else '; no source here is split'}"
            ),
        )
    for band in factors:
        if band not in bands:
            raise UserError(
                f"no such band of {name}",
                field=(*address_of(field), band),
                found=band,
                allowed=sorted(bands),
                fix="name one of the bands above",
            )
    missing = [band for band in bands if band not in factors]
    if missing:
        raise UserError(
            f"every band of {name} needs a factor",
            field=field,
            found=f"none for {', '.join(missing)}",
            allowed=sorted(bands),
            fix=(
                f"add {', '.join(f'{band}: 1' for band in missing)}; a factor of 0 leaves a band "
                "out"
            ),
        )
