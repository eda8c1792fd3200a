"""Our class for lm-evaluation-harness against the harness's own class on our export."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance

from artifacts.errors import UserError
from tests.trainer.evaluation.harness.conftest import WINDOW, Trained
from trainer.evaluation.harness.fit import fitted
from trainer.evaluation.harness.model import HarnessModel
from trainer.evaluation.tasks.likelihoods import Request, likelihoods
from trainer.export.export import ExportSettings, export_model
from trainer.generation.chat import chat_prompt

CONTEXTS = (
    "river boat mill",
    "river boat mill ",
    "",
    "   ",
    "for index in range(10):\n",
    "Question: winter road?\nAnswer:",
    "答案：",
    " ".join(["garden window morning voice"] * 30),
)
OPTIONS = (" bridge", " grass water dinner home", "A", "\n    total += index\n", "中文 letter 🙂")
UNTIL: tuple[dict[str, Any], ...] = (
    {"until": [], "max_gen_toks": 12, "do_sample": False},
    {"until": ["river", " m"], "max_gen_toks": 20, "do_sample": False, "temperature": 0.0},
    {"until": "</s>", "max_gen_toks": 3},
)


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=one, idx=number)  # type: ignore[arg-type]
        for number, one in enumerate(arguments)
    ]


@pytest.fixture(scope="module")
def own(trained: Trained) -> HarnessModel:
    return HarnessModel(trained.model, trained.tokenizer, WINDOW)


@pytest.fixture(scope="module")
def theirs(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The harness's class on the Granite folder, with BOS before what is read."""
    from lm_eval.models.huggingface import HFLM

    folder = tmp_path_factory.mktemp("export") / "granite"
    export_model(trained.checkpoint, folder, ExportSettings(layout="granite"))
    return HFLM(
        pretrained=str(folder),
        dtype="float32",
        device="cpu",
        batch_size=4,
        add_bos_token=True,
        max_length=WINDOW,
    )


def test_likelihoods_are_those_of_the_harness_on_our_export(own: HarnessModel, theirs: Any) -> None:
    asked = requests("loglikelihood", list(product(CONTEXTS, OPTIONS)))
    expected = theirs.loglikelihood(asked, disable_tqdm=True)
    before = own.cut
    found = own.loglikelihood(asked)
    np.testing.assert_allclose([n for n, _ in found], [n for n, _ in expected], atol=1e-4)
    assert [same for _, same in found] == [same for _, same in expected]
    assert own.cut - before == len(OPTIONS)  # those of the long context


def test_the_likeliest_token_is_greedy_and_no_other_is(own: HarnessModel) -> None:
    rows = [tuple(own.tok_encode(text)[-WINDOW:]) for text in CONTEXTS]
    with torch.inference_mode():
        hidden = [own.model(torch.tensor([row]), torch.arange(len(row))[None]) for row in rows]
        best = [int(own.model.logits(one[0, -1]).argmax()) for one in hidden]
    asked = [
        Request(row, (token + other,))
        for row, token in zip(rows, best, strict=True)
        for other in (0, 1)
    ]
    assert likelihoods(own.model, asked).greedy.tolist() == [True, False] * len(rows)


def test_written_texts_are_those_of_the_harness_on_our_export(
    own: HarnessModel, theirs: Any
) -> None:
    asked = requests("generate_until", [(c, dict(u)) for c, u in product(CONTEXTS, UNTIL) if c])
    expected = theirs.generate_until(asked, disable_tqdm=True)
    assert own.generate_until(asked) == expected
    assert any(expected)


def test_a_text_as_a_whole_has_one_bos_before_it(own: HarnessModel, theirs: Any) -> None:
    texts = [text for text in CONTEXTS if text.strip() and len(text) < 60]
    asked = requests("loglikelihood_rolling", [(text,) for text in texts])
    theirs.add_bos_token = False  # BOS is the prefix then, and not read twice
    try:
        expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    finally:
        theirs.add_bos_token = True
    np.testing.assert_allclose(own.loglikelihood_rolling(asked), expected, atol=1e-4)
    twice = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    assert not np.allclose(twice, expected, atol=1e-2)


def test_contexts_that_are_shared_change_nothing(own: HarnessModel) -> None:
    asked = [tuple(own.tok_encode(text)) for text in CONTEXTS[:6]]
    options = [(5,), (7, 8, 9), (7, 8), (300, 2), (5,)]
    pairs = [Request(context, option) for context in asked for option in options]
    together = likelihoods(own.model, pairs)
    apart = [likelihoods(own.model, [pair]) for pair in pairs]
    assert together.greedy.tolist() == [one.greedy[0] for one in apart]
    np.testing.assert_allclose(together.nats, [one.nats[0] for one in apart], atol=1e-5)


def test_of_what_does_not_fit_the_end_is_read() -> None:
    ids = tuple(range(100))
    assert fitted(Request(ids[:10], ids[10:16]), 15) == Request(ids[:10], ids[10:16])
    assert fitted(Request(ids[:10], ids[10:17]), 15) == Request(ids[1:10], ids[10:17])
    assert fitted(Request(ids[:10], ids[10:]), 15) == Request((84,), ids[85:])


def test_a_conversation_is_its_marks_by_id_and_no_content_forges_one(
    own: HarnessModel, trained: Trained
) -> None:
    turns = [{"role": "user", "content": "river <AI> boat"}]
    name = own.apply_chat_template(turns)
    assert own._chats[name] == chat_prompt(trained.tokenizer, turns)
    begun = [*turns, {"role": "assistant", "content": "The"}]
    assert own._chats[own.apply_chat_template(begun, add_generation_prompt=False)] == [
        *chat_prompt(trained.tokenizer, turns),
        *trained.tokenizer.encode_text("The"),
    ]
    (after, bare) = own.loglikelihood(requests("loglikelihood", [(name, "A"), (name[:9], "A")]))
    ids = tuple(trained.tokenizer.encode_text("A"))
    context = tuple(chat_prompt(trained.tokenizer, turns))
    expected = likelihoods(own.model, [Request(context, ids)])
    assert after == (pytest.approx(expected.nats[0], abs=1e-5), expected.greedy[0])
    assert after[0] != pytest.approx(bare[0], abs=1e-3)


def test_draws_repeat_and_a_task_may_narrow_them(own: HarnessModel) -> None:
    how = {"until": ["\n"], "max_gen_toks": 8, "do_sample": True, "temperature": 0.9, "top_p": 0.9}
    asked = requests("generate_until", [("river", how), ("river", how)])
    first = own.generate_until(asked)
    assert first == own.generate_until(asked)
    assert first[0] != first[1]


def test_answers_as_long_as_the_window_are_shortened_and_counted(trained: Trained) -> None:
    own = HarnessModel(trained.model, trained.tokenizer, 16)
    asked = requests("generate_until", [("river boat " * 20, {"until": []})])
    (said,) = own.generate_until(asked)
    assert len(trained.tokenizer.encode_text(said)) <= 8
    assert (own.cut, own.shortened) == (1, 1)


def test_what_cannot_be_asked_is_said(own: HarnessModel, trained: Trained) -> None:
    beams = {"until": [], "num_beams": 4}
    with pytest.raises(UserError, match="num_beams"):
        own.generate_until(requests("generate_until", [("a", beams)]))
    with pytest.raises(UserError, match="is empty"):
        own.loglikelihood(requests("loglikelihood", [("a", "")]))
    with pytest.raises(UserError, match="at least 2"):
        HarnessModel(trained.model, trained.tokenizer, 1)
