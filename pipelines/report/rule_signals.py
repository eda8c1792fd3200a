"""What every rule measured, over all documents it judged, with its threshold at the edge of a bin.

Bins are counted from the threshold, so whatever their width, the columns on one side are exactly
the documents that break the rule. Counts of hundreds lie on octaves, all else on equal steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.report.distributions import BeforeAfter
from pipelines.report.rule_measures import broken, counts, measured
from pipelines.report.verdict_trail import Choosing
from pipelines.signals.rules import Rule

OCTAVES = 16
"""On each side of a threshold, in quarters."""

Places = NDArray[np.int64]

_FEW = 40  # counts up to this have a bin each
_FINEST = 0.01  # of measures about 1, a share mostly


@dataclass(frozen=True)
class Bins:
    """Bins on both sides of ``threshold``: ``below`` + ``above`` of them, and one at each end for
    what lies beyond. ``step``: the width of a bin, in octaves where they are ``octaves``.
    """

    threshold: float
    step: float
    below: int
    above: int
    octaves: bool = False

    @classmethod
    def of(cls, rule: Rule, whole: bool) -> Bins:
        """The bins of a rule. ``whole``: what it measures are counts."""
        edge = abs(rule.threshold)
        if whole and edge > _FEW:
            return cls(rule.threshold, 0.25, 4 * OCTAVES, 4 * OCTAVES, octaves=True)
        if whole:
            return cls(rule.threshold, 1.0, _FEW, 4 * _FEW)
        if edge <= 1:
            steps = max(1, round(edge / _FINEST))
            width = edge / steps if edge else _FINEST
            return cls(rule.threshold, width, steps, round(1 / width))
        return cls(rule.threshold, edge / _FEW, _FEW, 3 * _FEW)

    @property
    def count(self) -> int:
        return self.below + self.above + 2

    @property
    def middle(self) -> int:
        """The first bin to the right of the threshold."""
        return self.below + 1

    def place(self, values: NDArray[np.float64], breaks: NDArray[np.bool_], rule: Rule) -> Places:
        """The bin of each value, (n,). ``breaks``: which of them break the rule; they lie on its
        side of the threshold, the others on the other one.
        """
        if self.octaves:
            with np.errstate(divide="ignore"):
                distance = np.log2(np.maximum(values, 0) / self.threshold) / self.step
        else:
            distance = (values - self.threshold) / self.step
        steps = np.floor(np.clip(distance, -self.below - 1, self.above)).astype(np.int64)
        left = breaks if rule.comparison == "<" else ~breaks
        return np.where(left, np.minimum(steps, -1), np.maximum(steps, 0)) + self.middle

    def edge(self, bin_: int) -> float:
        """Where a bin begins; the first one and the last go on without end."""
        steps = self.step * (bin_ - self.middle)
        return float(self.threshold * 2**steps if self.octaves else self.threshold + steps)


@dataclass
class RuleSignal:
    """One rule of one step: its bins, and the documents judged by it, read and kept."""

    rule: Rule
    bins: Bins
    documents: BeforeAfter

    @property
    def breaking(self) -> int:
        """Documents that break the rule."""
        middle, before = self.bins.middle, self.documents.before
        return int((before[:middle] if self.rule.comparison == "<" else before[middle:]).sum())


@dataclass
class RuleSignals:
    """Histograms of all rules by step, in the order of the bits, a chunk at a time."""

    steps: dict[str, dict[Rule, RuleSignal]] = field(default_factory=dict)

    def add(self, columns: ChunkColumns, choices: Sequence[Choosing]) -> None:
        for choosing in choices:
            for rule, judged in zip(choosing.rules, _judged(columns, choosing), strict=True):
                values = measured(columns, rule)
                if values is not None:
                    known = judged & ~np.isnan(values)
                    signal = self._signal(choosing.step, rule, counts(columns, rule))
                    places = signal.bins.place(values[known], broken(rule, values[known]), rule)
                    signal.documents.add(places, columns.kept[known])

    def _signal(self, step: str, rule: Rule, whole: bool) -> RuleSignal:
        signals = self.steps.setdefault(step, {})
        if rule not in signals:
            bins = Bins.of(rule, whole)
            signals[rule] = RuleSignal(rule, bins, BeforeAfter(bins.count))
        return signals[rule]


def _judged(columns: ChunkColumns, choosing: Choosing) -> Iterator[NDArray[np.bool_]]:
    """Of each rule which documents it judges, (n,): those in its languages or in none known."""
    everybody = np.ones(len(columns.ids), np.bool_)
    known = columns.languages() if any(choosing.languages) else None
    for languages in choosing.languages:
        if languages is None or known is None:
            yield everybody
        else:
            spoken = pc.is_in(known, pa.array(languages, pa.string()))
            yield pc.or_(spoken, pc.is_null(known)).to_numpy(zero_copy_only=False)
