"""The S-curve of banding: how often a pair of a given similarity becomes a candidate, and which
bands and rows to choose.

Two texts agree in one place of their signatures with probability s, the Jaccard similarity of their
sets of shingles; in all ``rows`` of a band with s^rows, in at least one of ``bands`` bands with

    P(s) = 1 - (1 - s^rows)^bands    (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
                                          section 3.4.2)

an S that is steepest near (1/bands)^(1/rows).

>>> curve = Curve(bands=14, rows=8)
>>> curve.probability([0.5, 0.7, 0.8, 0.9]).round(3).tolist()
[0.053, 0.565, 0.924, 1.0]
>>> round(curve.threshold, 3), round(curve.similarity_at(0.5), 3)
(0.719, 0.685)
>>> optimal_curve(threshold=0.7, permutations=112)
Curve(bands=12, rows=9)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import beta, betainc

from artifacts.errors import UserError

MAX_PERMUTATIONS = 4096

BLOCKS = " ▁▂▃▄▅▆▇█"  # a cell of the drawing, from empty to full
_STEP = 6  # columns of the drawing per tenth of similarity


@dataclass(frozen=True)
class Curve:
    """P(s) of ``bands`` bands with ``rows`` hash functions each, both at least 1.

    Raises: UserError naming the field.
    """

    bands: int
    rows: int

    def __post_init__(self) -> None:
        for field in ("bands", "rows"):
            found = getattr(self, field)
            if isinstance(found, bool) or not isinstance(found, int) or found < 1:
                raise UserError(
                    "S-curve: not a number of bands or rows",
                    parameter=field,
                    found=found,
                    fix="give a whole number from 1 on",
                )

    @property
    def permutations(self) -> int:
        """Hash functions in a signature: bands * rows."""
        return self.bands * self.rows

    @property
    def threshold(self) -> float:
        """The usual summary of a curve, (1/bands)^(1/rows): near its steepest point; P there is
        about 1 - 1/e.
        """
        return float((1.0 / self.bands) ** (1.0 / self.rows))

    def probability(self, similarity: ArrayLike) -> NDArray[np.float64]:
        """P(s) of similarities of any shape. Raises: UserError for one outside 0 to 1."""
        similarities = _within_unit("similarity", similarity)
        with np.errstate(divide="ignore"):  # log(0) at s = 1: exp(-inf) is the right 0
            return np.asarray(-np.expm1(self.bands * np.log1p(-(similarities**self.rows))))

    def similarity_at(self, probability: float) -> float:
        """The similarity of which pairs become candidates with this probability: the inverse of P.
        Raises: UserError.
        """
        wanted = _within_unit("probability", probability)
        return float((1.0 - (1.0 - wanted) ** (1.0 / self.bands)) ** (1.0 / self.rows))

    def false_positive_area(self, threshold: float) -> float:
        """Integral of P(s) from 0 to ``threshold``: candidates that verification will refuse, were
        all similarities equally frequent.
        """
        return float(
            _false_positives(
                float(_within_unit("threshold", threshold)),
                np.array(self.bands),
                np.array(self.rows),
            )
        )

    def false_negative_area(self, threshold: float) -> float:
        """Integral of 1 - P(s) from ``threshold`` to 1: similar pairs that never become candidates,
        likewise.
        """
        return float(
            _false_negatives(
                float(_within_unit("threshold", threshold)),
                np.array(self.bands),
                np.array(self.rows),
            )
        )


def optimal_curve(threshold: float, permutations: int, false_positive_weight: float = 0.5) -> Curve:
    """Bands and rows with at most ``permutations`` hash functions whose weighted error areas at
    ``threshold`` are least.

    The error is w * false positives + (1 - w) * false negatives, as in datasketch's MinHashLSH
    (whose ``weights`` are (w, 1 - w)); of equal ones the fewest bands, then the fewest rows.
    Raises: UserError for a threshold or weight outside 0 to 1, or permutations outside 1 to 4096.
    """
    _within_unit("threshold", threshold)
    _within_unit("false_positive_weight", false_positive_weight)
    if (
        isinstance(permutations, bool)
        or not isinstance(permutations, int)
        or not 1 <= permutations <= MAX_PERMUTATIONS
    ):
        fix = f"give a whole number from 1 to {MAX_PERMUTATIONS}"
        raise UserError(
            "S-curve: not a number of hash functions",
            parameter="permutations",
            found=permutations,
            fix=fix,
        )
    # rows that so many bands leave room for
    counts = permutations // np.arange(1, permutations + 1)
    bands = np.repeat(np.arange(1, permutations + 1), counts)
    rows = np.concatenate([np.arange(1, most + 1) for most in counts])
    weight = false_positive_weight
    errors = weight * _false_positives(threshold, bands, rows) + (1 - weight) * _false_negatives(
        threshold, bands, rows
    )
    best = int(np.argmin(errors))
    return Curve(int(bands[best]), int(rows[best]))


def draw(
    curve: Curve, marks: dict[str, float], height: int = 10, blocks: str = BLOCKS
) -> list[str]:
    """The curve as lines of text, 68 columns wide: P over s from 0 to 1, and an arrow with its name
    at each marked similarity.

    ``height`` is the number of lines that P takes; ``blocks`` the characters of a cell, from empty
    to full.
    """
    columns = 10 * _STEP + 1
    filled = curve.probability(np.linspace(0, 1, columns)) * height * (len(blocks) - 1)
    lines = []
    for line in range(height, 0, -1):
        label = f"{100 * line // height:>3} %" if 2 * line in (2 * height, height) else ""
        levels = np.clip(
            np.round(filled - (line - 1) * (len(blocks) - 1)), 0, len(blocks) - 1
        ).astype(int)
        # P(0) = 0 stands on the axis
        lines.append(f"{label:>5} |{''.join(blocks[level] for level in levels[1:])}")
    lines.append("  0 % " + ("+" + "-" * (_STEP - 1)) * 10 + "+")
    lines.append(" " * 5 + "".join(f"{tenth / 10:<{_STEP}.1f}" for tenth in range(10)) + "1.0")
    for name, similarity in sorted(marks.items(), key=lambda item: item[1]):
        place = 7 + round(similarity * (columns - 1))
        said = f"{name} {similarity:.3f}"
        lines.append(
            f"{said} ^".rjust(place) if place > len(said) + 1 else f"{'^':>{place}} {said}"
        )
    return lines


def _within_unit(field: str, value: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(value, np.float64)
    wrong = values[~((values >= 0) & (values <= 1))]
    if wrong.size:
        raise UserError(
            f"S-curve: not a {field.replace('_', ' ')}",
            parameter=field,
            found=float(wrong.flat[0]),
            fix="give numbers from 0 to 1",
        )
    return values


def _misses(bands: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Integral of (1 - s^rows)^bands from 0 to 1: B(1/rows, bands + 1) / rows, by the substitution
    t = s^rows.
    """
    return np.asarray(beta(1.0 / rows, bands + 1.0) / rows)


def _false_positives(
    threshold: float, bands: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.asarray(
        threshold
        - _misses(bands, rows)
        * betainc(1.0 / rows, bands + 1.0, threshold ** rows.astype(np.float64))
    )


def _false_negatives(
    threshold: float, bands: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.asarray(
        _misses(bands, rows)
        * (1.0 - betainc(1.0 / rows, bands + 1.0, threshold ** rows.astype(np.float64)))
    )
