"""Prompts that a user gives: on the command line, or as the lines of a file.

A line of a file is a prompt; of a file ``*.jsonl`` it is an object with ``prompt``, a text, or
``messages``, each of a role and a content. Empty lines are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import Field, ValidationError, model_validator

from artifacts.errors import Address, Place, UserError
from artifacts.records import Record

_OF_A_PROMPT = ("prompt", "text", "messages")


class Asked(NamedTuple):
    """A prompt, a text or messages, and where a file has it."""

    prompt: str | list[dict[str, str]]
    file: str | None = None
    line: int | None = None

    def placed(self, error: UserError) -> UserError:
        """An error about this prompt, with its file and line."""
        return error.relocated(self._place) if self.file is not None else error

    def _place(self, address: Address) -> Place | Address:
        if address and address[0] not in _OF_A_PROMPT:
            return address
        own = ("prompt",) if isinstance(self.prompt, str) else ("messages",)
        return Place(own, self.file, self.line)


class _Message(Record, strict=True):
    role: str
    content: str


class _Line(Record, strict=True):
    prompt: str | None = None
    messages: Annotated[list[_Message], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> _Line:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


def prompts_asked(prompts: Sequence[str], file: Path | None) -> list[Asked]:
    """All prompts, those of the file last. Raises: UserError when there are none, and for a line
    that is no prompt, or a file that cannot be read.
    """
    asked = [Asked(prompt) for prompt in prompts]
    if file is not None:
        asked += _of_file(file)
    if not asked:
        place: dict[str, Any] = {"parameter": "prompt"} if file is None else {"file": file}
        raise UserError(
            "nothing to go on from", **place, fix="give a prompt, or a file with one on each line"
        )
    return asked


def _of_file(path: Path) -> Iterator[Asked]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(
            "cannot read the file with prompts",
            file=path,
            found=error.strerror or error,
            fix="name a file with a prompt on each line",
        ) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Asked(_prompt(line.removesuffix(b"\r"), path, number), str(path), number)


def _prompt(line: bytes, path: Path, number: int) -> str | list[dict[str, str]]:
    if path.suffix == ".jsonl":
        return _of_json(line, path, number)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            "not a text in UTF-8",
            file=path,
            line=number,
            found=str(line[error.start : error.end]),
            fix="write the file in UTF-8",
        ) from None


def _of_json(line: bytes, path: Path, number: int) -> str | list[dict[str, str]]:
    fix = 'write {"prompt": "…"}, or {"messages": [{"role": "user", "content": "…"}]}'
    try:
        entry = _Line.model_validate(orjson.loads(line))
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"not JSON: {error}", file=path, line=number, found=line[:80], fix=fix
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"no prompt: {first['msg']}",
            file=path,
            line=number,
            field=tuple(first["loc"]),
            found=first["input"],
            fix=fix,
        ) from None
    if entry.prompt is not None:
        return entry.prompt
    return [message.model_dump() for message in entry.messages or ()]
