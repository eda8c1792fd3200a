"""The S-curve: its formula against quadrature and datasketch, and the curve that the kernels really
have.
"""

from __future__ import annotations

import doctest
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from datasketch.lsh import _false_negative_probability, _false_positive_probability, _optimal_param
from scipy.stats import binomtest

import dedup.near.curve
from artifacts.errors import UserError
from dedup.near.curve import Curve, draw, optimal_curve
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.near.verify import jaccard
from tests.dedup.dedup_model import column

# -- the formula --------------------------------------------------------------------------------


def test_the_examples_of_the_module_run() -> None:
    result = doctest.testmod(dedup.near.curve)
    assert result.attempted > 3
    assert result.failed == 0


def test_the_curve_gives_the_published_table() -> None:
    table = {
        (14, 8): (0.053, 0.211, 0.565, 0.924, 1.0, 0.719),
        (20, 13): (0.002, 0.026, 0.177, 0.677, 0.997, 0.794),
        (26, 11): (0.013, 0.090, 0.405, 0.903, 1.0, 0.744),
        (20, 5): (0.470, 0.802, 0.975, 1.0, 1.0, 0.549),
    }
    for (bands, rows), (*expected, threshold) in table.items():
        curve = Curve(bands, rows)
        assert curve.probability([0.5, 0.6, 0.7, 0.8, 0.9]) == pytest.approx(expected, abs=6e-4)
        assert curve.threshold == pytest.approx(threshold, abs=5e-4)


@pytest.mark.parametrize(("bands", "rows"), [(1, 1), (14, 8), (500, 2), (3, 200)])
def test_the_curve_rises_from_none_to_all(bands: int, rows: int) -> None:
    found = Curve(bands, rows).probability(np.linspace(0, 1, 101))
    assert (found[0], found[-1]) == (0.0, 1.0)
    assert (np.diff(found) >= 0).all()


def test_small_probabilities_keep_their_digits() -> None:
    assert Curve(14, 8).probability(1e-3) == pytest.approx(14e-24, rel=1e-12)


@pytest.mark.parametrize("probability", [0.0, 1e-6, 0.5, 0.924, 1.0])
def test_similarity_at_is_the_inverse_of_the_curve(probability: float) -> None:
    curve = Curve(14, 8)
    assert float(curve.probability(curve.similarity_at(probability))) == pytest.approx(
        probability, abs=1e-12
    )


@pytest.mark.parametrize(
    ("bands", "rows"), [(1, 1), (14, 8), (20, 5), (26, 11), (128, 1), (1, 128)]
)
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7, 0.95, 1.0])
def test_areas_are_those_of_datasketch(bands: int, rows: int, threshold: float) -> None:
    curve = Curve(bands, rows)
    assert curve.false_positive_area(threshold) == pytest.approx(
        _false_positive_probability(threshold, bands, rows), abs=1e-7
    )
    assert curve.false_negative_area(threshold) == pytest.approx(
        _false_negative_probability(threshold, bands, rows), abs=1e-7
    )


@pytest.mark.parametrize("permutations", [1, 16, 112, 128])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.8, 0.95])
@pytest.mark.parametrize("weight", [0.5, 0.1, 0.9])
def test_bands_and_rows_are_chosen_as_datasketch_chooses_them(
    permutations: int, threshold: float, weight: float
) -> None:
    found = optimal_curve(threshold, permutations, weight)
    assert (found.bands, found.rows) == _optimal_param(threshold, permutations, weight, 1 - weight)


def test_the_drawing_rises_to_the_right_and_marks_similarities() -> None:
    curve = Curve(14, 8)
    *drawn, axis, labels, half, knee = draw(
        curve, {"half": curve.similarity_at(0.5), "knee": curve.threshold}, height=8
    )
    heights = [sum(line[7 + place] != " " for line in drawn) for place in range(60)]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (0, 8)
    assert drawn[0].startswith("100 % |")
    assert drawn[4].startswith(" 50 % |")
    assert labels.index("0.7") == axis.index("+") + 42 - 1
    for line, similarity in ((half, 0.6847), (knee, 0.719)):
        assert line.index("^") - axis.index("+") == round(60 * similarity)
    assert max(map(len, drawn)) <= 70


def test_marks_near_the_left_edge_are_named_to_the_right_of_the_arrow() -> None:
    assert draw(Curve(200, 1), {"knee": 0.005})[-1].strip() == "^ knee 0.005"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: Curve(0, 8), "bands"),
        (lambda: Curve(14, 2.0), "rows"),  # type: ignore[arg-type]
        (lambda: Curve(14, 8).probability([0.5, 1.5]), "similarity"),
        (lambda: Curve(14, 8).similarity_at(float("nan")), "probability"),
        (lambda: Curve(14, 8).false_positive_area(-0.1), "threshold"),
        (lambda: Curve(14, 8).false_negative_area(1.1), "threshold"),
        (lambda: optimal_curve(2.0, 128), "threshold"),
        (lambda: optimal_curve(0.7, 0), "permutations"),
        (lambda: optimal_curve(0.7, 128, 1.5), "false_positive_weight"),
    ],
)
def test_a_wrong_number_is_named(call: object, field: str) -> None:
    with pytest.raises(UserError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.field == field


# -- the curve the kernels have -----------------------------------------------------------------

PAIRS = 4000
UNION = 100  # shingles of both texts of a pair: every hundredth is a similarity
SIMILARITIES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
CONFIGS = (MinHashConfig(), MinHashConfig(bands=20, rows=5), MinHashConfig(bands=26, rows=11))
# of one interval to miss; one in a thousand that any of the thirty does
CHANCE = 1e-3 / (len(SIMILARITIES) * len(CONFIGS))

SYLLABLES = ["".join(pair) for pair in product("bdfghklmnprstvz", "aeiou")]
STEMS = ["".join(three) for three in product(SYLLABLES, repeat=3)]  # 421,875, all of six letters
ENDINGS = ["".join(two) for two in product(SYLLABLES, repeat=2)]


def pairs_at(similarity: float) -> tuple[pa.LargeStringArray, pa.LargeStringArray]:
    """PAIRS pairs of prose in distinct words whose shingles of five words have exactly this Jaccard
    similarity.

    A pair begins alike and ends differently. With no word twice, k common words are k - 4 common
    shingles, and every word behind them makes one more.
    """
    common = round(similarity * UNION)
    left_only = (UNION - common) // 2
    left, right = [], []
    # stems of their own for every pair of every similarity
    first = SIMILARITIES.index(similarity) * PAIRS
    for stem in STEMS[first : first + PAIRS]:
        words = [f"{stem}{ending}" for ending in ENDINGS[: UNION + 4]]
        beginning = words[: common + 4]
        left.append(" ".join(beginning + words[common + 4 : common + 4 + left_only]))
        right.append(" ".join(beginning + words[common + 4 + left_only :]))
    return column(left), column(right)


@pytest.fixture(scope="module")
def candidates() -> dict[tuple[MinHashConfig, float], int]:
    """How many of the PAIRS pairs of each similarity share a band key, under each configuration."""
    found = {}
    for similarity in SIMILARITIES:
        left, right = pairs_at(similarity)
        texts = pa.concat_arrays([left, right])
        sets = shingle_sets(texts, CONFIGS[0])
        exact = jaccard(sets, np.arange(PAIRS), np.arange(PAIRS, 2 * PAIRS))
        assert (exact == np.float32(similarity)).all()
        for config in CONFIGS:
            keys, has_signature = band_keys(texts, config)
            assert has_signature.all()
            found[config, similarity] = int((keys[:PAIRS] == keys[PAIRS:]).any(axis=1).sum())
    return found


def interval(hits: int) -> tuple[float, float]:
    """Exact (Clopper and Pearson) interval of a share of PAIRS, missed with probability CHANCE."""
    found = binomtest(hits, PAIRS).proportion_ci(1 - CHANCE, method="exact")
    return found.low, found.high


@pytest.mark.slow
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.bands}x{config.rows}")
def test_pairs_become_candidates_as_often_as_the_curve_says(
    candidates: dict[tuple[MinHashConfig, float], int], config: MinHashConfig, similarity: float
) -> None:
    low, high = interval(candidates[config, similarity])
    assert low <= float(Curve(config.bands, config.rows).probability(similarity)) <= high


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.bands}x{config.rows}")
def test_the_measurement_tells_the_curve_from_its_neighbours(
    candidates: dict[tuple[MinHashConfig, float], int], config: MinHashConfig
) -> None:
    bands, rows = config.bands, config.rows
    for other in (
        Curve(bands, rows + 1),
        Curve(bands, rows - 1),
        Curve(round(1.2 * bands), rows),
        Curve(round(0.8 * bands), rows),
    ):
        outside = []
        for similarity in SIMILARITIES:
            low, high = interval(candidates[config, similarity])
            outside.append(not low <= float(other.probability(similarity)) <= high)
        assert any(outside), other


@pytest.mark.slow
def test_all_thirty_measurements_together_agree_with_their_curves(
    candidates: dict[tuple[MinHashConfig, float], int],
) -> None:
    """Sum of squared deviations in standard errors, where the normal approximation holds: about one
    each.
    """
    squares = []
    for (config, similarity), hits in candidates.items():
        expected = float(Curve(config.bands, config.rows).probability(similarity))
        if 20 < PAIRS * expected < PAIRS - 20:
            squares.append((hits - PAIRS * expected) ** 2 / (PAIRS * expected * (1 - expected)))
    assert len(squares) >= 15
    assert np.mean(squares) < 2.2
