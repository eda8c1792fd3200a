"""How long phases are: tokens, or percents of the run, as whole tokens that add up.

    tokens: 1_000_000_000, percents 90 and 10              900,000,000 and 100,000,000
    tokens: 900_000_000 and percent: 10, run not given     the run has 1,000,000,000

Percents are taken as they are written (33.3 is 333/1000). Rounding to whole batches comes later,
when steps are planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from artifacts.errors import UserError
from mixtures.spec.phase import PhaseSpec

PERCENT_TOLERANCE = Fraction(1, 10**6)
_MOST_TOKENS = 1 << 50


def run_tokens(phases: Sequence[PhaseSpec], tokens: int | None) -> int:
    """Tokens of a run: ``tokens`` where they are given, else what the phases come to.

    Raises: UserError when phases in tokens and in percent do not add up to the run, or it is not
    said how long that is.
    """
    said = sum(phase.tokens or 0 for phase in phases)
    percents = sum((_percent(phase) for phase in phases), Fraction())
    if tokens is None:
        tokens = _implied(said, percents, phases)
    if not percents:
        if said != tokens:
            _refuse_sum(
                f"the run's {tokens:,} tokens",
                f"phases of {said:,} tokens",
                "mixture.tokens",
                f"write tokens: {said}",
            )
        return tokens
    left = tokens - said
    if abs(Fraction(100 * left, tokens) - percents) > max(
        PERCENT_TOLERANCE, Fraction(100 * len(phases), 2 * tokens)
    ):
        found = f"percents that sum to {float(percents):.9g}" + (
            f" and phases of {said:,} tokens" if said else ""
        )
        wanted = f"{float(Fraction(100 * left, tokens)):.9g} percent" + (
            f", what {said:,} of {tokens:,} tokens leave" if said else ""
        )
        _refuse_sum(
            wanted, found, "mixture.phases", _scaled(phases, percents, Fraction(100 * left, tokens))
        )
    return tokens


def phase_tokens(phases: Sequence[PhaseSpec], run: int, whole: bool = False) -> tuple[int, ...]:
    """Tokens of each phase; percents are of ``run`` tokens, rounded so that their sum is the
    rounded sum.

    ``whole``: the phases are all of the run (see :func:`run_tokens`), and their tokens sum to it
    exactly.
    Raises: UserError for a percentage that is less than a token.
    """
    exact = [_percent(phase) * run / 100 for phase in phases]
    if whole and any(exact):
        left = run - sum(phase.tokens or 0 for phase in phases)
        exact = [value * left / sum(exact) for value in exact]
    rounded = _rounded(exact)
    for phase, tokens in zip(phases, rounded, strict=True):
        if phase.tokens is None and tokens == 0:
            raise UserError(
                "a phase of less than a token",
                field=(*phase.address, "percent"),
                found=f"{phase.percent:g} percent of {run:,} tokens",
                fix=f"write percent: {100 / run:.3g} or more, or give the run more tokens",
            )
    return tuple(phase.tokens or tokens for phase, tokens in zip(phases, rounded, strict=True))


def _percent(phase: PhaseSpec) -> Fraction:
    return Fraction(repr(phase.percent)) if phase.percent is not None else Fraction()


def _rounded(values: Sequence[Fraction]) -> list[int]:
    """Whole numbers that sum to the rounded sum: largest remainders first, ties to the first."""
    whole = [int(value) for value in values]
    missing = round(sum(values, Fraction())) - sum(whole)
    by_remainder = sorted(range(len(values)), key=lambda place: whole[place] - values[place])
    for place in by_remainder[:missing]:
        whole[place] += 1
    return whole


def _implied(said: int, percents: Fraction, phases: Sequence[PhaseSpec]) -> int:
    """Tokens of a run whose phases in tokens are what its percents leave."""
    if not percents:
        return said
    if not said:
        raise UserError(
            "percent of how many tokens is not said",
            field="mixture.phases",
            found=f"phases of {float(percents):.9g} percent, and no tokens",
            fix="add the run's tokens: mixture: {tokens: 1_000_000_000, phases: [...]}",
        )
    if percents >= 100:
        _refuse_sum(
            "less than 100 percent, so that the phases in tokens have a part of the run",
            f"percents that sum to {float(percents):.9g} and phases of {said:,} tokens",
            "mixture.phases",
            _scaled(phases, percents, Fraction(100) - 1),
        )
    return round(said / (1 - percents / 100))


def _scaled(phases: Sequence[PhaseSpec], percents: Fraction, wanted: Fraction) -> str:
    if wanted <= 0:
        return "shorten the phases in tokens, or give the run more tokens"
    parts = ", ".join(
        f"{phase.name}: {float(_percent(phase) * wanted / percents):.9g}"
        for phase in phases
        if phase.percent is not None
    )
    return f"percents of {{{parts}}} have the same proportions"


def _refuse_sum(wanted: str, found: str, field: str, fix: str) -> None:
    raise UserError(f"the phases do not add up to {wanted}", field=field, found=found, fix=fix)
