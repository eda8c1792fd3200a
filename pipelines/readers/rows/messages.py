"""One message of a conversation, in the spellings that occur, into role, content and members.

    {"role": "user", "content": "hi"}                                   OpenAI
    {"from": "human", "value": "hi"}                                    ShareGPT
    {"role": "user", "content": [{"type": "text", "text": "hi"}]}       parts
    {"role": "assistant", "content": null, "tool_calls": [{…}]}         a call of tools
    {"role": "assistant", "content": "ho", "weight": 0}                 no target

A role of :data:`ROLE_OF` becomes the one it stands for, any other stays as it is. What is no text
(images, audio, calls of tools that are no functions) is refused, never left out.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import orjson

from pipelines.readers.rows.rejections import (
    BAD_MESSAGES,
    CONTENT_NOT_TEXT,
    NonFinite,
    RecordRejectedError,
    kind_of,
    not_that,
)

_CALL = "function_call"  # a role whose content is the call

ROLE_OF = {
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "model": "assistant", "ai": "assistant", "bard": "assistant", "bing": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
    "tool_response": "tool", "tool_result": "tool", "ipython": "tool",
    "function_call": _CALL, "tool_call": _CALL,
}  # fmt: skip
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
_TEXT_PARTS = ("text", "input_text", "output_text")


class Members(NamedTuple):
    """What a message may have beside role and content; ``tool_calls`` is a JSON list."""

    weight: float | None = None
    tool_calls: str | None = None
    name: str | None = None


NO_MEMBERS = Members()


class Message(NamedTuple):
    role: str
    content: str
    members: Members
    rest: dict[str, Any]


def message_of(message: Any) -> Message:
    """One message; ``rest`` is what no column takes.

    Raises: RecordRejectedError with bad_messages or content_not_text.
    """
    if type(message) is not dict:
        raise _bad(f"{kind_of(message)}, not an object")
    message = dict(message)
    role, content_name = _role(message)
    content = message.pop(content_name, None)
    for medium in MEDIA:
        if message.get(medium):
            raise RecordRejectedError(CONTENT_NOT_TEXT, f"{medium} is {kind_of(message[medium])}")
    calls = _calls(message, role)
    if role == _CALL:
        if calls is not None:
            raise _bad(f"a {_CALL} with further tool calls")
        calls = _taken(message, _spelled_calls(content))
        role, content = "assistant", ""
    elif content is None and calls is not None:
        content = ""
    elif type(content) is list:
        content = _joined(content)
    elif type(content) is not str:
        raise _bad(f"{content_name} is {kind_of(content)}, not a string")
    name = message.pop("name") if type(message.get("name")) is str else None
    if name is None and message.get("name", 0) is None:
        del message["name"]
    return Message(role, content, Members(_weight(message), calls, name), message)


def _bad(detail: str) -> RecordRejectedError:
    return RecordRejectedError(BAD_MESSAGES, detail)


def _role(message: dict[str, Any]) -> tuple[str, str]:
    """The role, and the name of the field that holds the content."""
    names, name = ("content", "value"), "role"
    if message.get("role") is None and "from" in message:
        message.pop("role", None)
        names, name = ("value", "content"), "from"
    role = message.pop(name, None)
    if type(role) is not str:
        raise _bad(f"{name} is {kind_of(role)}, not a string")
    content_name = names[1] if names[0] not in message and names[1] in message else names[0]
    return ROLE_OF.get(role) or ROLE_OF.get(role.strip().lower(), role), content_name


def _weight(message: dict[str, Any]) -> float | None:
    weight = message.pop("weight", None)
    if weight is None:
        return None
    if type(weight) not in (int, float) or not math.isfinite(weight) or weight < 0:
        found = weight if type(weight) in (int, float, NonFinite) else kind_of(weight)
        raise _bad(f"weight is {found}, not a number of at least 0")
    return float(weight)


def _joined(parts: list[Any]) -> str:
    """The text of content in parts, which follow each other as they are."""
    texts = []
    for place, part in enumerate(parts):
        if type(part) is str:
            texts.append(part)
            continue
        kind = part.get("type") if type(part) is dict else None
        if type(kind) is not str:
            found = kind_of(part) if type(part) is not dict else "an object without a type"
            raise _bad(f"part {place} of the content is {found}")
        if kind not in _TEXT_PARTS:
            raise RecordRejectedError(
                CONTENT_NOT_TEXT, f"part {place} of the content is of type {kind!r}, not text"
            )
        if type(part.get("text")) is not str:
            raise _bad(
                f"part {place} of the content has a text that is {kind_of(part.get('text'))}"
            )
        texts.append(part["text"])
    return "".join(texts)


def _calls(message: dict[str, Any], role: str) -> str | None:
    """Tool calls as a JSON list; their ids and what else they have stay in the message."""
    calls, legacy = message.pop("tool_calls", None), message.pop("function_call", None)
    if calls == [] or calls is None:
        calls = None if legacy is None else [{"function": legacy}]
    elif legacy is not None:
        raise _bad("both tool_calls and function_call")
    if calls is None:
        return None
    if role not in ("assistant", _CALL):
        raise _bad(f"tool calls of a message of role {role!r}")
    if type(calls) is str:
        calls = _parsed(calls)
    if type(calls) is not list:
        raise _bad(f"tool_calls is {kind_of(calls)}, not a list")
    return _taken(message, calls) if calls else None


def _taken(message: dict[str, Any], calls: list[Any]) -> str:
    """Calls as JSON; the message keeps what else they have."""
    spelled, rests = _functions(calls)
    if any(rests):
        message["tool_calls"] = rests
    return spelled


def _spelled_calls(content: Any) -> list[Any]:
    """The calls that a message of role function_call has for its content."""
    value = _parsed(content) if type(content) is str else content
    return value if type(value) is list and value else [value]


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _functions(calls: list[Any]) -> tuple[str, list[dict[str, Any]]]:
    """Calls of functions in OpenAI's spelling, the arguments as JSON text; and what else each
    has.
    """
    functions, rests = [], []
    for place, call in enumerate(calls):
        if type(call) is not dict:
            raise _bad(f"tool call {place} is {kind_of(call)}, not an object")
        call = dict(call)
        kind = call.pop("type", None)
        if kind not in (None, "function"):
            raise RecordRejectedError(
                CONTENT_NOT_TEXT, f"tool call {place} is of type {str(kind)!r}, not a function"
            )
        nested = call.get("function") is not None
        function = call.pop("function") if nested else call
        if type(function) is not dict:
            raise _bad(f"tool call {place} has a function that is {kind_of(function)}")
        function = dict(function) if nested else call
        name, arguments = function.pop("name", None), function.pop("arguments", None)
        if type(name) is not str or not name:
            raise _bad(f"tool call {place} has a name that is {not_that(name, 'a string')}")
        if nested and function:
            call["function"] = function
        functions.append({"name": name, "arguments": _as_text(arguments, place)})
        rests.append(call)
    spelled = [{"type": "function", "function": function} for function in functions]
    return orjson.dumps(spelled).decode(), rests


def _as_text(arguments: Any, place: int) -> str:
    if arguments is None:
        return "{}"
    if type(arguments) is str:
        return arguments
    if type(arguments) is not dict:
        raise _bad(f"tool call {place} has arguments that are {kind_of(arguments)}")
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        raise _bad(f"tool call {place} has arguments nested too deeply") from None
