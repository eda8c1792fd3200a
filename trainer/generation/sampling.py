"""Which token comes next: scores are penalised, warmed and narrowed, then one is drawn.

    scores (V,) ─ penalised ─▶ / temperature ─▶ top-k ─▶ top-p ─▶ min-p ─▶ chances ─ draw ─▶ token

That is the order of transformers, and what is left after each step is what is left there.
Probabilities are fp64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from artifacts.errors import UserError
from trainer.generation.settings import GenerateSettings


def generator_of(seed: int, number: int) -> torch.Generator:
    """Where the prompt with this number in a call draws from: a stream of its own."""
    if number:
        seed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed)


def check_finite(scores: Tensor) -> None:
    """Raises: UserError when a score is NaN or infinite."""
    if math.isfinite(scores.sum().item()):  # nothing that is not finite leaves a sum finite
        return
    if not bool(torch.isfinite(scores).all()):
        raise UserError(
            "the model's scores are not finite",
            found=f"{int((~torch.isfinite(scores)).sum())} of {scores.numel()}",
            fix="take an earlier checkpoint",
        )


def pick(
    scores: Tensor,
    settings: GenerateSettings,
    generator: torch.Generator,
    seen: Sequence[int] = (),
) -> int:
    """The next token by its scores (V,) after the ids ``seen``. Raises: UserError when a score is
    not finite.
    """
    check_finite(scores)
    return next(iter(pick_each(scores[None], settings, [generator], [seen])))


def pick_each(
    scores: Tensor,
    settings: GenerateSettings,
    generators: Sequence[torch.Generator],
    seen: Sequence[Sequence[int]],
) -> list[int]:
    """The next token of each row by its scores (B, V), which are finite."""
    if settings.repetition_penalty != 1.0:
        rows = zip(scores, seen, strict=True)
        scores = torch.stack(
            [penalised(row, ids, settings.repetition_penalty) for row, ids in rows]
        )
    if settings.temperature == 0:
        return [int(token) for token in scores.argmax(-1).tolist()]
    return [
        draw(*candidates(row, settings), generator)
        for row, generator in zip(scores, generators, strict=True)
    ]


def penalised(scores: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
    """Scores (V,) in which those of the ids ``seen`` are divided by the penalty where they are
    positive and multiplied where they are negative (arXiv 1909.05858, section 4.1).
    """
    ids = torch.tensor(seen, dtype=torch.int64)
    old = scores[ids].double()
    new = torch.where(old < 0, old * penalty, old / penalty)
    return scores.double().index_put((ids,), new)


def candidates(scores: Tensor, settings: GenerateSettings) -> tuple[Tensor, Tensor]:
    """Chances of the tokens that may be drawn by their scores (V,), likeliest first, and their ids.

    Chances are in proportion; those left out by top-p and min-p are 0.
    """
    chosen = torch.arange(len(scores))
    if settings.top_k is not None and settings.top_k < len(scores):
        least = scores.topk(settings.top_k).values[-1]
        chosen = (scores >= least).nonzero()[:, 0]
        scores = scores[chosen]
    warmed = scores.double() / settings.temperature
    if not bool(torch.isfinite(warmed).all()):  # the temperature is next to nothing
        warmed = (scores.double() - scores.max()) / settings.temperature
    chances, order = torch.softmax(warmed, -1).sort(descending=True, stable=True)
    before = chances.cumsum(-1) - chances
    chances = torch.where(before < settings.top_p, chances, 0.0)
    if settings.min_p:
        chances = torch.where(chances >= settings.min_p * chances[0], chances, 0.0)
    return chances, chosen[order]


def draw(chances: Tensor, ids: Tensor, generator: torch.Generator) -> int:
    """One of ``ids``, by its chance."""
    return int(ids[torch.multinomial(chances, 1, generator=generator)])
