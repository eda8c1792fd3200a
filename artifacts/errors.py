"""Errors a user can act on: where it is, what was found, what is allowed, how to mend it.

Raise :class:`UserError` for anything the user can put right. The command line prints it without
a traceback; everything else that reaches the top is a defect of this software.

An error speaks of a place in the terms of the code that raises it: a field of a file, a field of a
part of a recipe, a parameter of a function. Whoever knows where that lies for the user says it of
that place, with :meth:`UserError.relocated`: a recipe with its file and line, a command with its
option.

>>> error = UserError(
...     "out of range",
...     parameter="max_removed",
...     found=1.5,
...     fix=("leave ", Setting("max_removed"), " out, or give ", Setting("max_removed", 0.9)),
... )
>>> print(error)
out of range
  field:   max_removed
  found:   1.5
  fix:     leave max_removed out, or give max_removed=0.9
>>> print(error.relocated(lambda address: ("--max-removed",)))
out of range
  field:   --max-removed
  found:   1.5
  fix:     leave --max-removed out, or give --max-removed 0.9
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from artifacts.commands import Command
from artifacts.visible_text import on_one_line, visible

Address: TypeAlias = tuple[str | int, ...]
"""Where something stands: names of fields, names or numbers of entries, from the outside in."""


class Parameter(str):
    """The first part of an address whose value the caller of a function gave as an argument."""

    __slots__ = ()


class Place(NamedTuple):
    """Where the user finds what an address speaks of.

    ``file`` and ``line`` (1-based) where a file holds it; ``note`` goes behind the message.
    """

    address: Address
    file: str | None = None
    line: int | None = None
    note: Text = ()


class Setting:
    """A setting that a text speaks of, with the value to give it, written as the user writes it.

    ``address``: of a parameter by its name, of anything else in full. An option that is a switch is
    given by its name alone: value True.
    """

    def __init__(self, address: str | Address, value: object = None) -> None:
        self.address = (Parameter(address),) if isinstance(address, str) else address
        self.value = None if value is None else str(value)

    def __str__(self) -> str:
        if self.value is None:
            return written(self.address)
        if is_option(self.address):
            switch = self.value == str(True)
            return written(self.address) + ("" if switch else f" {self.value}")
        sign = "=" if is_parameter(self.address) else ": "
        return f"{self.address[-1]}{sign}{self.value}"


Text: TypeAlias = str | Sequence[str | Setting]
"""A sentence; in parts where it speaks of settings."""

Move: TypeAlias = Callable[[Address], Place | Address]
"""From an address to where the user finds it."""


class UserError(Exception):
    """A mistake in the user's input.

    Parameters name what is known, all optional but the message: ``file`` and ``line`` (1-based);
    ``field`` of a file or of a part of a recipe, or ``parameter`` of the function called, as an
    address or dotted; ``found`` (the offending value), ``allowed`` (the values accepted) and
    ``fix`` (one sentence). When ``allowed`` holds names, the nearest match is suggested.
    """

    def __init__(
        self,
        message: Text,
        *,
        file: object = None,
        line: int | None = None,
        field: str | Address | None = None,
        parameter: str | Address | None = None,
        found: object = None,
        allowed: Iterable[object] | None = None,
        fix: Text | None = None,
    ) -> None:
        self._message = _parts(message)
        self.file = None if file is None else str(file)
        self.line = line
        self.address = address_of(field)
        if parameter is not None:
            first, *inside = address_of(parameter)
            self.address = (Parameter(first), *inside)
        self.found = found
        self.allowed = None if allowed is None else [str(value) for value in allowed]
        self._fix = None if fix is None else _parts(fix)
        super().__init__(self.render())

    @property
    def message(self) -> str:
        """What is wrong."""
        return _joined(self._message)

    @property
    def fix(self) -> str | None:
        """How to mend it."""
        return None if self._fix is None else _joined(self._fix)

    @property
    def field(self) -> str | None:
        """The address as people write it, None without one."""
        return written(self.address) if self.address else None

    def changed(self, *, message: Text | None = None, fix: Text | None = None) -> UserError:
        """The same error about the same place, said or mended in another way."""
        facts = self._facts()
        facts |= {} if message is None else {"message": message}
        return type(self)(**facts | ({} if fix is None else {"fix": fix}))

    def relocated(self, move: Move) -> UserError:
        """The same error, said of the place where the user finds it.

        ``move`` gets the error's address, () where it has none, and those of the settings its texts
        speak of. An error that another file holds goes on naming that file.
        """
        place = _place(move(self.address))
        facts = self._facts()
        facts["field"] = place.address
        facts["message"] = _moved(self._message, move)
        facts["fix"] = None if self._fix is None else _moved(self._fix, move)
        if place.file is not None:
            elsewhere = self.file not in (None, place.file) and str(self.file) not in self.message
            facts["message"] += (f" ({self.file})",) if elsewhere else ()
            facts |= {"file": place.file, "line": place.line}
        facts["message"] += (" (", *_parts(place.note), ")") if place.note else ()
        return type(self)(**facts)

    def completed(self, complete: Callable[[Command], Command]) -> UserError:
        """The same error, the commands its texts speak of completed with what the user typed."""
        facts = self._facts()
        facts["message"] = _with_commands(self._message, complete)
        facts["fix"] = None if self._fix is None else _with_commands(self._fix, complete)
        return type(self)(**facts)

    @property
    def nearest(self) -> str | None:
        """The allowed value closest to what was found, if any is close."""
        if self.found is None or not self.allowed:
            return None
        close = difflib.get_close_matches(str(self.found), self.allowed, n=1, cutoff=0.5)
        return close[0] if close else None

    def render(self) -> str:
        """The error as the user reads it, a line per fact; what comes from outside can neither act
        on a terminal nor pass for another line.
        """
        place = on_one_line(self.file or "")
        if self.line is not None:
            place = f"{place}:{self.line}"
        message = visible(self.message)
        lines = [f"{place}: {message}" if place else message]
        if self.field:
            lines.append(f"  field:   {on_one_line(self.field)}")
        if self.found is not None:
            lines.append(f"  found:   {on_one_line(_short(self.found))}")
        if self.allowed:
            lines.append(f"  allowed: {on_one_line(', '.join(self.allowed))}")
        if self.nearest:
            lines.append(f"  nearest: {on_one_line(self.nearest)}")
        if self.fix:
            lines.append(f"  fix:     {visible(self.fix)}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        facts = self._facts()
        facts["found"] = None if self.found is None else str(self.found)
        return _rebuild, (type(self), facts)

    def _facts(self) -> dict[str, Any]:
        return {
            "message": self._message,
            "file": self.file,
            "line": self.line,
            "field": self.address or None,
            "found": self.found,
            "allowed": self.allowed,
            "fix": self._fix,
        }


def address_of(field: str | Address | None) -> Address:
    """A field as an address: a text is dotted, so a name that may hold dots goes in a tuple."""
    if field is None:
        return ()
    return tuple(field.split(".")) if isinstance(field, str) else tuple(field)


def written(address: Address) -> str:
    """An address as people write it: ``corpus.sources[2].paths``, ``--weight web``."""
    if is_option(address):
        return " ".join(str(part) for part in address)
    text = ""
    for part in address:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def is_parameter(address: Address) -> bool:
    """Whether an address is of an argument that the caller of a function gave."""
    return bool(address) and isinstance(address[0], Parameter)


def is_option(address: Address) -> bool:
    """Whether an address is of an option of the command line."""
    return bool(address) and str(address[0]).startswith("--")


def _place(found: Place | Address) -> Place:
    return found if isinstance(found, Place) else Place(found)


def _parts(text: Text) -> tuple[str | Setting, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def _joined(parts: Sequence[str | Setting]) -> str:
    return "".join(str(part) for part in parts)


def _moved(parts: Sequence[str | Setting], move: Move) -> tuple[str | Setting, ...]:
    return tuple(
        part if isinstance(part, str) else Setting(_place(move(part.address)).address, part.value)
        for part in parts
    )


def _with_commands(
    parts: Sequence[str | Setting], complete: Callable[[Command], Command]
) -> tuple[str | Setting, ...]:
    return tuple(complete(part) if isinstance(part, Command) else part for part in parts)


def _rebuild(kind: type[UserError], facts: dict[str, Any]) -> UserError:
    return kind(**facts)


def _short(value: object, limit: int = 200) -> str:
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
