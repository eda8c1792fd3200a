"""Commands that a text tells its user to give.

A text speaks of a command with :class:`Command`, never with letters alone. So whoever knows what
the user typed completes it with that (:mod:`pipelines.commands.hints`), and a test finds every
command the house prints, and gives it.

>>> print(Command("train RECIPE", RECIPE="my recipe.yaml"))
windtunnel train 'my recipe.yaml'
>>> print(Command("shards verify RUN"))
windtunnel shards verify RUN
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Self

NAME = "windtunnel"
_BLANK = re.compile(r"(?<!\S)[A-Z]{2,}(?!\S)")


class Command(str):
    """A command of the command line: its words after ``windtunnel``, with blanks in capitals.

    ``known``: what stands in place of blanks, as it is; it is quoted for a shell.
    """

    __slots__ = ()

    def __new__(cls, words: str, **known: object) -> Self:
        return super().__new__(cls, f"{NAME} {_filled(words, known)}")

    def __getnewargs__(self) -> tuple[str]:
        return (self.words,)

    @property
    def words(self) -> str:
        """What follows ``windtunnel``."""
        return self.removeprefix(f"{NAME} ")

    @property
    def blanks(self) -> tuple[str, ...]:
        """What the user has to know: ``RECIPE``, ``RUN``, …"""
        return tuple(dict.fromkeys(_BLANK.findall(self.words)))

    def filled(self, known: Mapping[str, object]) -> Command:
        """The same with these in place of its blanks."""
        return Command(_filled(self.words, known))

    def with_options(self, options: str) -> Command:
        """The same with more options."""
        return Command(f"{self.words} {options}") if options else self


def _filled(words: str, known: Mapping[str, object]) -> str:
    return _BLANK.sub(
        lambda blank: shlex.quote(str(known[blank[0]])) if blank[0] in known else blank[0], words
    )
