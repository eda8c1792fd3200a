"""Tables of a study of batches."""

from __future__ import annotations

from trainer.experiments.designs.batch.curves import ArmFit
from trainer.experiments.designs.batch.results import BatchResults
from trainer.experiments.findings import Cell, Table
from trainer.experiments.fits.critical_batch import TokenCurve, fit_token_curve
from trainer.experiments.fits.equal_loss import Level


def tables_of(results: BatchResults) -> tuple[Table, ...]:
    """The exponents, the tokens that losses take, the best rates, and what stands beside."""
    tables = [_exponents(results), *(_tokens(arm) for arm in results.arms if arm.fit is not None)]
    if results.rates:
        tables.append(_rates(results))
    if results.noise or results.critical:
        tables.append(_beside(results))
    return tuple(tables)


def token_curve(level: Level) -> TokenCurve | None:
    """E(B) = Emin (1 + B / Bc) through the tokens of one level; None for fewer than 3 batches."""
    if len(level.tokens) < 3:
        return None
    return fit_token_curve(list(level.tokens), list(level.tokens.values()))


def _exponents(results: BatchResults) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm in results.arms:
        law = None if arm.fit is None else arm.fit.law
        valid = 0 if arm.fit is None else sum(level.best is not None for level in arm.fit.levels)
        levels = 0 if arm.fit is None else len(arm.fit.levels)
        exponent = None if law is None else law.exponent
        rows.append(
            (
                arm.name,
                None if law is None else law.a,
                None if law is None else law.b,
                None if exponent is None else exponent.low,
                None if exponent is None else exponent.high,
                f"{valid} of {levels}",
                arm.why,
            )
        )
    exponent, reason = results.noise_b
    if results.noise:
        ends = (None, None) if exponent is None else (exponent.low, exponent.high)
        value = None if exponent is None else exponent.value
        rows.append(("noise scale", None, value, *ends, "", reason or ""))
    return Table(
        title="batch against loss: bs(L) = a / L^b",
        columns=("arm", "a", "b", "low", "high", "losses with a minimum", ""),
        rows=tuple(rows),
        note="Intervals of b at 95 %, from whole runs with their spread pooled over batches. The "
        "paper has a = 1.21e9, b = 6.24 on C4.",
    )


def _tokens(arm: ArmFit) -> Table:
    assert arm.fit is not None
    batches = sorted({curve.batch for curve in arm.arm.curves})
    rows = []
    for level in arm.fit.levels:
        by_batch = {round(batch): tokens for batch, tokens in level.tokens.items()}
        curve = token_curve(level)
        known = curve is not None and curve.determined
        critical = curve.critical if curve is not None and known else None
        reached = [by_batch.get(round(batch)) for batch in batches]
        rows.append((level.loss, *reached, level.best, critical, level.reason or ""))
    return Table(
        title=f"tokens to reach a loss, {arm.name} rate",
        columns=("loss", *(f"{batch:,.0f}" for batch in batches), "best batch", "Bc", ""),
        rows=tuple(rows),
        note="Means over seeds, in tokens by batch; the best batch is the vertex of a parabola in "
        "logarithms, Bc the critical batch if tokens are Emin (1 + B / Bc).",
    )


def _rates(results: BatchResults) -> Table:
    rows = []
    for one in results.rates:
        optimum = one.optimum
        low, high = (None, None) if optimum is None else optimum.interval or (None, None)
        value = None if optimum is None else optimum.value
        rows.append((one.batch, one.best, value, low, high, one.note))
    return Table(
        title="best rate by batch",
        columns=("batch", "best of the grid", "vertex", "low", "high", ""),
        rows=tuple(rows),
        note="At the end of the runs; 95 % t-intervals of the vertex over seeds.",
    )


def _beside(results: BatchResults) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for stretch in results.noise:
        low, high = stretch.interval or (None, None)
        rows.append(("noise scale", stretch.tokens, stretch.loss, stretch.scale, low, high, ""))
    for one in results.critical:
        found = one.found
        low, high = (None, None) if found is None else (found.low, found.high)
        rows.append(("critical batch", one.at, one.loss, None, low, high, one.reason or ""))
    return Table(
        title="noise scale and critical batch, in tokens",
        columns=("", "after tokens", "loss", "batch", "low", "high", ""),
        rows=tuple(rows),
        note="Noise scale: ratio of means over a stretch, geometric mean and 95 % interval over "
        "seeds. Critical batch: between the largest shown to recover (low) and the smallest shown "
        "not to (high).",
    )
