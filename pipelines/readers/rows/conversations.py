"""A record that is a conversation, in the shapes that occur, into messages.

    {"messages": [{"role": …, "content": …}, …]}            a list, OpenAI or ShareGPT
    {"conversations": [{"from": …, "value": …}, …]}
    {"instruction": …, "input": …, "output": …}             alpaca; Dolly: context, response

The field that ``messages_field`` names decides. A record without it is recognised by its fields:
a list of messages in one of :data:`LISTS`, else an instruction and its answer. Nothing is guessed
where two lists are there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pipelines.readers.rows.messages import MEDIA, NO_MEMBERS, ROLE_OF, Members, message_of
from pipelines.readers.rows.rejections import (
    BAD_MESSAGES,
    CONTENT_NOT_TEXT,
    UNWANTED_ANSWER,
    RecordRejectedError,
    kind_of,
    not_that,
)
from tokenizer.tool_calls import spoken

LISTS = ("messages", "conversations", "conversation")
INSTRUCTION, CONTEXTS, ANSWERS = "instruction", ("input", "context"), ("output", "response")
WANTED = ("label", "kto_tag")  # false: the answer is one that people did not want
FURTHER = "message_fields"  # in meta: what messages had that no column takes

_MARKED_MEDIA = ("<image>", "<audio>", "<video>")
_PLAIN_ROLES = frozenset(role for role, meaning in ROLE_OF.items() if role == meaning)


class Conversation(NamedTuple):
    """Messages as columns; ``members`` of those messages alone that have any."""

    roles: list[str]
    contents: list[str]
    members: dict[int, Members]

    def text(self) -> str:
        """What the messages say, tool calls included, joined by an empty line."""
        said = self.contents
        if self.members:
            said = [*said]
            for place, members in self.members.items():
                said[place] = spoken(said[place], members.tool_calls)
        return "\n\n".join(said)


def conversation_of(record: dict[str, Any], messages_field: str) -> Conversation:
    """The conversation of a record, which is emptied of it on the way.

    Raises: RecordRejectedError with bad_messages, content_not_text or unwanted_answer.
    """
    for name in WANTED:
        if record.get(name) is False:
            raise RecordRejectedError(
                UNWANTED_ANSWER, f"field {name!r} is false: the answer is not one to be learnt"
            )
    media = [name for name in MEDIA if record.get(name)] if _has_media(record) else []
    name = _field(record, messages_field)
    value = record[name]
    if name == INSTRUCTION and not _is_list_of_messages(value):
        conversation = _listed(_turns(record), record)
    else:
        del record[name]
        if type(value) is not list or not value:
            raise RecordRejectedError(
                BAD_MESSAGES, f"field {name!r} is {not_that(value, 'a list')}"
            )
        if type(value[0]) is dict and value[0].get("from") is not None:
            value = _with_system(value, record)
        conversation = _listed(value, record)
    if media and any(mark in text for text in conversation.contents for mark in _MARKED_MEDIA):
        raise RecordRejectedError(CONTENT_NOT_TEXT, f"the conversation speaks of {media[0]!r}")
    calls = any(members.tool_calls for members in conversation.members.values())
    if not calls and all(not text.strip() for text in conversation.contents):
        raise RecordRejectedError(BAD_MESSAGES, "every message is empty")
    return conversation


def recognised(record: dict[str, Any]) -> list[str]:
    """Fields that may hold the conversation of a record: its lists of messages, else its
    instruction.
    """
    lists = [name for name in LISTS if type(record.get(name)) is list]
    if lists:
        return [name for name in lists if record[name]] or lists
    answers = any(record.get(name) is not None for name in ANSWERS)
    return [INSTRUCTION] if record.get(INSTRUCTION) is not None and answers else []


def hint(record: dict[str, Any]) -> str:
    """What to say of a record that has no text: that it is a conversation, if so."""
    found = recognised(record)
    return (
        f"; the record is a conversation in {found[0]!r}: set messages_field: {found[0]}"
        if found
        else ""
    )


def _has_media(record: dict[str, Any]) -> bool:
    return not record.keys().isdisjoint(MEDIA)


def _is_list_of_messages(value: Any) -> bool:
    return type(value) is list and bool(value) and type(value[0]) is dict


def _field(record: dict[str, Any], messages_field: str) -> str:
    if record.get(messages_field) is not None:
        return messages_field
    found = recognised(record)
    if len(found) == 1:
        return found[0]
    detail = f"field {messages_field!r} is missing or null"
    if found:
        detail += f"; the record has {' and '.join(map(repr, found))}: name one in messages_field"
    raise RecordRejectedError(BAD_MESSAGES, detail)


def _listed(messages: list[Any], record: dict[str, Any]) -> Conversation:
    roles: list[str] = []
    contents: list[str] = []
    members: dict[int, Members] = {}
    rests: dict[int, dict[str, Any]] = {}
    for place, message in enumerate(messages):
        if type(message) is dict and len(message) == 2:
            role, content = message.get("role"), message.get("content")
            if type(role) is str and role in _PLAIN_ROLES and type(content) is str:
                roles.append(role)
                contents.append(content)
                continue
        try:
            found = message_of(message)
        except RecordRejectedError as error:
            raise RecordRejectedError(error.reason, f"message {place}: {error.detail}") from None
        roles.append(found.role)
        contents.append(found.content)
        if found.members != NO_MEMBERS:
            members[place] = found.members
        if found.rest:
            rests[place] = found.rest
    if rests:
        further = [rests.get(place, {}) for place in range(len(messages))]
        record[FURTHER] = [further, record[FURTHER]] if FURTHER in record else further
    return Conversation(roles, contents, members)


def _with_system(messages: list[Any], record: dict[str, Any]) -> list[Any]:
    """ShareGPT's messages after the record's ``system`` prompt, where they have none."""
    first = str(messages[0].get("from"))
    if type(record.get("system")) is not str or ROLE_OF.get(first) == "system":
        return messages
    return [*_system(record), *messages]


def _system(record: dict[str, Any]) -> list[dict[str, str]]:
    if type(record.get("system")) is not str:
        return []
    prompt = record.pop("system")
    return [{"role": "system", "content": prompt}] if prompt.strip() else []


def _turns(record: dict[str, Any]) -> list[dict[str, str]]:
    """An instruction with its input, the answer, and before them system prompt and earlier turns,
    as messages.
    """
    answer = next((name for name in ANSWERS if record.get(name) is not None), ANSWERS[0])
    question = [_string(record, INSTRUCTION)]
    for name in CONTEXTS:
        if record.get(name) is not None:
            question.append(_string(record, name))
        else:
            record.pop(name, None)
    pairs = [*_history(record), ("\n\n".join(filter(None, question)), _string(record, answer))]
    return [
        *_system(record),
        *(
            {"role": role, "content": text}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ),
    ]


def _string(record: dict[str, Any], name: str) -> str:
    value = record.pop(name, None)
    if type(value) is not str:
        found = not_that(value, "a string")
        raise RecordRejectedError(BAD_MESSAGES, f"field {name!r} is {found}")
    return value


def _history(record: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = record.pop("history", None) or []
    if type(pairs) is not list:
        raise RecordRejectedError(BAD_MESSAGES, f"field 'history' is {kind_of(pairs)}, not a list")
    for place, pair in enumerate(pairs):
        if type(pair) is not list or [*map(type, pair)] != [str, str]:
            raise RecordRejectedError(
                BAD_MESSAGES, f"turn {place} of 'history' is no pair of question and answer"
            )
    return [tuple(pair) for pair in pairs]
