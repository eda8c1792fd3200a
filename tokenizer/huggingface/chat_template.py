"""The chat format of :mod:`tokenizer.chat` as a template for transformers.

``apply_chat_template`` then gives BOS and the ids of
:func:`~tokenizer.chat.encode_conversations`, as long as no content spells a control piece, and
marks what carries loss: answers with their tool calls and their EOS. Content is put in by text, so
one that spells ``<AI>`` forges a turn there; train on such conversations through our own encoder.

Two things cannot be the same. Arguments of a tool call that are a text but not valid JSON are
written as they stand, since a template cannot tell; ours quotes them. An answer's weight other than
0 and 1 is taken for 1; ours refuses it.
"""

from __future__ import annotations

from tokenizer.chat import MARKS
from tokenizer.encode import Tokenizer

_ASSISTANT, _USER = "assistant", "user"

_TEMPLATE = r"""
{%- set marks = {MARKS} -%}
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] not in marks -%}
        {{- raise_exception('no such role: ' ~ message['role'] ~ '; there are {ROLES}') -}}
    {%- endif -%}
    {%- set content = message['content'] if message['content'] else '' -%}
    {%- if content is not string -%}
        {{- raise_exception('the content of a message has to be a text') -}}
    {%- endif -%}
    {%- set turn = namespace(said=content) -%}
    {%- for call in message['tool_calls'] or [] -%}
        {%- set function = call['function'] -%}
        {%- set arguments = function['arguments'] -%}
        {%- if arguments is not string -%}
            {%- set arguments = arguments | tojson -%}
        {%- elif not arguments | trim -%}
            {%- set arguments = '{}' -%}
        {%- endif -%}
        {%- if turn.said -%}
            {%- set turn.said = turn.said + '\n' -%}
        {%- endif -%}
        {%- set turn.said = turn.said + '<tool_call>\n{"name": ' + function['name'] | tojson -%}
        {%- set turn.said = turn.said + ', "arguments": ' + arguments + '}\n</tool_call>' -%}
    {%- endfor -%}
    {{- marks[message['role']] -}}
    {%- if message['role'] != 'assistant' -%}
        {{- turn.said -}}
    {%- elif message['weight'] == 0 -%}
        {{- turn.said + eos_token -}}
    {%- else -%}
        {%- generation -%}{{- turn.said + eos_token -}}{%- endgeneration -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<AI>' -}}
{%- elif not messages or messages[-1]['role'] != 'assistant' -%}
    {{- eos_token -}}
{%- endif -%}
"""


def chat_template(tokenizer: Tokenizer) -> str | None:
    """The Jinja template of a tokenizer's chat format, with the roles whose marks it has as control
    pieces; None where it lacks those of users and assistants.
    """
    marks = {role: mark for role, mark in MARKS.items() if tokenizer.control_id(mark) is not None}
    if _USER not in marks or _ASSISTANT not in marks:
        return None
    named = ", ".join(f"'{role}': '{mark}'" for role, mark in marks.items())
    filled = _TEMPLATE.replace("{MARKS}", f"{{{named}}}").replace("{ROLES}", ", ".join(marks))
    return filled.lstrip("\n")
