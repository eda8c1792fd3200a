"""Everything that a search came to, as its tables and figures show it."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.experiments.designs.search.confirmed import Confirmed
from trainer.experiments.designs.search.trials import Trial
from trainer.experiments.fits.search import Agreement, FlatSet


@dataclass(frozen=True)
class Budgets:
    """Tokens for each parameter of a trial, and of the longer runs; whether there are such, and the
    correlation of ranks above which both budgets agree.
    """

    short: float
    long: float
    compared: bool
    agreement: float


@dataclass(frozen=True)
class SearchResults:
    """``longer``: losses at more tokens by trial; ``no_agreement``: why ranks are not compared."""

    trials: tuple[Trial, ...]
    confirmed: tuple[Confirmed, ...]
    flat: FlatSet | None
    importances: dict[str, dict[str, float]]
    slices: dict[str, list[tuple[float, float]]]
    longer: dict[str, float | None]
    budgets: Budgets
    agreement: Agreement | None
    no_agreement: str | None
