"""What runs over batches say: exponents, verdicts, and three batches on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artifacts.statistics.estimates import Estimate
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.batch.branching import Branching
from trainer.experiments.designs.batch.curves import (
    FIXED,
    LARGER,
    RETUNED,
    ArmFit,
    fitted,
    fixed_curves,
    retuned_curves,
)
from trainer.experiments.designs.batch.figures import PAPER_A, PAPER_B, figures_of
from trainer.experiments.designs.batch.rates import best_rates
from trainer.experiments.designs.batch.results import BatchResults
from trainer.experiments.designs.batch.scales import (
    critical_batches,
    noise_exponent,
    noise_means,
    noise_stretches,
)
from trainer.experiments.designs.batch.tables import tables_of
from trainer.experiments.findings import Findings, stated
from trainer.experiments.verdicts import Claim, judge


def found(
    base: Base,
    measured: Sequence[Measured],
    *,
    peak: float,
    branching: Branching | None,
    levels: int,
    smoothing: float,
) -> Findings:
    """Findings of a study of batches; settings are those of its design."""
    arms = _arms(base, measured, levels, smoothing)
    results = _results(base, measured, arms, peak, branching)
    verdicts = judge(_claims(results))
    return Findings(
        claims=stated(verdicts),
        tables=tables_of(results),
        figures=figures_of(results),
        notes=tuple(_notes(results)),
        facts={
            "paper": {"a": PAPER_A, "b": PAPER_B},
            "arms": {
                arm.name: {
                    "fit": None if arm.fit is None else arm.fit.to_json(),
                    "reason": arm.why or None,
                }
                for arm in results.arms
            },
            "best_rates": [rate.to_json() for rate in results.rates],
            "noise_scale": {
                "stretches": [one.to_json() for one in results.noise],
                "exponent": _plain(results.noise_b[0]),
                "reason": results.noise_b[1],
            },
            "critical_batch": [one.to_json() for one in results.critical],
            "verdicts": [verdict.to_json() for verdict in verdicts],
        },
    )


def _arms(
    base: Base, measured: Sequence[Measured], levels: int, smoothing: float
) -> tuple[ArmFit, ...]:
    fixed, retuned = _of_arm(measured, FIXED), _of_arm(measured, RETUNED)
    arms = [fitted(FIXED, fixed_curves(base, fixed), levels, smoothing)]
    if retuned:
        arms.append(fitted(RETUNED, retuned_curves(base, retuned), levels, smoothing))
    return tuple(arms)


def _results(
    base: Base,
    measured: Sequence[Measured],
    arms: tuple[ArmFit, ...],
    peak: float,
    branching: Branching | None,
) -> BatchResults:
    rates = tuple(best_rates(base, _of_arm(measured, RETUNED)))
    if branching is None:
        return BatchResults(peak, arms, rates, (), (None, "no run was branched from"), ())
    trunks = [
        one
        for one in _of_arm(measured, FIXED)
        if branching.trunk(int(one["batch"]), int(one["seed"]))
    ]
    stretches = noise_stretches(base, branching, trunks)
    return BatchResults(
        peak=peak,
        arms=arms,
        rates=rates,
        noise=tuple(noise_means(stretches)),
        noise_b=noise_exponent(stretches),
        critical=tuple(critical_batches(base, branching, trunks, _of_arm(measured, LARGER))),
    )


def _of_arm(measured: Sequence[Measured], arm: str) -> list[Measured]:
    return [one for one in measured if one.point.at(arm=arm)]


def _claims(results: BatchResults) -> list[Claim]:
    """That what is best grows as the loss falls: exponents above 0."""
    names = {
        FIXED: f"at rate {results.peak:g} the best batch grows as the loss falls",
        RETUNED: "with the best rate of each batch the best batch grows as the loss falls",
    }
    claims = [_above_zero(names[arm.name], _exponent(arm), arm.why or None) for arm in results.arms]
    if results.noise:
        grows = "the gradient noise scale grows as the loss falls"
        claims.append(_above_zero(grows, *results.noise_b))
    return claims


def _above_zero(name: str, exponent: Estimate | None, reason: str | None) -> Claim:
    return Claim(name, "worse", exponent, margin=0.0, unit="exponent", reason=reason)


def _exponent(arm: ArmFit) -> Estimate | None:
    law = None if arm.fit is None else arm.fit.law
    return None if law is None else law.exponent


def _notes(results: BatchResults) -> list[str]:
    notes: list[str] = []
    for arm in results.arms:
        notes += arm.arm.notes
        exponent = _exponent(arm)
        if exponent is None:
            notes.append(f"{arm.name}: no exponent is determined ({arm.why}).")
            continue
        holds = exponent.low <= PAPER_B <= exponent.high
        notes.append(
            f"{arm.name}: b is {exponent.value:.2f}, 95 % interval {exponent.low:.2f} to "
            f"{exponent.high:.2f}, which {'contains' if holds else 'does not contain'} the "
            f"paper's {PAPER_B}."
        )
    notes += [f"Batch {one.batch:,}: {one.note}." for one in results.rates if one.note]
    notes += [f"After {one.at:,} tokens: {one.reason}." for one in results.critical if one.reason]
    notes.append(
        "A minimum over batches at one rate may come from the rate, which small batches want "
        "lower: if tokens were E(B) = Emin (1 + B / Bc), they would grow with the batch throughout."
    )
    notes.append(
        "Losses are of this corpus under this vocabulary, and the paper's of C4 under its own: "
        "exponents can be compared, batches at a loss cannot."
    )
    return list(dict.fromkeys(notes))


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.to_json()
