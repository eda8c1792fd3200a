"""Answers of a reader held against ours. Needs numpy alone: readers' environments run it too.

Shapes: T tokens of a text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
SHOWN = 2
MARK = "U+2581"
"""What SentencePiece writes for a space."""


def log_chances(logits: Logits) -> NDArray[np.float64]:
    """Logarithms of the chances of the next token, (T, V)."""
    exact = logits.astype(np.float64)
    exact -= exact.max(-1, keepdims=True)
    exact -= np.log(np.exp(exact).sum(-1, keepdims=True))
    return exact


def losses(logits: Logits, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Loss in nats of every token but the first of a text (T,), by its logits (T, V)."""
    chances = log_chances(logits[:-1])
    return -chances[np.arange(len(ids) - 1), ids[1:]]


def logit_difference(pairs: Sequence[tuple[Logits, Logits]]) -> dict[str, float]:
    """How far theirs are from ours over several texts, (ours, theirs) each: the largest difference,
    our largest logit, and the mean divergence of the distributions in nats.
    """
    apart = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    divergence = [divergences(ours, theirs) for ours, theirs in pairs]
    return {
        "largest_difference": apart,
        "largest_logit": max(float(np.abs(ours).max()) for ours, _ in pairs),
        "mean_kl": float(np.concatenate(divergence).mean()),
    }


def divergences(ours: Logits, theirs: Logits) -> NDArray[np.float64]:
    """Kullback-Leibler divergence (T,) of their next token from ours, in nats."""
    first, second = log_chances(ours), log_chances(theirs)
    found: NDArray[np.float64] = (np.exp(first) * (first - second)).sum(-1)
    return found


def loss_difference(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, float]:
    """Means of the same tokens' losses in nats, theirs less ours, and the largest of one token."""
    return {
        "tokens": int(ours.size),
        "ours": float(ours.mean()),
        "theirs": float(theirs.mean()),
        "difference": float(theirs.mean() - ours.mean()),
        "largest_of_a_token": float(np.abs(theirs - ours).max()),
    }


def text_difference(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, int]:
    """Continuations (ours, theirs): how many there are, their tokens, and how many are not the
    same.
    """
    return {
        "texts": len(pairs),
        "tokens": sum(len(ours) for ours, _ in pairs),
        "different": sum(list(ours) != list(theirs) for ours, theirs in pairs),
    }


def id_difference(rows: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> dict[str, Any]:
    """Ids of texts (text, ours, theirs): how many differ, by what such a text holds, and the
    first.
    """
    texts = ids = 0
    holding: dict[str, int] = {}
    first: list[dict[str, Any]] = []
    for text, ours, theirs in rows:
        texts += 1
        ids += len(ours)
        if list(ours) != list(theirs):
            kind = holds(text)
            holding[kind] = holding.get(kind, 0) + 1
            if len(first) < SHOWN:
                place = apart_at(ours, theirs)
                first.append(
                    {
                        "text": text[:80],
                        "ours": list(ours[place : place + 8]),
                        "theirs": list(theirs[place : place + 8]),
                    }
                )
    different = sum(holding.values())
    return {"texts": texts, "ids": ids, "different": different, "holding": holding, "first": first}


def holds(text: str) -> str:
    """What of a text other programs are known to lose."""
    return MARK if "\u2581" in text else "NUL" if "\0" in text else "neither U+2581 nor NUL"


def apart_at(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """The first place where two rows of ids differ."""
    shorter = min(len(ours), len(theirs))
    return next((place for place in range(shorter) if ours[place] != theirs[place]), shorter)


def worst(values: Iterable[Mapping[str, float]], name: str) -> float:
    """The value of a figure that is furthest from 0."""
    return max((abs(value[name]) for value in values), default=0.0)
