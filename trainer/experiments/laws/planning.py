"""What to train within a budget: size, tokens, batch, rate, loss, and what being off costs.

The batch is MiniCPM's law at the loss aimed at, in nats per token on C4; the rate is its 0.01, with
hidden weights at 0.01 / m, m the width over a base of 256. Where a law's losses are per byte the
batch law is asked at the loss that Besiroglu et al. give for the same size and tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from artifacts.errors import UserError
from trainer.costs.device_rates import Device
from trainer.experiments.laws.analysis import optimum_row, plain
from trainer.experiments.laws.inference import Served, cost, same_quality, within
from trainer.experiments.laws.law import CONSTANTS, Law
from trainer.experiments.laws.published import (
    BATCH_LAW,
    BESIROGLU,
    CHINCHILLA,
    CHINCHILLA_ROUNDED,
    PAPER,
    PAPER_OPERATIONS,
    PAPER_SETS,
    WHY_RATIOS_DIFFER,
)
from trainer.experiments.laws.repetition import best_repeated
from trainer.experiments.laws.spreads import Spread
from trainer.shapes.parameter_counts import count_parameters
from trainer.shapes.presets import PRESETS, TINY

RATE = 0.01
BASE_WIDTH = 256
OFF = (0.25, 0.5, 2.0, 4.0)
SHARE = 0.4
"""Of a device's peak that a training reaches, unless said."""
NATS, BYTES = "nats per token", "per byte"


class Known(NamedTuple):
    """A law to plan with: where it comes from, the unit of its losses, and how sure it is.
    ``prediction``: the standard deviation of ln(predicted / measured) on sizes left out.
    ``undetermined``: reasons by constant, for those that the runs leave open. ``largest``: the
    operations of the largest run that it was fitted to, None where that is not known.
    """

    name: str
    law: Law
    unit: str
    spread: Spread | None = None
    prediction: float = 0.0
    undetermined: Mapping[str, str] = MappingProxyType({})
    largest: float | None = None


PUBLISHED = {
    "paper": Known("MiniCPM, average of its held-out sets", PAPER, BYTES),
    "chinchilla": Known("Chinchilla, constants before rounding", CHINCHILLA, NATS),
    "besiroglu": Known("Besiroglu et al., a refit of Chinchilla", BESIROGLU, NATS),
}


def known_of(found: Mapping[str, Any], name: str) -> Known:
    """The law that a fit wrote as JSON. Raises: UserError for a JSON that holds none."""
    try:
        law = Law(*(float(found[constant]) for constant in CONSTANTS))
        spread = found.get("spread")
        own = None
        if spread is not None:
            rows = np.array(spread["replicates"], np.float64).reshape(-1, len(CONSTANTS))
            degrees = None if spread["degrees"] is None else float(spread["degrees"])
            own = Spread(str(spread["kind"]), rows, float(spread["factor"]), degrees)
        prediction = float(found.get("prediction_deviation") or 0.0)
        unit = str(found.get("unit", "as given"))
        largest = found.get("largest_operations")
        largest = None if largest is None else float(largest)
        reasons = {str(of): str(why) for of, why in found.get("undetermined_because", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "the file holds no law",
            file=name,
            found=f"{type(error).__name__}: {error}",
            allowed=CONSTANTS,
            fix="give the JSON that laws fit writes",
        ) from None
    values = np.array(law)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise UserError(
            "a law's constants are finite numbers above 0", file=name, found=values.tolist()
        )
    return Known(name, law, unit, own, prediction, reasons, largest)


def budget_of(hours: float, device: str, count: int = 1, share: float = SHARE) -> float:
    """Operations of so many hours on devices that reach a share of their peak. Raises: UserError
    for no such device.
    """
    for name, value in (("hours", hours), ("count", count)):
        if not (value > 0 and np.isfinite(value)):
            raise UserError("not a finite number above 0", parameter=name, found=value)
    if not 0 < share <= 1:
        raise UserError("a share is above 0, at most 1", parameter="share", found=share)
    return hours * 3600 * count * share * Device.parse(device).peak


def planned(
    known: Known,
    operations: float,
    *,
    served: float | None = None,
    unique: float | None = None,
) -> dict[str, Any]:
    """The plan as plain values."""
    if not (operations >= 1 and np.isfinite(operations)):
        raise UserError(
            "operations are a finite number above 0",
            parameter="flops",
            found=operations,
            allowed=["at least 1"],
        )
    law = known.law
    best = optimum_row(law, operations, known.spread)
    plan: dict[str, Any] = {
        "law": known.name,
        "unit": known.unit,
        "constants": {name: float(value) for name, value in law._asdict().items()},
        "undetermined_because": dict(known.undetermined),
        "times_the_largest_run": None if known.largest is None else operations / known.largest,
        **best,
        "loss_interval": _loss_interval(known, best["parameters"], best["tokens"]),
        **_settings(known, best["parameters"], best["tokens"], best["loss"]),
        "off": [{"size_times": one, "loss_more": float(law.off(operations, one))} for one in OFF],
    }
    if served is not None:
        plan["inference"] = _with_inference(law, operations, served)
    if unique is not None:
        best_at = best_repeated(law, operations, unique)
        plan["unique"] = {"unique_tokens": unique, **best_at._asdict()}
    if known == PUBLISHED["paper"]:
        plan["paper_sets"] = paper_sets(operations)
    if known == PUBLISHED["chinchilla"]:
        plan["ratio_by_rounded_constants"] = float(CHINCHILLA_ROUNDED.ratio(operations))
    return plan


def paper_sets(operations: float) -> dict[str, Any]:
    """D/N of MiniCPM's held-out sets by the printed constants, and as printed at 1e21."""
    return {
        "operations": PAPER_OPERATIONS,
        "why_printed_differ": WHY_RATIOS_DIFFER,
        "sets": [
            {
                "name": one.name,
                "ratio": float(one.law.ratio(PAPER_OPERATIONS)),
                "printed": one.printed_ratio,
                "ratio_at_budget": float(one.law.ratio(operations)),
            }
            for one in PAPER_SETS
        ],
    }


def _loss_interval(known: Known, parameters: float, tokens: float) -> dict[str, float] | None:
    """Of the loss of one more training: of the law, and by how much sizes left out missed it."""
    if known.spread is None:
        return None
    more = known.prediction**2
    return plain(
        known.spread.interval(
            lambda law: law.loss(parameters, tokens), known.law, logarithmic=True, more=more
        )
    )


def _settings(known: Known, parameters: float, tokens: float, loss: float) -> dict[str, Any]:
    """Batch and rate."""
    own = known.unit.startswith("nats")
    at = loss if own else float(BESIROGLU.loss(parameters, tokens))
    width = _width(parameters)
    return {
        "batch": {
            "tokens": BATCH_LAW.tokens(at),
            "at_loss": at,
            "loss_of": "this law" if own else "Besiroglu et al., as this law's are not per token",
        },
        "rate": {
            "peak": RATE,
            "width": width,
            "m": width / BASE_WIDTH,
            "hidden": RATE / max(width / BASE_WIDTH, 1.0),
        },
    }


def _width(parameters: float) -> int:
    """The width of a model of so many parameters, shaped as the nearest preset: the number grows
    with its cube.
    """
    shapes = [
        (count_parameters(config).non_embedding, config.width)
        for name, config in PRESETS.items()
        if name != TINY
    ]
    count, width = min(shapes, key=lambda one: abs(np.log(one[0] / parameters)))
    return max(64, 64 * round(float(width * (parameters / count) ** (1 / 3)) / 64))


def _with_inference(law: Law, operations: float, served: float) -> dict[str, Any]:
    best = law.optimum(operations)
    loss = float(law.loss(*best))
    cheapest, bounded = same_quality(law, loss, served), within(law, operations, served)
    bill = cost(float(best.parameters), float(best.tokens), served)
    return {
        "tokens": served,
        "same_loss": {**_served(cheapest), "saves": 1 - cheapest.operations / bill},
        "within_budget": _served(bounded),
    }


def _served(one: Served) -> dict[str, float]:
    return {**one._asdict(), "ratio": one.ratio}
