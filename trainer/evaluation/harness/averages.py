"""Averages over benchmarks as the MiniCPM paper gives them (arXiv 2404.06395, Tables 3 and 4).

    averages({"ceval-valid": 49.14, "cmmlu": 46.81})        {"average_chinese": 47.975}

Every benchmark counts alike, whatever its number of questions. An average is there where all its
benchmarks are: of nine in English, of two in Chinese, of all eleven.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.evaluation.tasks.scores import Score

CHINESE = ("ceval-valid", "cmmlu")
ENGLISH = (
    "mmlu",
    "humaneval",
    "mbpp",
    "gsm8k",
    "math",
    "bbh",
    "arc_easy",
    "arc_challenge",
    "hellaswag",
)
AVERAGES = {
    "average": CHINESE + ENGLISH,
    "average_english": ENGLISH,
    "average_chinese": CHINESE,
}

FIGURE = ("better_of_two_accuracy", "generated_strict_match_accuracy", "likelihood_accuracy")
"""Measures that stand for a benchmark, the first of them that it has; else its first."""


def averages(means: Mapping[str, float]) -> dict[str, float]:
    """Averages of benchmarks' ``means``, as far as these are all there."""
    return {
        name: statistics.fmean(means[one] for one in benchmarks)
        for name, benchmarks in AVERAGES.items()
        if set(benchmarks) <= set(means)
    }


def average_scores(scores: Sequence[Score]) -> list[Score]:
    """The averages as scores: an item is a benchmark, so there is no standard error."""
    means: dict[str, float] = {}
    for measure in FIGURE:
        for score in scores:
            if score.measure == measure:
                means.setdefault(score.task, score.mean)
    for score in scores:
        means.setdefault(score.task, score.mean)
    return [
        Score(
            name,
            "average_accuracy",
            AVERAGES[name],
            (name,) * len(AVERAGES[name]),
            np.array([means[one] for one in AVERAGES[name]]),
            np.ones(len(AVERAGES[name])),
            note="benchmarks count alike; not of the prompts or shots of MiniCPM's own figures",
        )
        for name in averages(means)
    ]
