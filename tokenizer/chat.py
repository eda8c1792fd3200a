"""Conversations in MiniCPM's chat format, as text and as ids with the spans that carry loss.

Every message is its role's mark followed by what it says; an answer ends with EOS::

    <User>question<AI>answer</s><User>next<AI>answer</s>

MiniCPM's SFT models know ``<User>`` and ``<AI>``; ``<System>`` and ``<Tool>`` are marks of the same
kind for the two roles its format leaves open. Marks are inserted by id. They are control pieces, so
content that spells out ``<AI>`` or ``</s>`` is encoded as ordinary text and cannot forge a turn.
An answer that calls tools says its content and then the calls (:mod:`tokenizer.tool_calls`).

Targets are the answers, calls included, and their EOS; all else is context (prompt-masked, as in
MiniCPM's loader), and so is an answer of weight 0. A weight is null, 1 or 0: the spans of shards
say which tokens are targets, not how much, so a conversation with an answer of another weight is
unsound. A conversation that does not end with an answer gets a final EOS that is no target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from artifacts.messages import FlatMessages, flat_messages
from artifacts.schemas import MESSAGES
from tokenizer.encode import Tokenizer
from tokenizer.shards.format import SPAN, TRAINABLE
from tokenizer.tool_calls import spoken

TEMPLATE_VERSION = 2  # 1 knew contents alone; what it encoded, this encodes to the same ids
MARKS = {"user": "<User>", "assistant": "<AI>", "system": "<System>", "tool": "<Tool>"}
ROLES = tuple(MARKS)
_ASSISTANT = ROLES.index("assistant")
END_OF_TURN = "</s>"

NO_MESSAGES = "chat_no_messages"
UNKNOWN_ROLE = "chat_unknown_role"
NULL_CONTENT = "chat_null_content"
NO_ANSWER = "chat_no_answer"
EMPTY_ANSWER = "chat_empty_answer"
PARTIAL_WEIGHT = "chat_partial_weight"
NO_TARGET = "chat_no_target"
REASONS = (
    NO_MESSAGES,
    UNKNOWN_ROLE,
    NULL_CONTENT,
    NO_ANSWER,
    EMPTY_ANSWER,
    PARTIAL_WEIGHT,
    NO_TARGET,
)


def render(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of one conversation: what its ids decode to, marks and EOS by name.

    Raises: UserError on a role that has no mark.
    """
    for number, message in enumerate(messages):
        if message["role"] not in MARKS:
            raise UserError(
                "no such role",
                field=f"messages[{number}].role",
                found=message["role"],
                allowed=ROLES,
            )
    text = "".join(
        MARKS[message["role"]]
        + spoken(message["content"], message.get("tool_calls"))
        + (END_OF_TURN if message["role"] == "assistant" else "")
        for message in messages
    )
    return text if messages and messages[-1]["role"] == "assistant" else text + END_OF_TURN


def problem(messages: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Why one conversation cannot be used, None when it can; one of :data:`REASONS`."""
    reason: str | None = problems(pa.array([messages], MESSAGES))[0].as_py()
    return reason


def problems(messages: pa.ListArray | pa.ChunkedArray) -> pa.StringArray:
    """For each conversation the first of :data:`REASONS` that applies, null when it is sound."""
    flat = flat_messages(messages)
    roles, targets = _roles(flat), _targets(flat)
    owner = np.repeat(np.arange(len(flat.counts)), flat.counts)
    silent = flat.tool_calls.is_null().to_numpy(zero_copy_only=False)
    null = silent & flat.contents.is_null().to_numpy(zero_copy_only=False)
    blank = silent & pc.equal(
        pc.binary_length(pc.utf8_trim_whitespace(pc.fill_null(flat.contents, ""))), 0
    ).to_numpy(zero_copy_only=False)
    answer = roles == _ASSISTANT
    partial = pc.fill_null(
        pc.and_(pc.not_equal(flat.weights, 0), pc.not_equal(flat.weights, 1)), False
    )
    found = np.zeros((len(REASONS), len(flat.counts)), bool)
    found[0] = flat.counts == 0
    for number, flags in (
        (1, roles < 0),
        (2, null),
        (4, targets & blank),
        (5, answer & partial.to_numpy(zero_copy_only=False)),
    ):
        found[number] = _any(owner, flags, len(flat.counts))
    found[3] = ~_any(owner, answer, len(flat.counts))
    found[6] = ~_any(owner, targets, len(flat.counts))
    first = np.where(found.any(axis=0), found.argmax(axis=0), -1)
    return pa.array(REASONS, pa.string()).take(pa.array(first, mask=first < 0))


def encode_conversations(
    messages: pa.ListArray | pa.ChunkedArray, tokenizer: Tokenizer
) -> tuple[pa.LargeListArray, pa.ListArray]:
    """Ids and target spans of n conversations, each ending with EOS.

    Spans are token offsets [start, end) in the conversation, ascending, one per answer whose weight
    is not 0.
    Raises: UserError when a conversation has a problem (see :func:`problems`) or the tokenizer
    lacks the marks as control pieces.
    """
    reasons = problems(messages)
    if reasons.null_count < len(reasons):
        row = int(np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))[0])
        raise UserError(
            "a conversation cannot be encoded",
            field=f"messages[{row}]",
            found=reasons[row],
            fix="quarantine it first",
        )
    flat = flat_messages(messages)
    roles, targets = _roles(flat), _targets(flat)
    marks = _mark_ids(tokenizer, set(np.unique(roles).tolist()))
    encoded = tokenizer.encode(_spoken(flat), after_mark=True)
    first_message = np.concatenate([np.zeros(1, np.int64), np.cumsum(flat.counts)])
    bodies, ends = encoded.values.to_numpy().astype(np.int32), np.array(encoded.offsets.to_numpy())
    tokens, token_ends, spans = assemble(
        bodies, ends, roles, targets, first_message, marks, tokenizer.eos_id, _ASSISTANT
    )
    ids = pa.array(tokens.astype(tokenizer.token_type.to_pandas_dtype()))
    answers = np.concatenate([np.zeros(1, np.int64), np.cumsum(targets)])[first_message]
    span_array = pa.StructArray.from_arrays(
        [pa.array(spans[:, 0]), pa.array(spans[:, 1])], fields=list(SPAN)
    )
    trainable = pa.ListArray.from_arrays(
        pa.array(answers.astype(np.int32)), span_array, type=TRAINABLE
    )
    return pa.LargeListArray.from_arrays(pa.array(token_ends), ids), trainable


@kernel
def assemble(
    bodies: NDArray[np.int32],
    ends: NDArray[np.int64],
    roles: NDArray[np.int64],
    targets: NDArray[np.bool_],
    first_message: NDArray[np.int64],
    marks: NDArray[np.int32],
    eos: int,
    assistant: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint32]]:
    """Ids of all conversations, their offsets (n + 1,) and the target spans (targets, 2).

    ``bodies[ends[m]:ends[m + 1]]`` are the ids of message m; ``first_message`` (n + 1,).
    """
    tokens = np.empty(len(bodies) + 2 * len(roles) + len(first_message), np.int32)
    token_ends = np.zeros(len(first_message), np.int64)
    spans = np.empty((len(roles), 2), np.uint32)
    place = 0
    answers = 0
    for conversation in range(len(first_message) - 1):
        begin = place
        for message in range(first_message[conversation], first_message[conversation + 1]):
            tokens[place] = marks[roles[message]]
            place += 1
            start = place - begin
            for index in range(ends[message], ends[message + 1]):
                tokens[place] = bodies[index]
                place += 1
            if roles[message] == assistant:
                tokens[place] = eos
                place += 1
            if targets[message]:
                spans[answers, 0] = start
                spans[answers, 1] = place - begin
                answers += 1
        if roles[first_message[conversation + 1] - 1] != assistant:
            tokens[place] = eos
            place += 1
        token_ends[conversation + 1] = place
    return tokens[:place], token_ends, spans[:answers]


def _roles(flat: FlatMessages) -> NDArray[np.int64]:
    """Role numbers (m,), -1 for unknown."""
    numbers = pc.fill_null(pc.index_in(flat.roles, pa.array(ROLES, pa.string())), -1)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.int64)


def _targets(flat: FlatMessages) -> NDArray[np.bool_]:
    """Which messages carry loss (m,)."""
    weighty = pc.fill_null(pc.not_equal(flat.weights, 0), True).to_numpy(zero_copy_only=False)
    return np.asarray((_roles(flat) == _ASSISTANT) & weighty, np.bool_)


def _spoken(flat: FlatMessages) -> pa.LargeStringArray:
    """What each message says (m,): its content, and its tool calls as text."""
    calling = flat.tool_calls.is_valid()
    rows = np.flatnonzero(calling.to_numpy(zero_copy_only=False))
    if not len(rows):
        return flat.contents
    said = [spoken(flat.contents[row].as_py(), flat.tool_calls[row].as_py()) for row in rows]
    return pc.replace_with_mask(flat.contents, calling, pa.array(said, pa.large_string()))


def _any(
    owner: NDArray[np.int64], flags: NDArray[np.bool_], conversations: int
) -> NDArray[np.bool_]:
    return np.bincount(owner[flags], minlength=conversations) > 0


def _mark_ids(tokenizer: Tokenizer, roles: set[int]) -> NDArray[np.int32]:
    """Ids of the four marks, 0 for those no message needs and the tokenizer lacks."""
    marks = np.zeros(len(ROLES), np.int32)
    for number, role in enumerate(ROLES):
        token = tokenizer.control_id(MARKS[role])
        if token is None and number in roles:
            raise UserError(
                "the tokenizer has no such chat mark as a control piece",
                field=f"messages.role={role}",
                found=MARKS[role],
                fix="train the tokenizer with its chat marks, so that text cannot forge them",
            )
        marks[number] = token or 0
    return marks
