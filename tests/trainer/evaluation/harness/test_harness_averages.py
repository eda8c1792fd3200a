"""Averages over benchmarks, against the tables of the MiniCPM paper (arXiv 2404.06395)."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.harness.averages import CHINESE, ENGLISH, average_scores, averages
from trainer.evaluation.tasks.scores import Score

PRINTED = {
    "MiniCPM-1.2B": "49.14 46.81 49.63 44.51 32.75 31.77 10.60 34.70 80.93 66.81 54.72 45.67 45.16 47.98",
    "MiniCPM-2.4B": "51.13 51.07 53.46 50.00 47.31 53.83 10.24 36.87 85.44 68.00 68.25 52.33 52.60 51.10",
    "Mistral-7B": "46.12 42.96 62.69 27.44 45.20 33.13 5.00 41.06 83.92 70.73 80.43 48.97 49.96 44.54",
    "Llama2-13B": "37.32 37.06 54.71 17.07 32.55 21.15 2.25 37.92 78.87 58.19 79.23 41.48 42.44 37.19",
    "TinyLlama-1.1B": "25.02 24.03 24.3 6.71 19.91 2.27 0.74 28.78 60.77 28.15 58.33 25.36 25.55 24.53",
}
"""Figures of a row in the order of the benchmarks, then the averages of all, English, Chinese."""


@pytest.mark.parametrize("model", PRINTED)
def test_averages_are_those_that_are_printed(model: str) -> None:
    figures = [float(figure) for figure in PRINTED[model].split()]
    means = dict(zip((*CHINESE, *ENGLISH), figures, strict=False))
    found = averages(means)
    printed = dict(
        zip(("average", "average_english", "average_chinese"), figures[-3:], strict=True)
    )
    assert found == pytest.approx(printed, abs=0.0051)


def test_an_average_is_there_where_all_its_benchmarks_are() -> None:
    assert averages({}) == averages({"cmmlu": 1.0}) == {}
    assert averages({"cmmlu": 1.0, "ceval-valid": 0.0, "mmlu": 1.0}) == {"average_chinese": 0.5}


def test_an_average_is_no_mean_of_items() -> None:
    def score(task: str, measure: str, *values: float) -> Score:
        keys = tuple(map(str, range(len(values))))
        return Score(task, measure, keys, keys, np.array(values), np.ones(len(values)))

    (found,) = average_scores(
        [
            score("cmmlu", "likelihood_accuracy", 1.0, 1.0, 1.0, 1.0),
            score("cmmlu", "likelihood_per_character_accuracy", 0.0, 0.0, 0.0, 0.0),
            score("ceval-valid", "likelihood_accuracy", 0.0),
        ]
    )
    assert (found.task, found.mean, found.standard_error) == ("average_chinese", 0.5, None)
