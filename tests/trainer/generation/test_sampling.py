"""Which token is drawn: as transformers' own processors have it, in their order, and row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from artifacts.errors import UserError
from trainer.generation.sampling import candidates, generator_of, penalised, pick, pick_each
from trainer.generation.settings import GenerateSettings

settings_of_any_kind = st.builds(
    GenerateSettings,
    temperature=st.sampled_from([0.05, 0.3, 0.8, 1.0, 1.7, 20.0]),
    top_k=st.none() | st.integers(1, 80),
    top_p=st.sampled_from([1.0, 0.999, 0.9, 0.5, 0.1, 1e-9]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 0.9, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.1, 2.0, 0.5]),
)


def theirs(scores: torch.Tensor, seen: list[int], settings: GenerateSettings) -> torch.Tensor:
    """Probabilities (V,) by transformers."""
    steps: list[Any] = [TemperatureLogitsWarper(settings.temperature)]
    if settings.repetition_penalty != 1.0:
        steps.insert(0, RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if settings.top_k is not None:
        steps.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        steps.append(TopPLogitsWarper(settings.top_p))
    if settings.min_p:
        steps.append(MinPLogitsWarper(settings.min_p))
    processed = LogitsProcessorList(steps)(torch.tensor([seen]), scores[None].clone())
    return torch.softmax(processed[0], -1)


def ours(scores: torch.Tensor, seen: list[int], settings: GenerateSettings) -> torch.Tensor:
    if settings.repetition_penalty != 1.0:
        scores = penalised(scores, seen, settings.repetition_penalty)
    chances, ids = candidates(scores, settings)
    return torch.zeros(len(scores), dtype=torch.float64).index_put((ids,), chances / chances.sum())


@given(
    settings_of_any_kind,
    st.integers(0, 1 << 30),
    st.integers(2, 60),
    st.sampled_from([0.1, 1.0, 8.0]),
    st.lists(st.integers(0, 1), min_size=1, max_size=9),
)
def test_the_filters_leave_what_those_of_transformers_leave(
    settings: GenerateSettings, seed: int, vocabulary: int, spread: float, seen: list[int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(vocabulary, generator=generator, dtype=torch.float64)
    expected = theirs(scores, seen, settings)
    found = ours(scores, seen, settings)
    assert ((found > 0) == (expected > 0)).all()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(settings_of_any_kind, st.integers(0, 1 << 30))
def test_as_likely_tokens_share_the_fate_of_the_last_that_is_kept(
    settings: GenerateSettings, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, (30,), generator=generator).double()
    settings = settings.model_copy(update={"top_p": 1.0})  # theirs splits ties by sorting
    expected = theirs(scores, [0], settings)
    torch.testing.assert_close(ours(scores, [0], settings), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-30, 1e308])
def test_every_finite_temperature_draws_a_token(temperature: float) -> None:
    scores = torch.tensor([-3.0, 4.0, 2.0])
    generator = torch.Generator().manual_seed(1)
    draws = [pick(scores, GenerateSettings(temperature=temperature), generator) for _ in range(60)]
    assert set(draws) == ({1} if temperature < 1 else {0, 1, 2})


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("score", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_are_an_error(temperature: float, score: float) -> None:
    generator, scores = torch.Generator(), torch.tensor([0.0, score])
    with pytest.raises(UserError, match="scores are not finite") as error:
        pick(scores, GenerateSettings(temperature=temperature), generator)
    assert error.value.found == "1 of 2"


def test_scores_whose_sum_is_too_large_are_finite_all_the_same() -> None:
    scores = torch.tensor([3e38, 3e38, -1.0])
    assert pick(scores, GenerateSettings(), torch.Generator()) == 0


def test_sampling_follows_the_chances() -> None:
    scores = torch.tensor([0.5, 0.3, 0.2]).log()
    generator = torch.Generator().manual_seed(1)
    draws = [pick(scores, GenerateSettings(temperature=1.0), generator) for _ in range(2000)]
    shares = [draws.count(token) / 2000 for token in range(3)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    narrow = GenerateSettings(temperature=1.0, top_p=0.6)
    assert {pick(scores, narrow, generator) for _ in range(200)} == {0, 1}


def test_a_penalty_holds_without_a_temperature_too() -> None:
    scores, generator = torch.tensor([3.0, 2.0, -1.0]), torch.Generator()
    assert pick(scores, GenerateSettings(repetition_penalty=1.4), generator, [0, 0]) == 0
    assert pick(scores, GenerateSettings(repetition_penalty=1.6), generator, [0, 2]) == 1
    below = torch.tensor([-3.0, -2.0])
    assert pick(below, GenerateSettings(repetition_penalty=1.6), generator, [1]) == 0
    assert pick(below, GenerateSettings(repetition_penalty=1.6), generator, []) == 1


def test_every_row_draws_from_a_stream_of_its_own() -> None:
    scores = torch.zeros(2, 500)
    warm = GenerateSettings(temperature=1.0)
    streams = [[generator_of(seed, row) for row in (0, 1)] for seed in (1, 2, 1)]
    drawn = [
        [pick_each(scores, warm, streams[number], [[], []]) for _ in range(8)]
        for number in range(3)
    ]
    assert drawn[0] == drawn[2] != drawn[1]
    first, second = zip(*drawn[0], strict=True)
    assert first != second
    alone = generator_of(1, 1)
    assert [pick_each(scores[:1], warm, [alone], [[]])[0] for _ in range(8)] == list(second)
    plain = torch.Generator().manual_seed(1)
    assert [pick(scores[0], warm, plain) for _ in range(8)] == list(first)


def test_seeds_that_differ_in_their_upper_half_alone_are_different_streams() -> None:
    scores, warm = torch.zeros(500), GenerateSettings(temperature=1.0)
    drawn = {pick(scores, warm, generator_of(1 + (high << 32), 1)) for high in range(6)}
    assert len(drawn) > 3
