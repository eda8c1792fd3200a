"""Conversations in the shapes they have on the hub: as records, as the messages they are, and as
the targets a model is trained on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]

CALL = {"name": "weather", "arguments": '{"city": "Oslo", "days": 2}'}
OTHER_CALL = {"name": "time", "arguments": "{}"}


def calls(*functions: dict[str, Any]) -> str:
    """The column ``tool_calls`` of these functions."""
    spelled = [{"type": "function", "function": function} for function in functions]
    return json.dumps(spelled, separators=(",", ":"), ensure_ascii=False)


def block(function: dict[str, str]) -> str:
    """A call as an assistant writes it."""
    return (
        f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'
        "\n</tool_call>"
    )


@dataclass(frozen=True)
class Shape:
    """``messages``: role, content, and what else is not null; ``targets``: what carries loss."""

    record: Record
    messages: list[Record]
    targets: list[str]
    meta: Record = field(default_factory=dict)
    messages_field: str = "auto"


def said(*turns: tuple[str, str], **last: Any) -> list[Record]:
    messages: list[Record] = [{"role": role, "content": content} for role, content in turns]
    messages[-1] |= last
    return messages


QUESTION, ANSWER = ("user", "Which river?"), ("assistant", "The Glomma.")
USED = [
    {"role": "user", "content": "How is it in Oslo?"},
    {"role": "assistant", "content": "Let me look.", "tool_calls": calls(CALL)},
    {"role": "tool", "content": '{"sky": "clear"}'},
    {"role": "assistant", "content": "It is clear."},
]
USED_TARGETS = [f"Let me look.\n{block(CALL)}", "It is clear."]
NAMED_TOOL = [*USED[:2], {**USED[2], "name": "weather"}, USED[3]]

SHAPES = {
    "messages": Shape(
        {"messages": said(QUESTION, ANSWER)}, said(QUESTION, ANSWER), [ANSWER[1]],
        messages_field="messages",
    ),
    "alpaca": Shape(
        {"instruction": "Name a river.", "input": "In Norway.", "output": "The Glomma."},
        said(("user", "Name a river.\n\nIn Norway."), ANSWER), [ANSWER[1]],
    ),
    "alpaca_without_input": Shape(
        {"instruction": "Name a river.", "input": "", "output": "The Glomma.", "text": "Below is"},
        said(("user", "Name a river."), ANSWER), [ANSWER[1]], {"text": "Below is"},
        "instruction",
    ),
    "alpaca_with_history": Shape(
        {
            "instruction": "Which river?", "output": "The Glomma.", "system": "Be short.",
            "history": [["Where is Oslo?", "In Norway."]],
        },
        said(("system", "Be short."), ("user", "Where is Oslo?"), ("assistant", "In Norway."),
             QUESTION, ANSWER),
        ["In Norway.", ANSWER[1]],
    ),
    "dolly": Shape(
        {"instruction": "Name it.", "context": "A river.", "response": "Glomma.", "category": "qa"},
        said(("user", "Name it.\n\nA river."), ("assistant", "Glomma.")), ["Glomma."],
        {"category": "qa"},
    ),
    "sharegpt": Shape(
        {
            "conversations": [
                {"from": "human", "value": "Which river?"}, {"from": "gpt", "value": "The Glomma."}
            ],
        },
        said(QUESTION, ANSWER), [ANSWER[1]], messages_field="conversations",
    ),
    "sharegpt_with_tools": Shape(
        {
            "system": "Use tools.",
            "tools": "[]",
            "conversations": [
                {"from": "human", "value": "How is it in Oslo?"},
                {"from": "function_call", "value": json.dumps(
                    {"name": "weather", "arguments": {"city": "Oslo", "days": 2}})},
                {"from": "observation", "value": '{"sky": "clear"}'},
                {"from": "gpt", "value": "It is clear."},
            ],
        },
        [{"role": "system", "content": "Use tools."}, USED[0],
         {"role": "assistant", "content": "", "tool_calls": calls(CALL)}, *USED[2:]],
        [block(CALL), "It is clear."], {"tools": "[]"},
    ),
    "openai_tools": Shape(
        {
            "messages": [
                USED[0],
                {
                    "role": "assistant", "content": "Let me look.", "function_call": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": CALL}],
                },
                {**USED[2], "tool_call_id": "c1", "name": "weather"},
                USED[3],
            ],
        },
        NAMED_TOOL, USED_TARGETS,
        {"message_fields": [{}, {"tool_calls": [{"id": "c1"}]}, {"tool_call_id": "c1"}, {}]},
    ),
    "openai_content_null": Shape(
        {
            "messages": [
                USED[0],
                {
                    "role": "assistant", "content": None,
                    "tool_calls": [
                        {"type": "function", "function": CALL},
                        {"type": "function", "function": OTHER_CALL},
                    ],
                },
                USED[2], USED[3],
            ],
        },
        [USED[0], {"role": "assistant", "content": "", "tool_calls": calls(CALL, OTHER_CALL)},
         *USED[2:]],
        [f"{block(CALL)}\n{block(OTHER_CALL)}", "It is clear."],
    ),
    "openai_function_call": Shape(
        {
            "messages": [
                USED[0],
                {"role": "assistant", "content": "Let me look.", "function_call": CALL},
                {"role": "function", "name": "weather", "content": '{"sky": "clear"}'},
                USED[3],
            ],
        },
        NAMED_TOOL, USED_TARGETS,
    ),
    "parts": Shape(
        {
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Which "}, {"type": "text", "text": "river?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "The Glomma."}]},
            ],
        },
        said(QUESTION, ANSWER), [ANSWER[1]],
    ),
    "developer": Shape(
        {"messages": said(("developer", "Be short."), QUESTION, ANSWER)},
        said(("system", "Be short."), QUESTION, ANSWER), [ANSWER[1]],
    ),
    "weights": Shape(
        {
            "messages": [
                *said(QUESTION, ("assistant", "The Rhine."), weight=0),
                *said(("user", "In Norway."), ANSWER, weight=1),
            ],
        },
        [*said(QUESTION, ("assistant", "The Rhine."), weight=0.0),
         *said(("user", "In Norway."), ANSWER, weight=1.0)],
        [ANSWER[1]],
    ),
    "weight_of_a_call": Shape(
        {
            "messages": [
                USED[0],
                {"role": "assistant", "content": "Let me look.", "weight": 0,
                 "tool_calls": [{"type": "function", "function": CALL}]},
                USED[2], USED[3],
            ],
        },
        [USED[0], {**USED[1], "weight": 0.0}, *USED[2:]], ["It is clear."],
    ),
}  # fmt: skip
"""By name. Each is one record; all can be rows of JSON Lines and of Parquet."""


@dataclass(frozen=True)
class Broken:
    """A record that is no conversation: the reason, and a word of the detail."""

    record: Record
    reason: str
    detail: str


def answered(**answer: Any) -> Record:
    return {"messages": [*said(QUESTION), {"role": "assistant", "content": "yes", **answer}]}


def parts(*content: Any) -> Record:
    answer = {"role": "assistant", "content": [{"type": "text", "text": ANSWER[1]}]}
    return {"messages": [{"role": "user", "content": list(content)}, answer]}


BAD, NOT_TEXT = "bad_messages", "content_not_text"
MALFORMED = {
    "from_without_value": Broken(
        {"conversations": [{"from": "human"}]}, BAD, "message 0: value is null"
    ),
    "value_without_from": Broken(
        {"conversations": [{"value": "hi"}]}, BAD, "message 0: role is null"
    ),
    "value_a_number": Broken(
        {"conversations": [{"from": "human", "value": 4}]}, BAD, "value is an integer"
    ),
    "role_a_number": Broken({"messages": [{"role": 1, "content": "x"}]}, BAD, "role is an integer"),
    "content_a_number": Broken(answered(content=4), BAD, "message 1: content is an integer"),
    "content_an_object": Broken(answered(content={"a": 1}), BAD, "content is an object"),
    "content_null_without_calls": Broken(answered(content=None), BAD, "content is null"),
    "message_a_string": Broken({"messages": ["x"]}, BAD, "message 0: a string, not an object"),
    "weight_a_string": Broken(answered(weight="abc"), BAD, "weight is a string"),
    "weight_a_boolean": Broken(answered(weight=True), BAD, "weight is a boolean"),
    "weight_negative": Broken(answered(weight=-1), BAD, "weight is -1"),
    "calls_not_a_list": Broken(answered(tool_calls={"a": 1}), BAD, "tool_calls is an object"),
    "calls_a_string": Broken(answered(tool_calls="abc"), BAD, "tool_calls is a string"),
    "call_not_an_object": Broken(answered(tool_calls=[1]), BAD, "tool call 0 is an integer"),
    "call_without_name": Broken(
        answered(tool_calls=[{"function": {"arguments": "{}"}}]), BAD, "name that is missing"
    ),
    "call_with_a_list": Broken(
        answered(tool_calls=[{"function": {"name": "f", "arguments": [1]}}]), BAD, "an array"
    ),
    "call_of_another_type": Broken(
        answered(tool_calls=[{"type": "custom", "custom": {"name": "f", "input": "x"}}]),
        NOT_TEXT,
        "'custom'",
    ),
    "both_kinds_of_calls": Broken(
        answered(tool_calls=[{"function": CALL}], function_call=CALL), BAD, "both"
    ),
    "function_call_a_string": Broken(answered(function_call="f"), BAD, "function that is"),
    "call_of_a_user": Broken(
        {"messages": [{"role": "user", "content": "x", "tool_calls": [{"function": CALL}]}]},
        BAD,
        "role 'user'",
    ),
    "call_role_without_json": Broken(
        {"conversations": [{"from": "function_call", "value": "weather(Oslo)"}]},
        BAD,
        "tool call 0 is a string",
    ),
    "answer_people_did_not_want": Broken(
        {"instruction": "Say hi.", "output": "No.", "label": False},
        "unwanted_answer",
        "'label' is false",
    ),
    "answer_tagged_as_unwanted": Broken(
        {**answered(), "kto_tag": False}, "unwanted_answer", "'kto_tag' is false"
    ),
    "image_part": Broken(
        parts({"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "x"}}),
        NOT_TEXT,
        "message 0: part 1 of the content is of type 'image_url'",
    ),
    "unknown_part": Broken(parts({"type": "hologram", "text": "x"}), NOT_TEXT, "'hologram'"),
    "part_without_type": Broken(parts({"text": "x"}), BAD, "without a type"),
    "part_a_number": Broken(parts(4), BAD, "part 0 of the content is an integer"),
    "part_text_a_number": Broken(parts({"type": "text", "text": 4}), BAD, "text that is an int"),
    "image_of_a_message": Broken(answered(images=["aGk="]), NOT_TEXT, "images is an array"),
    "image_of_the_record": Broken(
        {
            "image": "a.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is it?"},
                {"from": "gpt", "value": "A river."},
            ],
        },
        NOT_TEXT,
        "'image'",
    ),
    "every_message_empty": Broken(
        {"messages": said(("user", ""), ("assistant", " "), weight=1)}, BAD, "every message"
    ),
    "no_messages": Broken({"messages": []}, BAD, "'messages' is empty"),
    "two_lists": Broken(
        {"messages": said(QUESTION), "conversations": [{"from": "human", "value": "x"}]},
        BAD,
        "the record has 'messages' and 'conversations': name one in messages_field",
    ),
    "neither": Broken({"prompt": "x", "completion": "y"}, BAD, "field 'auto' is missing"),
    "output_a_number": Broken(
        {"instruction": "Add.", "output": 4}, BAD, "field 'output' is an integer"
    ),
    "instruction_a_list": Broken({"instruction": ["x"], "output": "y"}, BAD, "instruction"),
    "input_an_object": Broken(
        {"instruction": "Add.", "input": {"a": 1}, "output": "y"}, BAD, "field 'input'"
    ),
    "history_of_strings": Broken(
        {"instruction": "Add.", "output": "y", "history": ["x"]}, BAD, "turn 0 of 'history'"
    ),
}
"""By name, read with ``messages_field: auto``."""

DROPPED = {
    "chat_unknown_role": {"messages": said(("narrator", "hm"), QUESTION, ANSWER)},
    "chat_no_answer": {"instruction": "x", "output": None, "messages": said(QUESTION)},
    "chat_empty_answer": {"instruction": "Name a river.", "output": " "},
    "chat_partial_weight": answered(weight=0.5),
    "chat_no_target": answered(weight=0),
}
"""By reason: conversations that are read and not trained on."""
