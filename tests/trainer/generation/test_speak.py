"""Many prompts at once: each has the answer it has alone, every token is read once, rows that end
make room.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from tests.trainer.loop_corpus import Corpus, code, web
from tests.trainer.loop_runs import LENGTH
from tests.trainer.test_model_cache import CONTEXT, model_of, texts
from trainer.checkpoints.checkpoint import at_step
from trainer.evaluation.generate import answers, speaker
from trainer.generation.settings import GenerateSettings
from trainer.generation.speak import PADDED_TOKENS, Said, groups, speak
from trainer.generation.window import Prompt
from trainer.model import Model


class Counting(Model):
    """Notes the shape of each forward pass, and how many tokens of it are not padding."""

    passes: list[tuple[int, int, int]]

    def forward(self, tokens: Any, positions: Any, documents: Any = None, past: Any = None) -> Any:
        self.passes.append((*tokens.shape, sum(past.counts)))
        return super().forward(tokens, positions, documents, past)


def counting(model: Model) -> Counting:
    model.__class__ = Counting
    assert isinstance(model, Counting)
    model.passes = []
    return model


def said_by(said: list[Said]) -> dict[int, list[int]]:
    """Tokens by prompt."""
    found: dict[int, list[int]] = {}
    for one in said:
        found.setdefault(one.prompt, [])
        if one.token is not None:
            found[one.prompt].append(one.token)
    return found


def slowly(model: Model, prompt: Prompt, asked: GenerateSettings, ends: set[int]) -> list[int]:
    """Greedy, by the whole of what is in sight for every token; the window written down again."""
    seen = list(prompt.ids)
    if asked.context is not None and len(seen) > asked.context:
        seen = seen[: prompt.kept] + seen[len(seen) - asked.context + prompt.kept :]
    answer: list[int] = []
    while len(answer) < asked.tokens:
        scores = model.logits(model(torch.tensor([seen]), torch.arange(len(seen))[None])[0, -1])
        token = int(scores.argmax())
        if token in ends:
            break
        answer.append(token)
        seen.append(token)
        if asked.context is not None and len(seen) > asked.context:
            rest = seen[prompt.kept :]
            seen = seen[: prompt.kept] + rest[len(rest) - max(1, len(rest) // 2) :]
    return answer


@settings(max_examples=40)
@given(
    st.sampled_from(["none", "dynamic"]),
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([None, 9, 16, 24]),
    st.integers(1, 4),
    st.integers(1, 24),
)
def test_an_answer_is_the_one_that_whole_forward_passes_give(
    scaling: str,
    lengths: list[tuple[int, bool]],
    context: int | None,
    batch: int,
    tokens: int,
) -> None:
    rotary = {} if scaling == "none" else {
        "rope_scaling": scaling, "rope_factor": 2.0, "rope_original_context": CONTEXT
    }  # fmt: skip
    model = model_of(**rotary)
    ids = texts([length for length, _ in lengths])
    prompts = [
        Prompt(one, kept=min(len(one), (context or 99) - 1) if whole else 1)
        for one, (_, whole) in zip(ids, lengths, strict=True)
    ]
    asked = GenerateSettings(tokens=tokens, context=context, batch=batch)
    ends = {3, 17}
    found = said_by(list(speak(model, prompts, asked, ends)))
    with torch.inference_mode():
        assert found == {
            number: slowly(model, prompt, asked, ends) for number, prompt in enumerate(prompts)
        }


def test_every_token_is_read_once_and_rows_that_end_make_room() -> None:
    model = counting(model_of())
    prompts = [Prompt(ids) for ids in texts([5, 1, 9, 30, 2])]
    asked = GenerateSettings(tokens=6, batch=2)
    said = list(speak(model, prompts, asked, ends=set()))
    assert Counter(one.prompt for one in said) == dict.fromkeys(range(5), 6)
    read = sum(tokens for *_, tokens in model.passes)
    assert read == sum(len(prompt.ids) + 5 for prompt in prompts)
    assert max(rows for rows, *_ in model.passes) == 2
    assert [one.prompt for one in said if one.ended] == [0, 1, 2, 3, 4]


def test_a_window_that_is_full_is_read_anew_by_half() -> None:
    model = counting(model_of())
    asked = GenerateSettings(tokens=200, context=33)
    list(speak(model, [Prompt(texts([20])[0])], asked, ends=set()))
    read = sum(tokens for *_, tokens in model.passes)
    assert 200 < read < 20 + 2.2 * 200
    assert Counter(tokens for *_, tokens in model.passes)[1] > 180


def test_what_is_out_of_sight_is_counted() -> None:
    model = model_of()
    asked = GenerateSettings(tokens=30, context=16)
    said = list(speak(model, [Prompt(texts([20])[0])], asked, ends=set()))
    assert said[0].unseen == 4
    assert said[1].unseen == 21 - (1 + 8)
    assert all(1 + 8 <= 20 + number - one.unseen <= 16 for number, one in enumerate(said))
    assert said[-1].unseen >= 20 + 29 - 16


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=40))
def test_rows_that_read_together_waste_less_than_they_read(counts: list[int]) -> None:
    found = groups(counts)
    assert sorted(place for places in found for place in places) == list(range(len(counts)))
    for places in found:
        longest = max(counts[place] for place in places)
        padded = longest * len(places)
        assert padded < 2 * sum(counts[place] for place in places)
        assert padded <= PADDED_TOKENS or len(places) == 1 or longest == 1


def test_a_prompt_that_cannot_be_continued_is_an_error_before_it_is_read() -> None:
    model = counting(model_of())
    with pytest.raises(UserError, match="fills all"):
        list(speak(model, [Prompt([1] * 8, kept=8)], GenerateSettings(context=8), ends=set()))
    assert model.passes == []


def test_scores_that_are_not_finite_are_an_error_of_the_whole_call() -> None:
    model = model_of()
    model.embedding.data[5] = torch.nan
    prompts = [Prompt([1, 2]), Prompt([1, 5])]
    with pytest.raises(UserError, match="scores are not finite"):
        list(speak(model, prompts, GenerateSettings(), ends=set()))


def test_who_listens_may_leave_at_any_token() -> None:
    model = model_of()
    talk = speak(model, [Prompt([1, 2])], GenerateSettings(tokens=50), ends=set())
    assert next(talk).token is not None
    talk.close()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        GenerateSettings(tokens=24, context=LENGTH, batch=16),
        GenerateSettings(
            tokens=24, context=LENGTH, batch=16, temperature=0.9, top_p=0.95, top_k=50, min_p=0.02,
            repetition_penalty=1.1, stop=("mill ",),
        ),
    ],
    ids=["greedy", "sampled"],
)  # fmt: skip
def test_200_prompts_have_the_texts_they_have_without_neighbours(
    corpus: Corpus, whole: Path, asked: GenerateSettings
) -> None:
    """In fp32 on a CPU. Alone, a prompt keeps its number, from which it draws."""
    model, tokenizer = speaker(at_step(whole, 12), "cpu")
    prompts = [
        text[: 3 + 7 * (number % 20)] for number, text in enumerate(web(5, 150) + code(6, 50))
    ]
    together = list(answers(model, tokenizer, prompts, asked))
    assert len({one.text for one in together}) > 50
    assert len({one.tokens for one in together}) > 3 or not asked.stop
    for number, (prompt, one) in enumerate(zip(prompts, together, strict=True)):
        (alone,) = answers(model, tokenizer, [prompt], asked, first=number)
        assert alone == one, (number, prompt)
