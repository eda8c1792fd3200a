"""What a deduplication ought to find: real documents mixed with edited ones, and the exact
similarity of every pair.

Shingles are 5 words; words are runs of letters and digits of the lower-cased text, Han characters
one by one. The rules of the tools differ from this and from each other in small things; all are
held against it alike.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import xxhash
from numpy.typing import NDArray

NGRAMS, COPIED, THRESHOLD = 5, 0.8, 0.7
LONGEST_BYTES = 20_000
PLANTED_SHARE = 0.25
WORD = re.compile("[\u3400-\u9fff]|[^\\W_\u3400-\u9fff]+")


def words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


def shingles_of(text: str) -> set[int]:
    words = words_of(text)
    return {
        xxhash.xxh3_64_intdigest("\0".join(words[place : place + NGRAMS]))
        for place in range(len(words) - NGRAMS + 1)
    }


def mixed_documents(texts: Iterable[str], documents: int, seed: int = 1) -> list[str]:
    """So many documents in random order: a quarter of them edited copies of the others."""
    draw = random.Random(seed)
    usable = [
        text for text in texts if len(text.encode()) <= LONGEST_BYTES and len(words_of(text)) >= 20
    ]
    planted = min(round(documents * PLANTED_SHARE), len(usable))
    real = usable[: documents - planted]
    copies = [
        edited(text, draw.uniform(0.5, 1.0), draw)
        for text in draw.sample(real, min(planted, len(real)))
    ]
    mixed = [*real, *copies]
    draw.shuffle(mixed)
    return mixed


def edited(text: str, similarity: float, draw: random.Random) -> str:
    """A copy of about this Jaccard similarity: words replaced by new ones, in one stretch or
    scattered.
    """
    spans = [match.span() for match in WORD.finditer(text)]
    # of n shingles, that many on either side are not shared
    changed = (1 - similarity) / (1 + similarity) * len(spans)
    if draw.random() < 0.5:
        first = draw.randrange(max(1, len(spans) - round(changed)))
        places = set(range(first, min(len(spans), first + max(0, round(changed) - NGRAMS + 1))))
    else:
        places = set(draw.sample(range(len(spans)), min(len(spans), round(changed / NGRAMS))))
    pieces, end = [], 0
    for place, (start, stop) in enumerate(spans):
        if place in places:
            pieces += [text[end:start], "".join(draw.choices("bcdfghjklmnpqrstvwxz", k=7))]
            end = stop
    return "".join([*pieces, text[end:]])


@dataclass(frozen=True)
class Truth:
    """Pairs of rows (left < right) of at least 0.5 Jaccard similarity, and that similarity, each
    (pairs,).
    """

    documents: int
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    similarity: NDArray[np.float64]

    @staticmethod
    def of(texts: Sequence[str]) -> Truth:
        """Every pair of the documents compared: common shingles are the product of the incidence
        matrix with its transpose.
        """
        sets = [shingles_of(text) for text in texts]
        numbers = np.unique(
            np.fromiter((shingle for shingles in sets for shingle in shingles), np.uint64)
        )
        columns = np.concatenate(
            [
                np.searchsorted(numbers, np.fromiter(shingles, np.uint64, len(shingles)))
                for shingles in sets
            ]
        )
        lengths = np.array([len(shingles) for shingles in sets])
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        incidence = sp.csr_array(
            (np.ones(len(columns), np.int32), columns, bounds), shape=(len(sets), len(numbers))
        )
        common = sp.triu(incidence @ incidence.T, k=1).tocoo()
        similarity = common.data / (lengths[common.row] + lengths[common.col] - common.data)
        near = similarity >= 0.5
        left, right = common.row[near].astype(np.int64), common.col[near].astype(np.int64)
        return Truth(len(texts), left, right, similarity[near])

    def pairs(self, similarity: float) -> int:
        return int((self.similarity >= similarity).sum())


def quality(truth: Truth, kept_rows: Sequence[int]) -> dict[str, Any]:
    """Recall over pairs of at least 0.8, precision over removed documents."""
    kept = np.zeros(truth.documents, np.bool_)
    kept[list(kept_rows)] = True
    copied = truth.similarity >= COPIED
    found = ~kept[truth.left[copied]] | ~kept[truth.right[copied]]
    alike = truth.similarity >= THRESHOLD
    resembles_kept = np.zeros(truth.documents, np.bool_)
    for one, other in (
        (truth.left[alike], truth.right[alike]),
        (truth.right[alike], truth.left[alike]),
    ):
        resembles_kept[one[kept[other]]] = True
    removed = int((~kept).sum())
    right = int((~kept & resembles_kept).sum())
    return {
        "removed": removed,
        "recall": round(float(found.mean()), 4) if copied.any() else None,
        "pairs_missed": int((~found).sum()),
        "precision": round(right / removed, 4) if removed else None,
        "removed_without_like": removed - right,
    }
