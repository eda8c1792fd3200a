"""A conversation's turns read what is new alone, and answer as if all were read anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.generation.test_speak import Counting, counting
from tests.trainer.loop_corpus import Corpus
from tests.trainer.test_model_cache import model_of
from trainer.generation import speak as speaking
from trainer.generation.chat import Conversation
from trainer.generation.memory import Memory
from trainer.generation.sampling import pick_each
from trainer.generation.settings import GenerateSettings
from trainer.generation.speak import speak
from trainer.generation.window import Prompt, Window
from trainer.model import Model

ANSWER = 10
QUESTIONS = ["add 1 and 2", "the river", "and 3?", "mill mill mill", "a boat home", "add 4 and 5"]


def talked(
    model: Counting, corpus: Corpus, memory: Memory | None, window: int
) -> tuple[list[list[int]], list[int]]:
    """Answers to the questions, and how many tokens were read for each."""
    conversation = Conversation(corpus.tokenizer, window, ANSWER, system="be brief")
    asked = GenerateSettings(tokens=ANSWER, context=window, temperature=0.8, seed=3)
    answers, read = [], []
    for text in QUESTIONS:
        question = conversation.ask(text)
        model.passes = []
        said = speak(
            model, [question.prompt], asked, set(), first=question.number, memory=memory
        )  # no end: each answer has its full length
        answer = [one.token for one in said if one.token is not None]
        conversation.answered(question, answer)
        answers.append(answer)
        read.append(sum(tokens for _, _, tokens in model.passes))
    return answers, read


class Drawn:
    """Draws tokens and remembers their scores; the second time it draws the same tokens where the
    scores are the same but for rounding, which may part two chances that are as good as equal.
    """

    def __init__(self) -> None:
        self.first: list[tuple[torch.Tensor, list[int]]] = []
        self.second: Iterator[tuple[torch.Tensor, list[int]]] | None = None

    def __call__(self, scores: torch.Tensor, *how: Any) -> list[int]:
        if self.second is None:
            self.first.append((scores.clone(), pick_each(scores, *how)))
            return self.first[-1][1]
        before, tokens = next(self.second)
        torch.testing.assert_close(scores, before, atol=1e-5, rtol=1e-5)
        return tokens

    def again(self) -> None:
        self.second = iter(self.first)

    @property
    def left(self) -> int:
        return 0 if self.second is None else sum(1 for _ in self.second)


def test_six_turns_say_the_same_and_read_the_turn_alone(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = counting(model_of(vocab_size=corpus.tokenizer.vocab_size))
    drawn = Drawn()
    monkeypatch.setattr(speaking, "pick_each", drawn)
    anew, all_read = talked(model, corpus, None, window=512)
    drawn.again()
    kept, read = talked(model, corpus, Memory(model), window=512)
    assert kept == anew
    assert read[0] == all_read[0]
    for text, tokens, whole in zip(QUESTIONS[1:], read[1:], all_read[1:], strict=True):
        own = len(corpus.tokenizer.encode_text(text)) + 2  # both marks
        # the last token of the answer before was said, not read, and EOS follows it
        assert tokens == 2 + own + ANSWER - 1
        assert tokens < whole
    assert all_read[-1] > 4 * read[-1]


@pytest.mark.parametrize("scaling", [None, "dynamic"])
def test_turns_that_leave_the_window_are_answered_as_if_all_were_read_anew(
    corpus: Corpus, scaling: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rope = {} if scaling is None else {
        "rope_scaling": scaling, "rope_factor": 4.0, "rope_original_context": 48,
    }  # fmt: skip
    model = counting(model_of(vocab_size=corpus.tokenizer.vocab_size, **rope))
    drawn = Drawn()
    monkeypatch.setattr(speaking, "pick_each", drawn)
    anew, all_read = talked(model, corpus, None, window=64)
    drawn.again()
    kept, read = talked(model, corpus, Memory(model), window=64)
    assert kept == anew
    assert drawn.left == 0
    assert sum(read) <= sum(all_read)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_what_is_left_to_read_is_what_differs(prompts: list[list[int]]) -> None:
    model = model_of(layers=1)
    memory = Memory(model)
    before: Sequence[int] = ()
    for ids in prompts:
        window = Window(Prompt(ids), None)
        memory.recall(window)
        same = len(ids) - len(window.pending())
        assert same <= len(ids) - 1
        assert list(before[:same]) == ids[:same]
        assert same == len(ids) - 1 or same == len(before) or before[same] != ids[same]
        hidden = _read(model, memory, window)
        fresh = Memory(model)
        whole = Window(Prompt(ids), None)
        fresh.recall(whole)
        torch.testing.assert_close(hidden, _read(model, fresh, whole), atol=1e-5, rtol=1e-5)
        before = ids


@torch.inference_mode()
def _read(model: Model, memory: Memory, window: Window) -> torch.Tensor:
    hidden: torch.Tensor = model.read(memory.cache, [0], [window.pending()])
    window.read()
    memory.keep(window)
    return hidden


def test_an_answer_that_is_broken_off_leaves_what_was_read(corpus: Corpus) -> None:
    model = counting(model_of(vocab_size=corpus.tokenizer.vocab_size))
    memory = Memory(model)
    asked = GenerateSettings(tokens=8)
    first = speak(model, [Prompt([1, 5, 9, 7])], asked, set(), memory=memory)
    said = [next(first).token for _ in range(3)]
    first.close()
    model.passes = []
    prompt = Prompt([1, 5, 9, 7, *(token for token in said if token is not None), 11])
    again = [one.token for one in speak(model, [prompt], asked, set(), memory=memory)]
    assert model.passes[0][2] == 2
    assert again == [one.token for one in speak(model, [prompt], asked, set())]
