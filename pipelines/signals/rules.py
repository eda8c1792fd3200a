"""Rules over signal columns: every rule is evaluated, the first that fires gives the reason.

A rule removes a document when ``column < threshold`` or ``column > threshold`` (strictly). Where
the measure is null or 0/0 it says nothing. Reason codes are datatrove's, so that removal tables can
be compared; the order of a rule set is the order of datatrove's checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from artifacts.errors import UserError

Comparison = Literal["<", ">"]
MOST_RULES = 64  # bits of the mask


@dataclass(frozen=True)
class Rule:
    """Remove with ``reason`` when ``column`` (divided by ``per``, if given) is below or above
    ``threshold``.

    ``option`` is the name under which a recipe overrides the threshold.
    """

    reason: str
    option: str
    column: str
    comparison: Comparison
    threshold: float
    per: str | None = None


@dataclass(frozen=True)
class RuleSet:
    """Rules under one name, over the columns of one ``measure``, which goes by its name too.

    ``languages``: ISO 639 codes of the languages they are for, macrolanguages with all members;
    None for all. They say nothing about documents known to be in another language.
    """

    name: str
    measure: str
    rules: tuple[Rule, ...]
    languages: tuple[str, ...] | None = None

    @property
    def options(self) -> list[str]:
        """Names of the thresholds."""
        return [rule.option for rule in self.rules]

    def with_thresholds(self, thresholds: Mapping[str, float | None]) -> tuple[Rule, ...]:
        """The rules, thresholds replaced by option name; ``None`` leaves a rule out.

        Raises: UserError for an unknown option, or a threshold that is not a finite number.
        """
        for option, value in thresholds.items():
            self._check(option, value)
        return tuple(
            replace(rule, threshold=value)
            for rule in self.rules
            if (value := thresholds.get(rule.option, rule.threshold)) is not None
        )

    def _check(self, option: str, value: float | None) -> None:
        if option not in self.options:
            raise UserError(
                f"rule set {self.name} has no such threshold",
                field=f"{self.name}.{option}",
                found=option,
                allowed=self.options,
            )
        if value is not None and (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            default = next(rule.threshold for rule in self.rules if rule.option == option)
            raise UserError(
                "a threshold is a number, or null to leave the rule out",
                field=f"{self.name}.{option}",
                found=repr(value),
                fix=f"write for example {option}: {default:g}, or {option}: null",
            )


def evaluate(
    signals: pa.RecordBatch | pa.Table, rules: Sequence[Rule]
) -> tuple[npt.NDArray[np.uint64], pa.StringArray]:
    """Which rules would remove each document, and why it goes.

    Returns ``mask`` uint64[documents], bit ``i`` set where ``rules[i]`` fires, and the reason of
    the first rule that fires, null for a document that is kept.

    Raises: UserError for a column that was not measured; ValueError for more than 64 rules.
    """
    if len(rules) > MOST_RULES:
        raise ValueError(f"{len(rules)} rules do not fit a mask of {MOST_RULES} bits")
    mask = np.zeros(signals.num_rows, np.uint64)
    first = np.full(signals.num_rows, len(rules), np.int64)
    for index, rule in enumerate(rules):
        fires = _fires(signals, rule)
        mask |= fires.astype(np.uint64) << np.uint64(index)
        first[fires & (first == len(rules))] = index
    reasons = pa.array([*(rule.reason for rule in rules), None], pa.string())
    return mask, reasons.take(pa.array(first))


def _fires(signals: pa.RecordBatch | pa.Table, rule: Rule) -> npt.NDArray[np.bool_]:
    measure = _column(signals, rule.column, rule)
    if rule.per is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            measure = measure / _column(signals, rule.per, rule)
    return measure < rule.threshold if rule.comparison == "<" else measure > rule.threshold


def _column(signals: pa.RecordBatch | pa.Table, name: str, rule: Rule) -> npt.NDArray[np.float64]:
    """A column as float64, null as NaN (which no comparison is true for)."""
    if name not in signals.schema.names:
        raise UserError(
            f"rule {rule.reason} needs a measure that is not there",
            field=name,
            found=name,
            allowed=signals.schema.names,
        )
    column = signals.column(name).cast(pa.float64())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
