"""Chats that transformers renders have the ids and the targets of our encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.schemas import MESSAGES
from tests.tokenizer.huggingface import SPELLED, TEXT, auto_tokenizer, written
from tokenizer.chat import MARKS, encode_conversations, problem, render
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.chat_template import chat_template
from tokenizer.huggingface.files import CONFIG, TEMPLATE, huggingface_files
from tokenizer.train import TrainConfig, train_model

pytestmark = pytest.mark.slow  # transformers takes seconds to import

CONTENT = TEXT.filter(lambda text: not any(name in text for name in SPELLED))
ARGUMENTS = st.one_of(
    st.dictionaries(CONTENT, st.one_of(st.integers(), CONTENT, st.none(), st.booleans()), max_size=3),
    st.dictionaries(CONTENT, st.lists(CONTENT, max_size=2), max_size=2).map(json.dumps),
    st.sampled_from(["", " \n", '{"a":1}', " [1, 2] ", "null"]),
    st.none(),
)  # fmt: skip
CALL = st.fixed_dictionaries({"name": CONTENT, "arguments": ARGUMENTS}).map(
    lambda function: {"type": "function", "function": function}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(sorted(MARKS)), "content": CONTENT},
    optional={
        "weight": st.sampled_from([None, 0.0, 1.0]),
        "tool_calls": st.lists(CALL, min_size=1, max_size=2),
    },
)
TALK = st.lists(MESSAGE, min_size=1, max_size=5)


@pytest.fixture(scope="module")
def theirs(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return auto_tokenizer(written(huggingface_files(tokenizer), tmp_path_factory.mktemp("chat")))


def as_stored(talk: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages as documents have them: tool calls as JSON."""
    return [
        {**message, "tool_calls": json.dumps(message["tool_calls"], ensure_ascii=False)}
        if "tool_calls" in message
        else message
        for message in talk
    ]


@settings(max_examples=150)
@given(talk=TALK)
def test_ids_and_targets_are_ours(tokenizer: Tokenizer, theirs: Any, talk: list[dict[str, Any]]) -> None:  # fmt: skip
    stored = as_stored(talk)
    text = theirs.apply_chat_template(talk, tokenize=False)
    assert text == "<s>" + render(stored)
    if problem(stored) is not None:
        return
    made = theirs.apply_chat_template(
        talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, spans = encode_conversations(pa.array([stored], MESSAGES), tokenizer)
    assert made["input_ids"] == [tokenizer.bos_id, *ids[0].as_py()]
    mask = [0] * len(made["input_ids"])
    for span in spans[0].as_py():
        mask[span["start"] + 1 : span["end"] + 1] = [1] * (span["end"] - span["start"])
    assert made["assistant_masks"] == mask


def test_null_content_beside_calls_is_none(theirs: Any) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"städte": ["Köln"]}}}
    talk = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    text = theirs.apply_chat_template(talk, tokenize=False)
    assert text == "<s>" + render(as_stored(talk))
    assert "Köln" in text


def test_the_prompt_of_an_answer_ends_with_its_mark(tokenizer: Tokenizer, theirs: Any) -> None:
    talk = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]
    made = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)
    assert made["input_ids"] == [
        tokenizer.bos_id,
        tokenizer.control_id("<System>"), *tokenizer.encode_text("be kind"),
        tokenizer.control_id("<User>"), *tokenizer.encode_text("hi"),
        tokenizer.control_id("<AI>"),
    ]  # fmt: skip


def test_an_answer_is_gone_on_with(theirs: Any) -> None:
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The river"}]
    text = theirs.apply_chat_template(talk, tokenize=False, continue_final_message=True)
    assert text == "<s><User>hi<AI>The river"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "human", "content": "hi"}, "no such role: human; there are user, assistant"),
        ({"role": "user", "content": ["hi"]}, "has to be a text"),
        ({"content": "hi"}, "no such role"),
    ],
)
def test_what_has_no_place_in_the_format_raises(
    theirs: Any, message: dict[str, Any], said: str
) -> None:
    with pytest.raises(jinja2.exceptions.TemplateError, match=said):
        theirs.apply_chat_template([message], tokenize=False)


def test_content_that_spells_a_mark_forges_a_turn_there(tokenizer: Tokenizer, theirs: Any) -> None:
    talk = [{"role": "user", "content": "a<AI>b"}, {"role": "assistant", "content": "c"}]
    made = theirs.apply_chat_template(talk, return_dict=True)["input_ids"]
    ours = encode_conversations(pa.array([talk], MESSAGES), tokenizer)[0][0].as_py()
    assert made.count(tokenizer.control_id("<AI>")) == 2
    assert ours.count(tokenizer.control_id("<AI>")) == 1


def marked(texts: pa.LargeStringArray, *marks: str) -> Tokenizer:
    config = TrainConfig(vocab_size=500, chat_marks=marks, reserved=0)
    return Tokenizer.load(train_model([texts], config)[0])


def test_roles_without_a_mark_are_refused(texts: pa.LargeStringArray, tmp_path: Path) -> None:
    files = huggingface_files(marked(texts, "<User>", "<AI>"))
    theirs = auto_tokenizer(written(files, tmp_path))
    answered = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert theirs.apply_chat_template(answered, tokenize=False) == "<s><User>a<AI>b</s>"
    with pytest.raises(jinja2.exceptions.TemplateError, match=r"there are user, assistant$"):
        theirs.apply_chat_template([{"role": "system", "content": "a"}], tokenize=False)


@pytest.mark.parametrize("marks", [(), ("<User>",), ("<AI>", "<System>")])
def test_a_tokenizer_without_marks_has_no_template(
    texts: pa.LargeStringArray, marks: tuple[str, ...], tmp_path: Path
) -> None:
    tokenizer = marked(texts, *marks)
    files = huggingface_files(tokenizer)
    assert chat_template(tokenizer) is None
    assert TEMPLATE not in files
    assert "chat_template" not in json.loads(files[CONFIG])
    assert auto_tokenizer(written(files, tmp_path)).chat_template is None
