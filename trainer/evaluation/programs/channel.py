"""Messages between judge and program: their length, then plain values, over two pipes.

Runs within a program's process: nothing but the standard library is there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Any

from trainer.evaluation.programs.values import dumped, loaded

LONGEST = 4 << 20
"""Bytes of a message."""

_LENGTH = struct.Struct("<Q")


class EndedError(BaseException):
    """The other side ended or sent something else than a message. No test of a publisher catches
    it as an exception of the function that it tests.
    """


class Channel:
    """One end: file descriptors to read and to write; ``classes`` are those of objects."""

    def __init__(self, reads: int, writes: int, classes: Mapping[str, Any]) -> None:
        self._reads, self._writes, self._classes = reads, writes, classes

    def send(self, *message: Any) -> None:
        """Raises: NotPlainError for what cannot pass, EndedError where nobody reads."""
        raw = dumped(message)
        if len(raw) > LONGEST:
            raise EndedError("a value is too long to pass to the tests")
        left = _LENGTH.pack(len(raw)) + raw
        try:
            while left:
                left = left[os.write(self._writes, left) :]
        except OSError:
            raise EndedError("the program ended") from None

    def receive(self) -> tuple[Any, ...]:
        """The next message. Raises: EndedError."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > LONGEST:
            raise EndedError("the program sent no message")
        try:
            message = loaded(self._read(length), self._classes)
        except (ValueError, TypeError, ArithmeticError, RecursionError, AttributeError):
            raise EndedError("the program sent no plain value") from None
        if not isinstance(message, tuple) or not message:
            raise EndedError("the program sent no message")
        return message

    def _read(self, length: int) -> bytes:
        parts = []
        while length:
            part = os.read(self._reads, min(length, 1 << 16))
            if not part:
                raise EndedError("the program ended")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)
