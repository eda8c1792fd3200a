"""Scores on benchmarks against every option read alone, whatever is read beside it."""

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
from tests.trainer.loop_runs import STABLE
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import at_step
from trainer.evaluation.generate import speaker
from trainer.evaluation.tasks import likelihoods
from trainer.evaluation.tasks.items import Item, Task
from trainer.evaluation.tasks.layouts import read_task
from trainer.evaluation.tasks.scores import Score
from trainer.evaluation.tasks.scoring import CLOZE, GOLD, pieces_of, score_tasks
from trainer.model import Model, init

ROOT = Path(__file__).resolve().parents[4]
LOUD = 4.0
"""What the embedding of a model that was hardly trained is multiplied by, so that options differ."""


@pytest.fixture(scope="module")
def spoken(whole: Path) -> tuple[Model, Tokenizer]:
    model, tokenizer = speaker(at_step(whole, STABLE), "cpu")
    with torch.no_grad():
        model.embedding.mul_(LOUD)
    return model, tokenizer


def alone(model: Model, tokenizer: Tokenizer, context: str, continuation: str) -> float:
    """The log-likelihood in nats, all ids in one pass, normalised in fp64."""
    kept = context.rstrip()
    first = [tokenizer.bos_id, *tokenizer.encode_text(kept)]
    ids = [tokenizer.bos_id, *tokenizer.encode_text(context + continuation)]
    with torch.inference_mode():
        hidden = model(torch.tensor([ids[:-1]]), torch.arange(len(ids) - 1)[None])
        chances = model.logits(hidden)[0].double().log_softmax(-1)
    return sum(float(chances[at - 1, ids[at]]) for at in range(len(first), len(ids)))


PREMISES = {"a": "Answer:", "b": "Answer:", "c": "答案：", "d": ""}


def item(key: str, context: str, options: tuple[str, ...], right: int | None, answer: str) -> Item:
    return Item(key, context, options, right, answer, key, context)


def task(*items: Item, norm: str = "per_character", name: str = "t") -> Task:
    return Task(name, "mmlu", ("t.jsonl",), items, norm)


def chosen(key: str, context: str, *options: str, right: int = 0) -> Item:
    return item(key, context, options, right, options[right])


ITEMS = (
    chosen("a", "Question: the river and\nAnswer:", " the boat", " mill", " 漢", right=1),
    chosen("b", "Question: the mill\nAnswer:", " a", " the river and the boat", right=0),
    chosen("c", "问题：漢\n答案：", "漢字", "é 🙂", "x", "boat", right=3),
    chosen("d", "the boat ends with spaces  ", "and", " goes", right=1),
    item("e", "Question: 3 and 4?\nAnswer:", (), None, " 3 + 4 = 7\n#### 7"),
    item("f", "", (), None, "the river"),
)


@pytest.mark.parametrize("norm", ["raw", "per_character", "pmi"])
def test_scores_are_those_of_every_option_read_alone(
    spoken: tuple[Model, Tokenizer], norm: str
) -> None:
    model, tokenizer = spoken
    gold, cloze = score_tasks(model, tokenizer, [task(*ITEMS, norm=norm)], window=512)
    assert (gold.measure, cloze.measure) == (GOLD, CLOZE)
    assert gold.keys == tuple("abcdef")
    assert cloze.keys == tuple("abcd")
    for one, value, weight in zip(ITEMS, gold.values, gold.weights, strict=True):
        spaces = len(one.context) - len(one.context.rstrip())
        assert weight == len(one.answer.encode()) + spaces
        nats = alone(model, tokenizer, one.context, one.answer)
        assert value == pytest.approx(-nats / math.log(2) / weight, rel=1e-5)
    for one, value in zip(ITEMS[:4], cloze.values, strict=True):
        scores = []
        for option in one.options:
            nats = alone(model, tokenizer, one.context, option)
            if norm == "per_character":
                nats /= len(option.strip())
            if norm == "pmi":
                nats -= alone(model, tokenizer, PREMISES[one.key], option)
            scores.append(nats)
        assert value == float(np.argmax(scores) == one.right)
    assert cloze.chance == pytest.approx((1 / 3 + 1 / 2 + 1 / 4 + 1 / 2) / 4)
    assert gold.chance is None
    assert gold.mean == pytest.approx((gold.values * gold.weights).sum() / gold.weights.sum())
    assert cloze.note is not None
    assert "2 items have no options" in cloze.note


WORDS = st.lists(st.sampled_from(["river", "boat", "mill", "漢", "total", "a"]), min_size=1)
TEXTS = WORDS.map(lambda words: " " + " ".join(words))
CHOICES = st.tuples(WORDS.map(" ".join), st.lists(TEXTS, min_size=2, max_size=4, unique=True))


@given(
    asked=st.lists(CHOICES, min_size=2, max_size=8),
    together=st.sampled_from([1, 40, 4096]),
    few=st.sampled_from([0, 16, 10_000]),
    window=st.sampled_from([8, 24, 512]),
    draw=st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
@pytest.mark.law
def test_a_score_depends_on_neither_order_nor_what_is_read_beside(
    spoken: tuple[Model, Tokenizer],
    asked: list[tuple[str, list[str]]],
    together: int,
    few: int,
    window: int,
    draw: object,
) -> None:
    model, tokenizer = spoken
    items = [chosen(str(n), context, *options) for n, (context, options) in enumerate(asked)]
    gold, _ = score_tasks(model, tokenizer, [task(*items)], window)
    shuffled = list(items)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    cut = len(shuffled) // 2
    parts = [task(*shuffled[:cut], name="x"), task(*shuffled[cut:], name="y")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihoods, "TOGETHER", together)
        patch.setattr(likelihoods, "FEW", few)
        scores = score_tasks(model, tokenizer, parts, window)
    found = {
        key: value
        for score in scores
        if score.measure == GOLD
        for key, value in zip(score.keys, score.values, strict=True)
    }
    assert [found[one.key] for one in items] == pytest.approx(gold.values.tolist(), rel=1e-5)


def test_what_is_longer_than_the_window_is_read_from_its_end_and_counted(
    spoken: tuple[Model, Tokenizer],
) -> None:
    model, tokenizer = spoken
    context = "the river and the boat " * 9 + "\nAnswer:"
    whole = tokenizer.encode_text(context + " mill")
    rest = len(whole) - len(tokenizer.encode_text(context))
    gold, _ = score_tasks(model, tokenizer, [task(chosen("a", context, " mill", " x"))], window=12)
    seen = whole[-13:]
    with torch.inference_mode():
        hidden = model(torch.tensor([seen[:-1]]), torch.arange(12)[None])
        chances = model.logits(hidden)[0].double().log_softmax(-1)
    nats = sum(float(chances[at - 1, seen[at]]) for at in range(13 - rest, 13))
    assert gold.values[0] == pytest.approx(-nats / math.log(2) / 5, rel=1e-5)
    assert gold.note == "1 of 1 items are longer than 12 tokens: their beginning is not read"


@given(context=st.integers(1, 30), continuation=st.integers(1, 60), window=st.integers(2, 40))
@settings(deadline=None)
@pytest.mark.law
def test_every_token_of_a_long_answer_is_predicted_once_after_half_a_window(
    context: int, continuation: int, window: int
) -> None:
    ids = tuple(range(context + continuation))
    whole = likelihoods.Request(ids[:context], ids[context:])
    pieces = pieces_of(whole, window)
    assert [token for piece in pieces for token in piece.continuation] == list(ids[context:])
    for piece in pieces:
        both = piece.context + piece.continuation
        assert both == ids[both[0] : both[0] + len(both)]
        assert len(both) <= window + 1
        before = piece.continuation[0]
        assert len(piece.context) >= min(before, window // 2)


def test_equal_options_share_the_choice_and_are_counted(spoken: tuple[Model, Tokenizer]) -> None:
    model, tokenizer = spoken
    items = [
        chosen("a", "Question: q\nAnswer:", " boat", " boat", " boat", right=2),
        chosen("b", "Question: the river and the mill\nAnswer:", " boat", " boat", right=0),
    ]
    _, cloze = score_tasks(model, tokenizer, [task(*items)], window=64)
    assert cloze.values.tolist() == pytest.approx([1 / 3, 1 / 2])
    assert cloze.note is not None
    assert "in 2 items the best options are equal and share the choice" in cloze.note


def test_angles_that_change_with_length_are_those_of_every_row_alone(
    spoken: tuple[Model, Tokenizer],
) -> None:
    trained, tokenizer = spoken
    config = dataclasses.replace(
        trained.config, rope_scaling="dynamic", rope_factor=2.0, rope_original_context=16
    )
    model = Model(config)
    init(model, config, seed=3)
    long = chosen("a", "Question: " + "the river " * 9 + "\nAnswer:", " boat", " the mill and a")
    gold, _ = score_tasks(model, tokenizer, [task(long)], window=256)
    nats = alone(model, tokenizer, long.context, long.answer)
    assert gold.values[0] == pytest.approx(-nats / math.log(2) / gold.weights[0], rel=1e-5)


def test_what_cannot_be_scored_is_refused(spoken: tuple[Model, Tokenizer]) -> None:
    model, tokenizer = spoken
    with pytest.raises(UserError) as caught:
        score_tasks(model, tokenizer, [task(*ITEMS)], window=1)
    assert caught.value.field == "window"
    broken = Model(model.config)
    with torch.no_grad():
        broken.embedding.fill_(math.nan)
    with pytest.raises(UserError, match="not finite"):
        score_tasks(broken, tokenizer, [task(*ITEMS)], window=64)
    assert score_tasks(model, tokenizer, [], window=64) == []


def test_the_benchmarks_that_come_along_are_scored(spoken: tuple[Model, Tokenizer]) -> None:
    model, tokenizer = spoken
    paths = [ROOT / f"examples/benchmarks/{name}.jsonl" for name in ("mmlu-redux", "bbh")]
    tasks = [read_task([path], limit=12) for path in paths]
    scores = score_tasks(model, tokenizer, tasks, window=128)
    assert [(score.task, score.measure) for score in scores] == [
        (name, measure) for name in ("mmlu-redux", "bbh") for measure in (GOLD, CLOZE)
    ]
    for score in scores:
        again = Score.from_json(score.to_json(items=True))
        assert again.mean == score.mean
        assert again.half_width == score.half_width
        assert score.half_width is not None
        assert score.half_width > 1.96 * (score.standard_error or 0)
