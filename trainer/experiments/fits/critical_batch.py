"""The critical batch, three ways, all in tokens on one axis.

    branches     from a checkpoint, runs at k times the batch with sqrt(k) times the rate, to the
                 same tokens; the largest k whose loss is not worse by the margin, with all smaller
                 ones (arXiv 2505.23971)
    curve        tokens to a loss by batch, E(B) = Emin (1 + B / Bc); steps then obey
                 (S/Smin - 1)(E/Emin - 1) = 1 (arXiv 1812.06162, equation 2.11)
    noise scale  mean noise over mean squared gradient, in examples, times tokens an example

E(B) grows throughout, so it has no interior minimum; one seen in equal-loss parabolas comes from a
rate, or moment decay, that was not tuned for small batches.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, finite, paired_difference
from trainer.experiments.verdicts import LOSS_MARGIN, Claim, Verdict, judge

FAR = 100.0
"""A critical batch this many times outside the batches that were run is not determined."""


@dataclass(frozen=True)
class BranchedBatch:
    """``recovered``: the largest multiple shown not to be worse, with all smaller ones; ``worse``:
    the smallest shown to be worse. The critical batch lies between them. None: none was shown.
    """

    base: float
    recovered: float | None
    worse: float | None
    verdicts: dict[float, Verdict]
    next_multiple: float | None = None

    @property
    def low(self) -> float:
        """Tokens: the batch that is known to be small enough, at least the base."""
        return self.base * (self.recovered or 1.0)

    @property
    def high(self) -> float | None:
        """Tokens: the batch that is known to be too large."""
        return None if self.worse is None else self.base * self.worse

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "base": self.base,
            "low": self.low,
            "high": self.high,
            "recovered": self.recovered,
            "worse": self.worse,
            "next_multiple": self.next_multiple,
            "verdicts": {f"{k:g}": verdict.to_json() for k, verdict in self.verdicts.items()},
        }


@dataclass(frozen=True)
class TokenCurve:
    """E(B) = Emin (1 + B / Bc) with ``least`` = Emin and ``critical`` = Bc, both in tokens.

    ``log_critical``: ln Bc with its error, from the residuals of ln E; None with 2 batches.
    ``determined``: whether Bc lies within a hundred times the batches that were run.
    """

    least: float
    critical: float
    log_critical: Estimate | None
    determined: bool
    reason: str | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of Bc, in tokens."""
        if self.log_critical is None:
            return None
        return math.exp(min(self.log_critical.low, 700.0)), math.exp(
            min(self.log_critical.high, 700.0)
        )

    def tokens(self, batch: float) -> float:
        """E(B)."""
        return self.least * (1 + batch / self.critical)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        low, high = self.interval or (None, None)
        return {
            "least_tokens": self.least,
            "critical_batch": self.critical,
            "low": low,
            "high": high,
            "determined": self.determined,
            "reason": self.reason,
        }


def branched_rate(rate: float, multiple: float) -> float:
    """The rate of a branch at ``multiple`` times the batch: sqrt(k) times its own."""
    if not (multiple > 0 and rate > 0 and math.isfinite(multiple * rate)):
        raise UserError(
            "a branch has a batch and a rate above 0",
            parameter="multiple",
            found=f"multiple {multiple}, rate {rate}",
            fix="give the rate of the trunk and how many times its batch the branch has",
        )
    return rate * math.sqrt(multiple)


def critical_by_branches(
    base: float,
    losses: Mapping[float, Mapping[Hashable, float]],
    margin: float = LOSS_MARGIN,
    alpha: float = 0.05,
) -> BranchedBatch:
    """The critical batch from branches: ``losses`` by multiple of the batch, then by seed; multiple
    1 is what they are held against, paired by seed. ``base``: the trunk's batch in tokens.

    One family of claims "not worse by the margin", Holm-corrected. Raises: UserError without the
    multiple 1 or another, and where the seeds differ.
    """
    multiples = sorted(losses)
    larger = [multiple for multiple in multiples if multiple > 1]
    sound = base > 0 and 1.0 in losses and bool(larger) and all(k >= 1 for k in multiples)
    if not (sound and math.isfinite(base + sum(multiples))):
        raise UserError(
            "branches at larger batches are held against one at the trunk's own",
            parameter="losses",
            found=f"base {base:g}, multiples {', '.join(f'{k:g}' for k in multiples) or 'none'}",
            allowed=["1 and multiples above 1"],
            fix="run the branch at multiple 1 under the same seeds",
        )
    claims = [_claim(multiple, losses[multiple], losses[1.0], margin) for multiple in larger]
    verdicts = dict(zip(larger, judge(claims, alpha), strict=True))
    recovered = None
    for multiple in larger:
        if verdicts[multiple].conclusion != "shown":
            break
        recovered = multiple
    worse = next((k for k in larger if verdicts[k].conclusion == "refuted"), None)
    next_multiple = 2 * larger[-1] if recovered == larger[-1] else None
    return BranchedBatch(base, recovered, worse, verdicts, next_multiple)


def fit_token_curve(batches: Sequence[float], tokens: Sequence[float]) -> TokenCurve:
    """E(B) through the ``tokens`` that each batch needs for one loss, by least squares of ln E.

    The same batch may stand there for several seeds. Raises: UserError for values that are not
    above 0 and for fewer than 2 different batches.
    """
    batch, needed = finite(batches, "batches"), finite(tokens, "tokens")
    if len(batch) != len(needed) or min([*batch, *needed], default=0) <= 0 or len(set(batch)) < 2:
        raise UserError(
            "a curve of tokens needs at least two batches",
            parameter="batches",
            found=f"{len(set(batch))} different batches, {len(needed)} tokens",
            allowed=["values above 0, tokens for each batch"],
            fix="leave out batches that did not reach the loss, and run others",
        )
    from scipy.optimize import least_squares

    low, high = float(batch.min()), float(batch.max())
    bounds = (math.log(low / FAR), math.log(high * FAR))

    def residuals(logs: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
        return logs[0] + np.log1p(batch / np.exp(logs[1])) - np.log(needed)

    fits = [
        least_squares(
            residuals,
            [float(np.log(needed).mean() - np.log1p(batch / start).mean()), math.log(start)],
            bounds=([-np.inf, bounds[0]], [np.inf, bounds[1]]),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        for start in np.geomspace(low, high, 3)
    ]
    best = min(fits, key=lambda fit: float(fit.cost))
    least, critical = (float(value) for value in np.exp(best.x))
    side = min(best.x[1] - bounds[0], bounds[1] - best.x[1]) > 0.01
    reason = None
    if not side:
        above = best.x[1] > math.log(high)
        reason = (
            "tokens do not grow with the batch: the critical batch lies above all of them"
            if above
            else "tokens grow in proportion to the batch: the critical batch lies below all of them"
        )
    return TokenCurve(least, critical, _log_error(best, len(batch)) if side else None, side, reason)


def noise_scale_in_tokens(
    noise: Sequence[float], signal: Sequence[float], tokens_per_example: float
) -> float | None:
    """The gradient noise scale in tokens: mean of the noise estimates S over the mean of the
    squared gradients G2 (a ratio of means: the mean of ratios is biased), times tokens an example.

    S and G2 as for one example. None where the mean of G2 is not above 0: too noisy to tell.
    Raises: UserError without a value, and for columns of different lengths.
    """
    above, below = finite(noise, "noise"), finite(signal, "signal")
    if len(above) != len(below) or len(above) == 0 or not tokens_per_example > 0:
        raise UserError(
            "a noise scale needs an estimate of noise and signal at each step",
            parameter="noise",
            found=f"{len(above)} and {len(below)} values, {tokens_per_example} tokens an example",
            fix="give both from the same steps, and the sequence length in tokens",
        )
    mean = float(below.mean())
    return None if mean <= 0 else float(above.mean()) / mean * tokens_per_example


def _claim(
    multiple: float,
    losses: Mapping[Hashable, float],
    base: Mapping[Hashable, float],
    margin: float,
) -> Claim:
    name = f"{multiple:g} times the batch is not worse"
    if len(losses) < 2 and set(losses) == set(base):
        return Claim(name, "not worse", None, margin, reason="one seed shows no noise")
    return Claim(name, "not worse", paired_difference(losses, base), margin)


def _log_error(fit: Any, points: int) -> Estimate | None:
    """ln Bc, its error from the residuals by the Jacobian."""
    degrees = points - 2
    if degrees < 1:
        return None
    inverse = np.linalg.pinv(fit.jac.T @ fit.jac)
    variance = 2 * float(fit.cost) / degrees * float(inverse[1, 1])
    return Estimate(float(fit.x[1]), math.sqrt(variance), degrees)
