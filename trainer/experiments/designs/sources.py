"""Shares of sources in a design: what its phases show, checked against the shards there are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from artifacts.errors import UserError
from mixtures.spec.bands import names_meant, source_of, tokens_of
from mixtures.spec.phase import PhaseSpec
from trainer.experiments.design import Base

Shares = dict[str, float]


def phase_of(
    base: Base, name: str, tokens: int, shares: Mapping[str, float], decay: bool
) -> PhaseSpec:
    """A phase of so many tokens with these shares; windows and batches are those of the base."""
    return base.stable_phase(tokens, name).model_copy(
        update={"weights": dict(shares), "decay": decay, "max_epochs": {}}
    )


def without(shares: Mapping[str, float], sources: Collection[str]) -> Shares:
    """Shares with sources left out, the others in proportion. Raises: UserError when none is left.

    >>> without({"web": 0.25, "code": 0.25, "math": 0.5}, ["math"])
    {'web': 0.5, 'code': 0.5}
    """
    rest = {
        name: share
        for name, share in shares.items()
        if share and not {name, source_of(name)} & set(sources)
    }
    if len(rest) == sum(1 for share in shares.values() if share):
        return rest
    total = math.fsum(rest.values())
    if not total:
        raise UserError(
            "nothing is left to train on",
            field=("design",),
            found=f"left out: {', '.join(sorted(sources))}",
            allowed=sorted(shares),
            fix="leave out fewer sources of the base recipe's stable phase",
        )
    return {name: share / total for name, share in rest.items()}


def with_share(shares: Mapping[str, float], source: str, share: float) -> Shares:
    """Shares of which so much is a source's, beside what it has already.

    >>> with_share({"web": 0.75, "code": 0.25}, "sft", 0.5)
    {'web': 0.375, 'code': 0.125, 'sft': 0.5}
    """
    mixed = {name: (1 - share) * own for name, own in shares.items()}
    mixed[source] = mixed.get(source, 0.0) + share
    return {name: own for name, own in mixed.items() if own}


def available(base: Base, source: str) -> int:
    """Tokens that there are of a source."""
    return tokens_of(source, base.available, ("design",))


def check_source(base: Base, source: str, field: str, *, shown: bool = True) -> None:
    """Check that a source has shards, where it is to be ``shown``, and that its loss is measured.

    Raises: UserError that names the sources there are.
    """
    if shown and not names_meant(source, base.available):
        raise UserError(
            "no such source",
            field=("design", field),
            found=source,
            allowed=sorted({source_of(name) for name in base.available}),
            fix="name a source of the base recipe",
        )
    if source not in base.measured:
        raise UserError(
            "of this source no documents are held out, so its loss is not measured",
            field=("design", field),
            found=source,
            allowed=sorted(base.measured),
            fix="name one of these, or hold out a larger share (shards.hold_out)",
        )
