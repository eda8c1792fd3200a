"""The measured quality of a deduplication in words, for terminals and reports."""

from __future__ import annotations

from typing import Any


def quality_line(facts: dict[str, Any]) -> str:
    """One line: recall and precision with their intervals, or what the S-curve expects where
    nothing was measured.
    """
    expected = facts["expected_recall"]
    if "kept" not in facts:
        return (
            "recall not known: nothing was removed"
            if expected is None
            else f"recall by the bands alone about {expected:.3f} or more"
        )
    curve = "" if expected is None else f", by the bands alone about {expected:.3f} or more"
    return f"{recall_words(facts)}{curve}; {precision_words(facts)}"


def recall_words(facts: dict[str, Any]) -> str:
    """Recall, its interval and what was looked at."""
    looked = (
        f"{facts['missed_in_sample']:,} of {facts['kept_sampled']:,} sampled kept documents missed"
    )
    return f"recall {_interval(facts, 'recall')} ({looked})"


def precision_words(facts: dict[str, Any]) -> str:
    """Precision, its interval and what was looked at."""
    looked = (
        f"{facts['confirmed_in_sample']:,} of {facts['removed_sampled']:,} "
        "sampled removals confirmed"
    )
    return f"precision {_interval(facts, 'precision')} ({looked})"


def _interval(facts: dict[str, Any], name: str) -> str:
    if facts[name] is None:
        return "not known"
    return f"{facts[name]:.4f} [{facts[f'{name}_low']:.4f}, {facts[f'{name}_high']:.4f}]"
