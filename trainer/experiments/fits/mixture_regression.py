"""The loss of a mixture, predicted from runs of others: which model, and does it beat one column.

For shares x (K, adding to 1) and the loss on one held-out set:

    own share    c0 + c1 x_i, of the source i the held-out set is of: the baseline to beat
    linear       t . x                             (RegMix, arXiv 2407.01492)
    log-linear   exp(t . x)
    mixing law   c + k exp(t . x)                  (arXiv 2403.16952)
    gaussian     :mod:`trainer.experiments.fits.gaussian_process`

Since shares add to 1, k is a constant added to every t: the law is fitted as c + exp(t . x), from
starts over c by least squares of ln(L - c), polished by Huber's loss, and reported with t that adds
to 0. On RegMix's runs of 1M parameters (512 mixtures of 17 sources) ranks correlate .82 with own
share, .90 linear, .965 mixing law, .99 gaussian; carried over to 1B, own share alone reaches .98.
So a model is shown beside the baseline, with the interval of how much better it ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate
from artifacts.statistics.ranks import RankCorrelation, ranks, spearman
from trainer.experiments.fits.gaussian_process import fit_gaussian_process

Array = NDArray[np.float64]
Model = Literal["own share", "linear", "log-linear", "mixing law", "gaussian"]

MODELS: tuple[Model, ...] = ("own share", "linear", "log-linear", "mixing law", "gaussian")
LEAST_MIXTURES = 4
HUBER = 0.01
STEPS = 40
"""Of a polish from each start; the best one goes on to its end."""


class Predictor(Protocol):
    """What a fit gives back."""

    def predict(self, shares: Array) -> Array:
        """Losses (M) of mixtures (M, K)."""
        ...


@dataclass(frozen=True, eq=False)
class Linear:
    """t . x, or its exponential; ``coefficients`` (K)."""

    coefficients: Array
    logarithmic: bool = False

    def predict(self, shares: Array) -> Array:
        """Losses (M) of mixtures (M, K)."""
        values: Array = np.asarray(shares, np.float64) @ self.coefficients
        return np.exp(values) if self.logarithmic else values


@dataclass(frozen=True, eq=False)
class MixingLaw:
    """c + k exp(t . x), ``exponents`` t (K) that add to 0."""

    floor: float
    scale: float
    exponents: Array

    def predict(self, shares: Array) -> Array:
        """Losses (M) of mixtures (M, K)."""
        values: Array = self.scale * np.exp(np.asarray(shares, np.float64) @ self.exponents)
        return self.floor + values


@dataclass(frozen=True)
class OwnShare:
    """The line through the share of one source."""

    source: int
    level: float
    slope: float

    def predict(self, shares: Array) -> Array:
        """Losses (M) of mixtures (M, K)."""
        values: Array = self.level + self.slope * np.asarray(shares, np.float64)[:, self.source]
        return values


@dataclass(frozen=True)
class Quality:
    """How well a model predicts mixtures it has not seen: correlation of ranks, root mean square
    error, and ``gain``: its rank correlation minus the baseline's, by the delete-one jackknife.
    """

    model: Model
    rank: RankCorrelation
    error: float
    gain: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "model": self.model,
            "rank_correlation": self.rank.to_json(),
            "rmse": self.error,
            "gain_over_own_share": None if self.gain is None else self.gain.to_json(),
        }


def checked(
    shares: Sequence[Sequence[float]] | Array, losses: Sequence[float] | Array
) -> tuple[Array, Array]:
    """Mixtures (N, K) and losses (N) as arrays.

    Raises: UserError for fewer than 4 mixtures, values that are not finite, negative shares, and
    shares that do not add to 1.
    """
    x, y = np.asarray(shares, np.float64), np.asarray(losses, np.float64)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or len(y) < LEAST_MIXTURES or x.shape[1] < 2:
        raise UserError(
            "a regression needs a loss for each of several mixtures of at least two sources",
            parameter="shares",
            found=f"shares {x.shape}, losses {y.shape}",
            allowed=[f"at least {LEAST_MIXTURES} mixtures"],
            fix="leave out runs that diverged, and run further mixtures",
        )
    if not np.isfinite(y).all():
        raise UserError(
            "every mixture needs a finite loss",
            parameter=("losses", int(np.flatnonzero(~np.isfinite(y))[0])),
            found=float(y[~np.isfinite(y)][0]),
            fix="leave out runs that diverged",
        )
    wrong = ~np.isfinite(x).all(1) | (x < 0).any(1) | (np.abs(x.sum(1) - 1) > 1e-6)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise UserError(
            "shares are at least 0 and add to 1",
            parameter=("shares", place),
            found=", ".join(f"{share:g}" for share in x[place]),
            fix="divide the weights of a mixture by their sum",
        )
    return x / x.sum(1, keepdims=True), y


def fit_mixture(
    model: Model,
    shares: Sequence[Sequence[float]] | Array,
    losses: Sequence[float] | Array,
    source: int = 0,
) -> Predictor:
    """Fit one model. ``source``: the column of the held-out set's own source, for the baseline.

    Raises: UserError as :func:`checked`, for a source that is no column, and for a loss at or below
    0 where the model takes its logarithm.
    """
    x, y = checked(shares, losses)
    if not 0 <= source < x.shape[1]:
        raise UserError(
            "no such source",
            parameter="source",
            found=source,
            allowed=[f"0 to {x.shape[1] - 1}"],
            fix="give the column of the source that the held-out set is of",
        )
    fits: dict[Model, Callable[[], Predictor]] = {
        "own share": lambda: _own_share(x, y, source),
        "linear": lambda: Linear(_least_squares(x, y)),
        "log-linear": lambda: Linear(_least_squares(x, _logarithm(y)), True),
        "mixing law": lambda: _mixing_law(x, y),
        "gaussian": lambda: fit_gaussian_process(x, y),
    }
    if model not in fits:
        raise UserError("no such model", parameter="model", found=model, allowed=MODELS)
    return fits[model]()


def compare_models(
    train: tuple[Array, Array],
    test: tuple[Array, Array],
    source: int,
    models: Sequence[Model] = MODELS,
) -> list[Quality]:
    """Each model fitted to (shares, losses) of ``train``, judged on those of ``test``; the baseline
    always among them, first.

    Raises: as :func:`fit_mixture`, and UserError where all test losses are alike.
    """
    x, y = checked(*test)
    baseline = fit_mixture("own share", *train, source).predict(x)
    found = []
    for model in dict.fromkeys(("own share", *models)):
        predicted = fit_mixture(model, *train, source).predict(x)
        error = float(np.sqrt(((predicted - y) ** 2).mean()))
        gain = None if model == "own share" else rank_gain(y, predicted, baseline)
        found.append(Quality(model, spearman(predicted.tolist(), y.tolist()), error, gain))
    return found


def rank_gain(measured: Array, predicted: Array, baseline: Array) -> Estimate | None:
    """Rank correlation of ``predicted`` with ``measured`` minus that of ``baseline``, its error
    from leaving out one mixture at a time (jackknife); None for fewer than 6 mixtures.
    """
    mixtures = len(measured)
    if mixtures < 6:
        return None

    def difference(kept: NDArray[np.int64]) -> float:
        rows = [ranks(column[kept]) for column in (measured, predicted, baseline)]
        return _correlation(rows[1], rows[0]) - _correlation(rows[2], rows[0])

    every = np.arange(mixtures)
    left_out = np.array([difference(every[every != place]) for place in every])
    squares = ((left_out - left_out.mean()) ** 2).sum() * (mixtures - 1) / mixtures
    return Estimate(difference(every), float(np.sqrt(squares)), mixtures - 1)


def _correlation(one: Array, other: Array) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0


def _least_squares(x: Array, y: Array) -> Array:
    found: Array = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)
    return found


def _logarithm(y: Array) -> Array:
    if (y <= 0).any():
        raise UserError(
            "a loss at or below 0 has no logarithm",
            parameter=("losses", int(np.flatnonzero(y <= 0)[0])),
            found=float(y.min()),
            fix="give losses in nats or bits, or take the linear model",
        )
    found: Array = np.log(y)
    return found


def _own_share(x: Array, y: Array, source: int) -> OwnShare:
    level, slope = _least_squares(np.stack([np.ones(len(x)), x[:, source]], axis=1), y)
    return OwnShare(source, float(level), float(slope))


def _mixing_law(x: Array, y: Array) -> MixingLaw:
    from scipy.optimize import OptimizeResult, least_squares

    def residuals(constants: Array) -> Array:
        values: Array = constants[0] + np.exp(np.minimum(x @ constants[1:], 50.0)) - y
        return values

    def slopes(constants: Array) -> Array:
        values = np.exp(np.minimum(x @ constants[1:], 50.0))
        return np.concatenate([np.ones((len(x), 1)), x * values[:, None]], axis=1)

    def fitted(start: Array, most: int | None) -> OptimizeResult:
        return least_squares(
            residuals, start, slopes, loss="huber", f_scale=HUBER, x_scale="jac", max_nfev=most
        )

    spread = float(np.ptp(y)) or 1e-6
    found = []
    for below in np.geomspace(0.02, 30, 10):
        floor = float(y.min()) - below * spread
        start = np.concatenate([[floor], _least_squares(x, np.log(y - floor))])
        found.append(fitted(start, STEPS))
    best = fitted(min(found, key=lambda one: float(one.cost)).x, None)
    floor, exponents = float(best.x[0]), np.asarray(best.x[1:], np.float64)
    middle = float(exponents.mean())
    return MixingLaw(floor, math.exp(middle), exponents - middle)
