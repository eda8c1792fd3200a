"""Losses of texts of any length against the whole context at once, and their intervals."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import STABLE
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import at_step
from trainer.evaluation import text_loss
from trainer.evaluation.generate import speaker
from trainer.evaluation.text_loss import TextLosses, text_losses
from trainer.model import Model, init
from trainer.objectives.losses import Loss

TEXTS = ["the river and the boat", "", "é 漢 🙂", "mill " * 40, "x"]


@pytest.fixture(scope="module")
def spoken(whole: Path) -> tuple[Model, Tokenizer]:
    return speaker(at_step(whole, STABLE), "cpu")


def nats_by_token(model: Model, tokenizer: Tokenizer, text: str) -> list[float]:
    ids = [tokenizer.bos_id, *tokenizer.encode_text(text)]
    with torch.inference_mode():
        hidden = model(torch.tensor([ids[:-1]]), torch.arange(len(ids) - 1)[None])
        chances = model.logits(hidden)[0].log_softmax(-1)
    return [-float(chances[place, token]) for place, token in enumerate(ids[1:])]


def test_a_text_within_the_window_has_the_loss_of_all_its_tokens(
    spoken: tuple[Model, Tokenizer],
) -> None:
    model, tokenizer = spoken
    found = text_losses(model, tokenizer, TEXTS, window=4096)
    for text, loss in zip(TEXTS, found, strict=True):
        expected = sum(nats_by_token(model, tokenizer, text)) if text else 0.0
        assert loss.nats == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert loss.bytes == len(text.encode())
        assert loss.tokens == len(tokenizer.encode_text(text))


@given(window=st.integers(2, 40), words=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_every_token_is_predicted_once_from_half_a_window_at_least(
    spoken: tuple[Model, Tokenizer], window: int, words: int, seed: int
) -> None:
    model, tokenizer = spoken
    draw = np.random.default_rng(seed)
    text = " ".join(draw.choice(["river", "boat", "total", "漢"], words).tolist())
    ids = [tokenizer.bos_id, *tokenizer.encode_text(text)]
    (found,) = text_losses(model, tokenizer, [text], window)
    expected, done = 0.0, 1
    while done < len(ids):
        begin = 0 if done == 1 else max(0, done - 1 - window // 2)
        piece = ids[begin : begin + window + 1]
        with torch.inference_mode():
            hidden = model(torch.tensor([piece[:-1]]), torch.arange(len(piece) - 1)[None])
            chances = model.logits(hidden)[0].log_softmax(-1)
        for place in range(done - begin, len(piece)):
            assert place >= min(window // 2, done - 1)
            expected -= float(chances[place - 1, piece[place]])
        done = begin + len(piece)
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert found.tokens == len(ids) - 1


def test_texts_do_not_depend_on_those_beside_them(
    spoken: tuple[Model, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = spoken
    texts = [f"{word} " * count for count, word in enumerate(["boat", "mill", "x"] * 9, 1)]
    together = text_losses(model, tokenizer, texts, window=24)
    monkeypatch.setattr(text_loss, "TOGETHER", 1)
    apart = text_losses(model, tokenizer, texts, window=24)
    for one, other in zip(together, apart, strict=True):
        assert one.nats == pytest.approx(other.nats, rel=1e-5)
        assert (one.tokens, one.bytes) == (other.tokens, other.bytes)


def test_angles_that_change_with_length_are_those_of_every_text_alone(
    spoken: tuple[Model, Tokenizer],
) -> None:
    trained, tokenizer = spoken
    config = dataclasses.replace(
        trained.config, rope_scaling="dynamic", rope_factor=2.0, rope_original_context=8
    )
    model = Model(config)
    init(model, config, seed=3)
    texts = ["the river and the boat " * count for count in (1, 3)]
    for text, loss in zip(texts, text_losses(model, tokenizer, texts, window=4096), strict=True):
        assert loss.nats == pytest.approx(sum(nats_by_token(model, tokenizer, text)), rel=1e-5)


def test_the_interval_is_over_texts() -> None:
    losses = [
        Loss(bits * size * math.log(2), 9, size) for bits, size in ((2.0, 10), (2.2, 30), (3.0, 5))
    ]
    found = TextLosses.of([*losses, Loss(0.0, 0, 0)])
    assert found.texts == 3
    assert found.whole.bits_per_byte == pytest.approx((2.0 * 10 + 2.2 * 30 + 3.0 * 5) / 45)
    mean = found.whole.bits_per_byte
    squares = sum((size * (bits - mean)) ** 2 for bits, size in ((2.0, 10), (2.2, 30), (3.0, 5)))
    assert found.half_width == pytest.approx(4.302653 * math.sqrt(squares * 3 / 2) / 45, rel=1e-5)
    assert TextLosses.of(losses[:1]).half_width is None


def test_what_cannot_be_measured_is_refused(
    corpus: Corpus, spoken: tuple[Model, Tokenizer]
) -> None:
    model, tokenizer = spoken
    with pytest.raises(UserError) as caught:
        text_losses(model, tokenizer, ["a"], window=1)
    assert caught.value.field == "window"
    broken = Model(model.config)
    with torch.no_grad():
        broken.embedding.fill_(math.nan)
    with pytest.raises(UserError, match="not finite"):
        text_losses(broken, corpus.tokenizer, ["a"], window=8)
