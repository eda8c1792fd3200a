"""What a model sees while it goes on from a prompt, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    chat_prompt,
    continuation,
    in_sight,
    pick,
    speaker,
)
from trainer.model import Model

TEXT = "the river and the boat and the mill and the bridge and the grass by the water"


class Seeing(Model):
    """Notes the ids that each forward pass sees."""

    seen: list[list[int]]

    def forward(self, tokens: Any, positions: Any, documents: Any = None) -> Any:
        self.seen.append(tokens[0].tolist())
        return super().forward(tokens, positions, documents)


@pytest.fixture(scope="module")
def seeing(whole: Path) -> Seeing:
    model = speaker(at_step(whole, 12), "cpu")[0]
    model.__class__ = Seeing
    assert isinstance(model, Seeing)
    return model


@given(st.integers(1, 40), st.integers(0, 30), st.integers(2, 30))
def test_the_beginning_and_the_newest_are_in_sight(ids: int, kept: int, context: int) -> None:
    kept = min(kept, ids, context - 1)
    seen = in_sight(range(ids), kept, context)
    assert len(seen) == min(ids, context)
    assert list(seen) == sorted(seen)
    assert set(range(kept)) <= set(seen) >= set(range(max(kept, ids - context + kept), ids))
    assert list(in_sight(range(ids), kept, None)) == list(range(ids))


def test_a_text_keeps_its_bos_and_what_is_out_of_sight_is_counted(
    corpus: Corpus, seeing: Seeing
) -> None:
    ids = [corpus.tokenizer.bos_id, *corpus.tokenizer.encode_text(TEXT)]
    seeing.seen = []
    found = answer(seeing, corpus.tokenizer, TEXT, GenerateSettings(tokens=5, context=12))
    assert all(seen[0] == corpus.tokenizer.bos_id and len(seen) == 12 for seen in seeing.seen)
    assert seeing.seen[0][1:] == ids[-11:]
    assert found.unseen == len(ids) + len(seeing.seen) - 1 - 12
    seeing.seen = []
    assert answer(seeing, corpus.tokenizer, TEXT, GenerateSettings(tokens=2)).unseen == 0
    assert seeing.seen[0] == ids, "without a limit nothing is cut"


def test_of_a_conversation_every_mark_stays_in_sight(corpus: Corpus, seeing: Seeing) -> None:
    prompt = chat_prompt(corpus.tokenizer, [{"role": "user", "content": "add 1 and 2"}])
    seeing.seen = []
    settings = GenerateSettings(tokens=9, context=len(prompt) + 2)
    answer(seeing, corpus.tokenizer, prompt, settings)
    assert all(seen[: len(prompt)] == prompt for seen in seeing.seen)
    with pytest.raises(UserError, match="fills all that the model looks back") as error:
        answer(seeing, corpus.tokenizer, prompt, GenerateSettings(context=len(prompt)))
    assert (error.value.field, error.value.found) == ("prompt", f"{len(prompt)} tokens")
    assert error.value.fix == f"shorten it, or give context={len(prompt) + 64}"
    answer(seeing, corpus.tokenizer, prompt, GenerateSettings(context=len(prompt) + 64, tokens=2))


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


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-30, 1e308])
def test_every_finite_temperature_draws_a_token(temperature: float) -> None:
    scores = torch.tensor([-3.0, 4.0, 2.0])
    generator = torch.Generator().manual_seed(1)
    draws = [pick(scores, GenerateSettings(temperature=temperature), generator) for _ in range(60)]
    assert set(draws) == ({1} if temperature < 1 else {0, 1, 2})


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("score", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_an_error(temperature: float, score: float) -> None:
    generator, scores = torch.Generator(), torch.tensor([0.0, score])
    with pytest.raises(UserError, match="scores are not finite") as error:
        pick(scores, GenerateSettings(temperature=temperature), generator)
    assert error.value.found == "1 of 2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (float("inf"), float("nan"), -0.5)),
        *(("seed", value) for value in (1 << 63, -1)),
        *(("tokens", value) for value in (0, -3)),
        ("context", 0),
        ("top_p", 0.0),
    ],
)
def test_settings_that_cannot_be_met_are_named_with_what_can(name: str, value: Any) -> None:
    with pytest.raises(UserError, match="cannot be generated so") as error:
        GenerateSettings.asked(**{name: value})
    assert (error.value.field, str(error.value.found)) == (name, str(value))
    assert error.value.allowed
    assert error.value.fix == f"give {name} another value, or leave it out"


def test_the_largest_seed_draws(corpus: Corpus, seeing: Seeing) -> None:
    seeing.seen = []
    settings = GenerateSettings(tokens=2, temperature=1.0, seed=(1 << 63) - 1)
    assert continuation(seeing, [corpus.tokenizer.bos_id], -1, settings)


def test_a_prompt_that_is_not_unicode_is_an_error(corpus: Corpus, seeing: Seeing) -> None:
    odd = "caf\udce9"
    with pytest.raises(UserError, match="not a text in UTF-8") as error:
        answer(seeing, corpus.tokenizer, odd)
    assert error.value.found == "'\\udce9'"
    with pytest.raises(UserError, match="not a text in UTF-8"):
        chat_prompt(corpus.tokenizer, [{"role": "user", "content": odd}])
