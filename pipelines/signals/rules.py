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


GOPHER_QUALITY = (
    Rule("gopher_short_doc", "min_words", "symbol_free_words", "<", 50),
    Rule("gopher_long_doc", "max_words", "symbol_free_words", ">", 100_000),
    Rule("gopher_below_avg_threshold", "min_mean_word_length", "mean_word_length", "<", 3),
    Rule("gopher_above_avg_threshold", "max_mean_word_length", "mean_word_length", ">", 10),
    Rule("gopher_too_many_hashes", "max_hash_ratio", "hash_ratio", ">", 0.1),
    Rule("gopher_too_many_ellipsis", "max_ellipsis_ratio", "ellipsis_ratio", ">", 0.1),
    Rule("gopher_too_many_bullets", "max_bullet_line_ratio", "bullet_line_ratio", ">", 0.9),
    Rule(
        "gopher_too_many_end_ellipsis", "max_ellipsis_line_ratio", "ellipsis_line_ratio", ">", 0.3
    ),
    Rule("gopher_below_alpha_threshold", "min_alpha_word_ratio", "alpha_word_ratio", "<", 0.8),
    Rule("gopher_enough_stop_words", "min_stop_words", "stop_words", "<", 2),
)
"""Rae et al. 2021 (arXiv 2112.11446, table A1) as datatrove 0.10 implements it, for English."""

GOPHER_QUALITY_ZH = (
    Rule("gopher_short_doc", "min_cjk_characters", "cjk_characters", "<", 80),
    Rule("gopher_long_doc", "max_cjk_characters", "cjk_characters", ">", 160_000),
    Rule("gopher_too_many_hashes", "max_hash_ratio", "hashes", ">", 0.1, per="cjk_characters"),
    Rule(
        "gopher_too_many_ellipsis", "max_ellipsis_ratio", "ellipses", ">", 0.1, per="cjk_characters"
    ),
    Rule("gopher_too_many_bullets", "max_bullet_line_ratio", "bullet_line_ratio", ">", 0.9),
    Rule(
        "gopher_too_many_end_ellipsis", "max_ellipsis_line_ratio", "ellipsis_line_ratio", ">", 0.3
    ),
    Rule(
        "gopher_below_alpha_threshold",
        "min_alpha_character_ratio",
        "alpha_character_ratio",
        "<",
        0.6,
    ),
)
"""Gopher's rules for Chinese, which has no white space between words, so that sizes are in
characters.

- Document length: 50 and 100,000 words at about 1.6 characters a word.
- ``#`` and ellipses per Chinese character, at Gopher's 0.1; a Chinese ellipsis is two U+2026.
- Line rules: unchanged, as in FineWeb-2 (``configs/cmn_Hani.yml``).
- Letters: FineWeb-2 asks for a letter in 0.735 of the words of a segmenter, which counts every
  punctuation mark as a word. Of visible characters, letters are 0.78 to 0.85 in Chinese prose and
  verse and 0.65 to 0.78 in good technical writing with code and markup; under 0.6 are tables of
  numbers and markup.
- No mean word length (FineWeb-2: 1 to 5, on segmented words) and no stop words: both need words.
"""

RULE_SETS: dict[str, tuple[Rule, ...]] = {
    "gopher_quality": GOPHER_QUALITY,
    "gopher_quality_zh": GOPHER_QUALITY_ZH,
}


def rule_set(name: str, thresholds: Mapping[str, float | None] | None = None) -> tuple[Rule, ...]:
    """The rules of a set, thresholds replaced by option name; ``None`` leaves a rule out.

    Raises: UserError for an unknown set or option, or a threshold that is not a finite number.
    """
    if name not in RULE_SETS:
        raise UserError("no such rule set", field="rules", found=name, allowed=RULE_SETS)
    chosen = dict(thresholds or {})
    options = [rule.option for rule in RULE_SETS[name]]
    for option, value in chosen.items():
        if option not in options:
            raise UserError(
                f"rule set {name} has no such threshold",
                field=f"{name}.{option}",
                found=option,
                allowed=options,
            )
        if value is not None and (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            raise UserError(
                "a threshold is a number, or null to leave the rule out",
                field=f"{name}.{option}",
                found=repr(value),
                fix=f"write for example {option}: {_default(name, option):g}, or {option}: null",
            )
    kept = []
    for rule in RULE_SETS[name]:
        threshold = chosen.get(rule.option, rule.threshold)
        if threshold is not None:
            kept.append(replace(rule, threshold=threshold))
    return tuple(kept)


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


def _default(name: str, option: str) -> float:
    return next(rule.threshold for rule in RULE_SETS[name] if rule.option == option)
