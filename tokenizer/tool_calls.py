"""Tool calls as text: what an assistant writes to call a function.

Each call is a JSON object in a block, after the content and a line end where there is content::

    Let me look.
    <tool_call>
    {"name": "weather", "arguments": {"city": "Oslo"}}
    </tool_call>

This is how the chat templates of Hermes and Qwen write calls. The tags are plain text, as the
vocabulary has no pieces for them. Arguments that are JSON text stay as they were written.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

OPEN, CLOSE = "<tool_call>\n", "\n</tool_call>"


def spoken(content: str | None, tool_calls: str | None) -> str:
    """What a message says: its content, and after it the calls of ``tool_calls``, which is a JSON
    list of ``{"type": "function", "function": {"name": …, "arguments": …}}`` or null.
    """
    if tool_calls is None:
        return content or ""
    blocks = "\n".join(OPEN + _call(call["function"]) + CLOSE for call in json.loads(tool_calls))
    return f"{content}\n{blocks}" if content and blocks else content or blocks


def _call(function: dict[str, Any]) -> str:
    name = json.dumps(function["name"], ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {_arguments(function["arguments"])}}}'


def _arguments(arguments: Any) -> str:
    """As JSON: a text that is JSON already as it stands, an empty one as no arguments."""
    if isinstance(arguments, str):
        if not arguments.strip():
            return "{}"
        try:
            orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return json.dumps(arguments, ensure_ascii=False)
        return arguments
    return json.dumps(arguments, ensure_ascii=False)
