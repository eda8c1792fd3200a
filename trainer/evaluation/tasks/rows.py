"""One record of a benchmark's file, and the checks that every layout makes of its fields.

    row.text("question")            a text that is not blank
    row.texts("endings")            a list of them, two at least
    raise row.error("...", "label", found=7, fix="...")

Errors name the file, the line or entry, and the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from artifacts.errors import Address, UserError

RESTORE = "correct the record, or restore the file from where it came from"
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Row:
    """A record as its file has it.

    ``line`` (1-based) where it begins, None in a file that is one JSON value; ``number``: which of
    its file, from 0; ``under``: where ``values`` stand in what the file or line holds.
    """

    file: str
    line: int | None
    number: int
    values: Mapping[str, Any]
    under: Address = ()

    @property
    def stem(self) -> str:
        """The name of its file without any suffix."""
        return stem_of(self.file)

    def error(
        self,
        message: str,
        field: str,
        *,
        found: object = None,
        allowed: Iterable[object] | None = None,
        fix: str = RESTORE,
    ) -> UserError:
        """A mistake in a field of the record."""
        return UserError(
            message,
            file=self.file,
            line=self.line,
            field=(*self.under, field),
            found=found,
            allowed=allowed,
            fix=fix,
        )

    def value(self, *names: str) -> tuple[str, Any]:
        """The first of the named fields that the record has, and what it holds. Raises: UserError
        where it has none of them.
        """
        for name in names:
            if self.values.get(name) is not None:
                return name, self.values[name]
        raise self.error(
            f"the record has no {names[0]}",
            names[0],
            found=f"the fields {', '.join(map(str, self.values))}",
            fix="add it, take the record out, or name the layout that the file is in",
        )

    def text(self, *names: str) -> str:
        """A text that is not blank, of the first of the named fields there is."""
        name, value = self.value(*names)
        return self.checked(value, name)

    def checked(self, value: Any, name: str) -> str:
        """Raises: UserError for what is no text, blank, or not Unicode."""
        if not isinstance(value, str):
            raise self.error("a text belongs here", name, found=repr(value)[:80])
        if not value.strip():
            raise self.error("the text is empty", name, found=repr(value)[:80])
        return self.unicode(value, name)

    def unicode(self, value: str, name: str) -> str:
        """Raises: UserError for a text with half a surrogate pair, which UTF-8 cannot hold."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = ascii(value[error.start : error.end])
            raise self.error("not a text in UTF-8", name, found=half) from None
        return value

    def texts(self, name: str, values: Any = None) -> list[str]:
        """A list of two or more options, of the named field or of ``values`` found there."""
        options = self.value(name)[1] if values is None else values
        if not isinstance(options, list) or len(options) < 2:
            raise self.error(
                "a list of two or more options belongs here", name, found=repr(options)[:80]
            )
        return [self.checked(option, name) for option in options]

    def place(self, options: Sequence[str], letters: bool, *names: str) -> int:
        """Which of ``options`` the first of the named fields says is right: by its number, or with
        ``letters`` by A, B, … Raises: UserError where it is none of them.
        """
        name, value = self.value(*names)
        said = value.strip() if isinstance(value, str) else value
        labels = [chr(ord("A") + number) for number in range(len(options))]
        if isinstance(said, str) and _COUNT.fullmatch(said):
            said = int(said)
        if letters and said in labels:
            return labels.index(said)
        if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < len(options):
            return said
        numbers = f"0 to {len(options) - 1}"
        raise self.error(
            "the answer is none of the options",
            name,
            found=repr(value)[:80],
            allowed=[*labels, numbers] if letters else [numbers],
            fix="give the number of the right option; a test part without answers is not scored",
        )


def stem_of(file: str) -> str:
    """The name of a file without any suffix."""
    return PurePath(file).name.split(".")[0]
