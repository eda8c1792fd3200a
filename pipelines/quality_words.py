"""The measured quality of a deduplication in words, for terminals and reports."""

from __future__ import annotations

from typing import Any


def quality_line(facts: dict[str, Any]) -> str:
    """One line: recall and precision with their intervals, or what the S-curve expects where nothing was measured."""
    expected = facts["expected_recall"]
    curve = "" if expected is None else f"{expected:.3f} expected from the bands"
    if "kept" not in facts:
        return f"recall {curve or 'not known: nothing was removed'}"
    return "; ".join(part for part in (recall_words(facts) + (f", {curve}" if curve else ""), precision_words(facts)) if part)


def recall_words(facts: dict[str, Any]) -> str:
    """Recall, its interval and what was looked at."""
    looked = f"{facts['missed_in_sample']:,} of {facts['kept_sampled']:,} sampled kept documents missed"
    return f"recall {_interval(facts, 'recall')} ({looked})"


def precision_words(facts: dict[str, Any]) -> str:
    """Precision, its interval and what was looked at."""
    looked = f"{facts['confirmed_in_sample']:,} of {facts['removed_sampled']:,} sampled removals confirmed"
    return f"precision {_interval(facts, 'precision')} ({looked})"


def _interval(facts: dict[str, Any], name: str) -> str:
    if facts[name] is None:
        return "not known"
    return f"{facts[name]:.4f} [{facts[f'{name}_low']:.4f}, {facts[f'{name}_high']:.4f}]"
