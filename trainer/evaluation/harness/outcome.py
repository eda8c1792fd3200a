"""What the harness logged of single questions, as scores.

    scores = scores_of(form, samples, notes)

A form has a score for every metric and filter of its task file. Questions of all subjects count
alike, as in the harness's own groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluation.harness.known import Form
from trainer.evaluation.tasks.scores import Score

LIKELIHOOD = {"acc": "likelihood_accuracy", "acc_norm": "likelihood_per_character_accuracy"}
"""Measures by the harness's names; every other is of a text that was written."""

Sample = Mapping[str, Any]
"""What the harness logs: ``doc_hash``, ``filter``, ``metrics`` and each metric's value."""


def scores_of(form: Form, samples: Mapping[str, Sequence[Sample]], note: str) -> list[Score]:
    """Scores of a form by the ``samples`` of its tasks; ``note``: what a reader must know."""
    logged = [sample for task in samples for sample in samples[task]]
    kinds = dict.fromkeys(
        (metric, sample["filter"]) for sample in logged for metric in sample["metrics"]
    )
    scores = []
    for metric, kept in kinds:
        own = [one for one in logged if one["filter"] == kept and metric in one["metrics"]]
        keys = keys_of([one["doc_hash"] for one in own])
        said = metric if kept == "none" else f"{metric}, {kept}"
        scores.append(
            Score(
                form.benchmark,
                measure_of(metric, kept),
                keys,
                keys,
                np.array([float(one[metric]) for one in own]),
                np.ones(len(own)),
                chance=_chance(own) if metric in LIKELIHOOD else None,
                note=f"{form.name}, {said}{note}",
            )
        )
    return scores


def measure_of(metric: str, kept: str) -> str:
    """Our name of a metric of texts that a filter kept."""
    if metric in LIKELIHOOD:
        return LIKELIHOOD[metric]
    which = "" if kept in ("none", "default") else f"{kept.replace('-', '_')}_"
    return f"generated_{which}accuracy"


def keys_of(hashes: Sequence[str]) -> tuple[str, ...]:
    """A key for each question; the second of two that are the same has a number."""
    met: Counter[str] = Counter()
    keys = []
    for one in hashes:
        met[one] += 1
        keys.append(one if met[one] == 1 else f"{one}#{met[one]}")
    return tuple(keys)


def better_of(forms: Sequence[Form], scores: Sequence[Score]) -> list[Score]:
    """The higher of a benchmark's likelihood and written accuracy, as a score that says so."""
    asked = next((form.better_of for form in forms if form.better_of), None)
    if asked is None:
        return []
    rivals = [
        score
        for score in scores
        if score.measure == LIKELIHOOD[asked] or score.measure.startswith("generated_")
    ]
    best = max(rivals, key=lambda score: score.mean)
    note = f"the higher of {' and '.join(score.measure for score in rivals)}: it favours noise"
    return [
        Score(
            best.task,
            "better_of_two_accuracy",
            best.keys,
            best.clusters,
            best.values,
            best.weights,
            chance=None,
            note=note,
        )
    ]


def _chance(samples: Sequence[Sample]) -> float:
    """What guessing reaches: requests of a question are its options."""
    return float(np.mean([1 / len(sample["arguments"]) for sample in samples]))
