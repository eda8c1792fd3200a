"""The truth that the benchmark of whole deduplications holds tools against, against plain
Python.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

WORDS = [f"w{number}" for number in range(400)]


@pytest.fixture(scope="module")
def truth(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "dedup_truth", root / "benchmarks" / "dedup_truth.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def texts(truth: ModuleType) -> list[str]:
    draw = random.Random(3)
    found: list[str] = truth.mixed_documents(
        [" ".join(draw.choices(WORDS, k=150)) for _ in range(120)], 100
    )
    return found


def jaccard(truth: ModuleType, one: str, other: str) -> float:
    left, right = truth.shingles_of(one), truth.shingles_of(other)
    return len(left & right) / len(left | right)


def test_every_pair_of_the_truth_is_that_of_plain_sets(truth: ModuleType, texts: list[str]) -> None:
    found = truth.Truth.of(texts)
    pairs = {
        (int(a), int(b)): float(s)
        for a, b, s in zip(found.left, found.right, found.similarity, strict=True)
    }
    expected = {
        (a, b): jaccard(truth, texts[a], texts[b])
        for a in range(len(texts))
        for b in range(a + 1, len(texts))
    }
    assert pairs == {pair: value for pair, value in expected.items() if value >= 0.5}
    assert len(pairs) >= 20


def test_edited_copies_have_about_the_similarity_asked_for(truth: ModuleType) -> None:
    draw = random.Random(5)
    text = " ".join(draw.sample(WORDS, 400))
    for wanted in (0.5, 0.7, 0.9, 1.0):
        for _ in range(6):
            assert abs(jaccard(truth, text, truth.edited(text, wanted, draw)) - wanted) < 0.08


def test_recall_and_precision_of_known_removals(truth: ModuleType, texts: list[str]) -> None:
    found = truth.Truth.of(texts)
    copied = [
        (int(a), int(b))
        for a, b, s in zip(found.left, found.right, found.similarity, strict=True)
        if s >= 0.8
    ]
    removed = {b for _, b in copied}
    all_found = truth.quality(found, [row for row in range(len(texts)) if row not in removed])
    assert (all_found["recall"], all_found["precision"], all_found["removed"]) == (
        1.0,
        1.0,
        len(removed),
    )
    stranger = next(
        row for row in range(len(texts)) if row not in found.left and row not in found.right
    )
    worse = truth.quality(found, [row for row in range(len(texts)) if row != stranger])
    assert (worse["recall"], worse["precision"], worse["pairs_missed"]) == (0.0, 0.0, len(copied))
