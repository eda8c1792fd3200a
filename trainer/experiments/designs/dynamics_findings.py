"""What was measured of gradients through a decay: by seed, plateau against decay, and an artefact
named where one is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.dynamics_figure import dynamics_figure
from trainer.experiments.designs.ends import FEW, Ends, cells, paired
from trainer.experiments.findings import Findings, Table, stated
from trainer.experiments.verdicts import Claim, Kind, Verdict, judge

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Watched:
    """The decay begins after step ``first`` and ends after ``last``; a figure is the mean over
    ``window`` steps.
    """

    first: int
    last: int
    window: int

    @property
    def plateau(self) -> range:
        """The last steps at the full rate."""
        return range(self.first - self.window + 1, self.first + 1)

    @property
    def end(self) -> range:
        """The last steps of the decay."""
        return range(self.last - self.window + 1, self.last + 1)


@dataclass(frozen=True)
class Quantity:
    """A figure of each step. ``kind``: what the paper saw it do in a decay, worse for a rise.
    ``log``: compared by its logarithm.
    """

    name: str
    of: Callable[[Line], float | None]
    kind: Kind
    log: bool = False

    def mean(self, lines: Iterable[Line], steps: range) -> float | None:
        """The mean over steps, of logarithms where it is compared by them; None without any."""
        values = [
            value
            for line in lines
            if line["step"] in steps and (value := self.value(line)) is not None
        ]
        return math.fsum(values) / len(values) if values else None

    def value(self, line: Line) -> float | None:
        """Of one step, its logarithm where it is compared by it."""
        value = self.of(line)
        if value is None or not math.isfinite(value):
            return None
        if not self.log:
            return value
        return math.log(value) if value > 0 else None


def _excess(line: Line) -> float | None:
    cosine, alone = line["cosine"], line["independent_cosine"]
    return None if cosine is None or alone is None else cosine - alone


NORM = Quantity("gradient norm", lambda line: line["grad_norm"], "better", log=True)
COSINE = Quantity("cosine of consecutive gradients", lambda line: line["cosine"], "worse")
EXCESS = Quantity("cosine beyond that of independent batches", _excess, "worse")
ACROSS = Quantity("K across batches", lambda line: line["curvature"], "worse", log=True)
SAME = Quantity("K on one batch", lambda line: line["same_batch"]["curvature"], "worse", log=True)
UPDATE = Quantity("update", lambda line: line["change"]["norm"], "better", log=True)
LARGEST = Quantity("largest change of a weight", lambda line: line["change"]["max"], "better", True)
SLOPE = Quantity("|D1| across batches", lambda line: _size(line["d1"]), "better", log=True)
BEND = Quantity("|D2| across batches", lambda line: _size(line["d2"]), "worse", log=True)
SAME_BEND = Quantity(
    "|D2| on one batch", lambda line: _size(line["same_batch"]["d2"]), "worse", log=True
)

JUDGED = (NORM, COSINE, EXCESS, ACROSS, SAME)
SHOWN = (*JUDGED, UPDATE, LARGEST, SLOPE, BEND, SAME_BEND)


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


def dynamics_findings(watched: Watched, base: Base, measured: Sequence[Measured]) -> Findings:
    """Verdicts on what the paper saw (norm down, cosine up, K up), from the plateau to the decay's
    end by seed, and at the decay's end against the same steps at the full rate.
    """
    lines = {
        arm: {
            int(one["seed"]): one.outcome.probes.get("dynamics", [])
            for one in measured
            if one.point.at(arm=arm) and one.outcome.diverged is None
        }
        for arm in ("decay", "control")
    }
    own = judge([*_claims(watched, lines)])
    against = judge([*_against_control(watched, lines)])
    return Findings(
        claims=stated([*own, *against]),
        tables=(_table(watched, lines),),
        figures=(
            dynamics_figure(
                base, measured, (watched.first, watched.last), (NORM, COSINE, ACROSS, SAME)
            ),
        ),
        notes=(*_artefacts(own), *Ends(measured, base.primary).notes),
        facts={
            "verdicts": [one.to_json() for one in [*own, *against]],
            "by_seed": {
                quantity.name: {
                    arm: {
                        str(seed): [
                            quantity.mean(rows, steps) for steps in (watched.plateau, watched.end)
                        ]
                        for seed, rows in sorted(by_seed.items())
                    }
                    for arm, by_seed in lines.items()
                }
                for quantity in SHOWN
            },
        },
    )


Lines = Mapping[str, Mapping[int, Sequence[Line]]]


def _by_seed(quantity: Quantity, by_seed: Mapping[int, Sequence[Line]], steps: range) -> Any:
    found = {seed: quantity.mean(rows, steps) for seed, rows in by_seed.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _claims(watched: Watched, lines: Lines) -> Iterator[Claim]:
    for quantity in JUDGED:
        after = _by_seed(quantity, lines["decay"], watched.end)
        before = _by_seed(quantity, lines["decay"], watched.plateau)
        yield _claim(
            f"{quantity.name} {_moves(quantity)} through the decay", quantity, after, before
        )


def _against_control(watched: Watched, lines: Lines) -> Iterator[Claim]:
    for quantity in JUDGED if lines["control"] else ():
        after = _by_seed(quantity, lines["decay"], watched.end)
        steady = _by_seed(quantity, lines["control"], watched.end)
        word = "lower" if quantity.kind == "better" else "higher"
        name = f"{quantity.name} is {word} at the decay's end than at the full rate"
        yield _claim(name, quantity, after, steady)


def _claim(name: str, quantity: Quantity, first: Any, second: Any) -> Claim:
    difference = paired(first, second)
    unit = "ln" if quantity.log else "cosine"
    reason = None if difference else FEW
    return Claim(name, quantity.kind, difference, margin=0.0, unit=unit, reason=reason)


def _moves(quantity: Quantity) -> str:
    return "falls" if quantity.kind == "better" else "rises"


def _table(watched: Watched, lines: Lines) -> Table:
    rows = []
    for quantity in SHOWN:
        before = _by_seed(quantity, lines["decay"], watched.plateau)
        after = _by_seed(quantity, lines["decay"], watched.end)
        steady = _by_seed(quantity, lines["control"], watched.end)
        change = [*cells(paired(after, before)), *cells(paired(after, steady))]
        if quantity.log:
            change = [None if value is None else math.exp(float(value)) for value in change]
        means = [_mean(quantity, one) for one in (before, after, steady)]
        said = f"{quantity.name}{' (factor)' if quantity.log else ' (difference)'}"
        rows.append((said, *means, *change))
    return Table(
        title=f"Gradients through a decay, means over {watched.window} steps",
        columns=(
            "",
            "plateau's end",
            "decay's end",
            "control there",
            "change",
            "low",
            "high",
            "against control",
            "low",
            "high",
        ),
        rows=tuple(rows),
        note="Changes are paired by seed, with 95 % t-intervals over "
        f"{len(lines['decay'])} seeds. Factors are of geometric means. The control makes the same "
        "steps at the full rate.",
    )


def _mean(quantity: Quantity, by_seed: Mapping[int, float]) -> float | None:
    if not by_seed:
        return None
    mean = math.fsum(by_seed.values()) / len(by_seed)
    return math.exp(mean) if quantity.log else mean


def _artefacts(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """What the paper's figures show by their construction, in the light of those beside them."""
    found = {quantity.name: one for quantity, one in zip(JUDGED, verdicts, strict=True)}
    across, same = found[ACROSS.name], found[SAME.name]
    yield (
        "Across batches D2 holds the noise of the gradient that made the update, about 1 / "
        "|update|, so that K across batches grows as the learning rate falls whatever the loss "
        "surface does; on one batch it does not."
    )
    if across.conclusion == "shown":
        yield f"K across batches rises {_factor(across)}; on one batch {_said(same)}."
    if across.conclusion == same.conclusion == "shown":
        yield "So a part of the rise of K across batches is not an artefact."
    elif across.conclusion == "shown" and same.conclusion == "refuted":
        yield "So the rise of K across batches is an artefact here."
    cosine, excess = found[COSINE.name], found[EXCESS.name]
    yield (
        "Independent batches alone give consecutive gradients a cosine of 1 / (1 + noise scale / "
        f"batch). The cosine itself: {_said(cosine)}; beyond that line: {_said(excess)}."
    )


def _said(verdict: Verdict) -> str:
    words = {
        "shown": "a rise is shown",
        "refuted": "it does not rise",
        "cannot tell": "a rise cannot be told",
    }
    difference = verdict.claim.difference
    if difference is None:
        return f"{words[verdict.conclusion]} ({verdict.claim.reason})"
    known = _factor(verdict) if verdict.claim.unit == "ln" else f"by {difference.value:+.3g}"
    return f"{words[verdict.conclusion]} ({known})"


def _factor(verdict: Verdict) -> str:
    difference = verdict.claim.difference
    assert difference is not None  # a verdict that concludes has one
    low, high = difference.interval()
    return (
        f"by a factor of {math.exp(difference.value):.3g} "
        f"({math.exp(low):.3g} to {math.exp(high):.3g})"
    )
