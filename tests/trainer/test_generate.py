"""What a model sees while it goes on from a prompt, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UserError
from mixtures.freeze.freeze import append_segment
from mixtures.spec.spec import Phase
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, LENGTH, STABLE, WEB, plan, run
from tokenizer.shards.reader import open_source
from trainer.checkpoints.checkpoint import at_step
from trainer.checkpoints.recorded import trained_window
from trainer.evaluation.generate import (
    GenerateSettings,
    answer,
    answers,
    chat_prompt,
    continuation,
    generate,
    speaker,
    stream,
)
from trainer.model import Model

TEXT = "the river and the boat and the mill and the bridge and the grass by the water"


class Seeing(Model):
    """Notes what each row has in sight when it says a token, and how much of it is read then."""

    seen: list[list[int]]
    read_at_once: list[int]

    def read(self, cache: Any, rows: Any, ids: Any) -> Any:
        for row, tokens in zip(rows, ids, strict=True):
            before = self.seen[-1][: cache.lengths[row]] if self.seen else []
            self.seen.append([*before, *tokens])
            self.read_at_once.append(len(tokens))
        return super().read(cache, rows, ids)


@pytest.fixture(scope="module")
def seeing(whole: Path) -> Seeing:
    model = speaker(at_step(whole, 12), "cpu")[0]
    model.__class__ = Seeing
    assert isinstance(model, Seeing)
    return model


def sees(model: Seeing) -> None:
    """Begin to note anew."""
    model.seen, model.read_at_once = [], []


def test_a_text_keeps_its_bos_and_what_is_out_of_sight_is_counted(
    corpus: Corpus, seeing: Seeing
) -> None:
    ids = [corpus.tokenizer.bos_id, *corpus.tokenizer.encode_text(TEXT)]
    sees(seeing)
    found = answer(seeing, corpus.tokenizer, TEXT, GenerateSettings(tokens=9, context=12))
    assert seeing.seen[0] == [ids[0], *ids[-11:]]
    assert [len(seen) for seen in seeing.seen] == [12, 7, 8, 9, 10, 11, 12, 7, 8]
    assert seeing.read_at_once == [12, 7, 1, 1, 1, 1, 1, 7, 1]
    assert all(seen[0] == corpus.tokenizer.bos_id for seen in seeing.seen)
    assert seeing.seen[1][1:6] == ids[-5:]
    assert found.unseen == len(ids) + 8 - 8
    assert (found.tokens, found.ended) == (9, "tokens")
    sees(seeing)
    assert answer(seeing, corpus.tokenizer, TEXT, GenerateSettings(tokens=2)).unseen == 0
    assert seeing.seen[0] == ids, "without a limit nothing is cut"


def test_of_a_conversation_every_mark_stays_in_sight(corpus: Corpus, seeing: Seeing) -> None:
    prompt = chat_prompt(corpus.tokenizer, [{"role": "user", "content": "add 1 and 2"}])
    sees(seeing)
    settings = GenerateSettings(tokens=9, context=len(prompt) + 2)
    answer(seeing, corpus.tokenizer, prompt, settings)
    assert all(seen[: len(prompt)] == prompt for seen in seeing.seen)
    with pytest.raises(UserError, match="fills all that the model looks back") as error:
        answer(seeing, corpus.tokenizer, prompt, GenerateSettings(context=len(prompt)))
    assert (error.value.field, error.value.found) == ("prompt", f"{len(prompt)} tokens")
    assert error.value.fix == f"shorten it, or give context={len(prompt) + 64}"
    answer(seeing, corpus.tokenizer, prompt, GenerateSettings(context=len(prompt) + 64, tokens=2))


def test_answers_come_in_the_order_of_their_prompts_as_soon_as_they_are_there(
    corpus: Corpus, seeing: Seeing
) -> None:
    sees(seeing)
    settings = GenerateSettings(tokens=12, batch=2)
    prompts = ["the river", "def area", "mill", "the"]
    found = answers(seeing, corpus.tokenizer, prompts, settings)
    assert seeing.seen == [], "nothing is read before it is asked for"
    first = next(found)
    assert len(seeing.seen) < 4 * 12
    alone = [answer(seeing, corpus.tokenizer, prompt, settings) for prompt in prompts]
    assert [first, *found] == alone
    assert generate(seeing, corpus.tokenizer, prompts, settings) == [one.text for one in alone]
    assert list(answers(seeing, corpus.tokenizer, [], settings)) == []


def test_a_prompt_among_many_that_cannot_be_continued_is_an_error_before_any_is(
    corpus: Corpus, seeing: Seeing
) -> None:
    sees(seeing)
    long = chat_prompt(corpus.tokenizer, [{"role": "user", "content": TEXT}])
    with pytest.raises(UserError, match="fills all"):
        answers(seeing, corpus.tokenizer, ["the", long], GenerateSettings(context=8))
    assert seeing.seen == []


def test_a_stream_joins_to_the_answer_and_never_shows_a_stop_string(
    corpus: Corpus, seeing: Seeing
) -> None:
    sees(seeing)
    seeds = (GenerateSettings(tokens=40, temperature=1.0, seed=seed) for seed in range(1, 99))
    plain, whole = next(
        (settings, found.text)
        for settings in seeds
        if (found := answer(seeing, corpus.tokenizer, "the river", settings)).tokens > 20
    )
    pieces = list(stream(seeing, corpus.tokenizer, "the river", plain))
    assert "".join(pieces) == whole
    assert len(pieces) > 5
    assert all(pieces)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    settings = plain.model_copy(update={"stop": ("\x07never", stop)})
    cut = answer(seeing, corpus.tokenizer, "the river", settings)
    assert cut.text == whole[: whole.index(stop)]
    assert cut.ended == "stop"
    assert "".join(stream(seeing, corpus.tokenizer, "the river", settings)) == cut.text


def test_the_end_of_the_document_ends_an_answer(corpus: Corpus, whole: Path) -> None:
    model = speaker(at_step(whole, 12), "cpu")[0]
    settings = GenerateSettings(tokens=400, temperature=1.0, context=LENGTH)
    (found,) = [
        one
        for one in answers(model, corpus.tokenizer, ["the river"] * 12, settings)
        if one.ended == "end"
    ][:1]
    assert found.tokens < 400
    assert "</s>" not in found.text


def test_a_model_looks_back_the_longest_window_it_was_trained_on(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    assert trained_window(at_step(whole, 12)) == LENGTH
    longer = Phase(
        name="long", tokens=2 * BATCH, weights={"web": 1.0}, sequence_length=4 * LENGTH,
        batch_tokens=BATCH,
    )  # fmt: skip
    sources = {name: open_source(folder) for name, folder in corpus.folders.items()}
    frozen = append_segment(plan(corpus, WEB), longer, STABLE, sources)
    run(corpus, tmp_path, plan=frozen, validation=None)
    found = [trained_window(at_step(tmp_path, step)) for step in (STABLE, STABLE + 2)]
    assert found == [LENGTH, 4 * LENGTH]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (float("inf"), float("nan"), -0.5)),
        *(("seed", value) for value in (1 << 63, -1)),
        *(("tokens", value) for value in (0, -3)),
        ("context", 0),
        ("top_p", 0.0),
        ("top_k", 0),
        *(("min_p", value) for value in (-0.1, 1.1, float("nan"))),
        *(("repetition_penalty", value) for value in (0.0, -1.0, float("inf"), float("nan"))),
        ("stop", ("",)),
        ("stop", (3,)),
        ("batch", 0),
        ("top_q", 1),
    ],
)
def test_settings_that_cannot_be_met_are_named_with_what_can(name: str, value: Any) -> None:
    with pytest.raises(UserError, match="cannot be generated so") as error:
        GenerateSettings.asked(**{name: value})
    found = value[0] if name == "stop" else value
    assert (error.value.field, str(error.value.found)) == (name, str(found))
    assert error.value.allowed
    assert error.value.fix == f"give {name} another value, or leave it out"


def test_the_largest_seed_draws(corpus: Corpus, seeing: Seeing) -> None:
    sees(seeing)
    settings = GenerateSettings(tokens=2, temperature=1.0, seed=(1 << 63) - 1)
    assert continuation(seeing, [corpus.tokenizer.bos_id], -1, settings)


def test_a_prompt_that_is_not_unicode_is_an_error(corpus: Corpus, seeing: Seeing) -> None:
    odd = "caf\udce9"
    with pytest.raises(UserError, match="not a text in UTF-8") as error:
        answer(seeing, corpus.tokenizer, odd)
    assert error.value.found == "'\\udce9'"
    with pytest.raises(UserError, match="not a text in UTF-8"):
        chat_prompt(corpus.tokenizer, [{"role": "user", "content": odd}])
