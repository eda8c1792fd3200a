"""Commands that a text tells its user to give.

A text speaks of a command with :class:`Command`, never with letters alone. So whoever knows what
the user typed completes it with that (:mod:`pipelines.commands.hints`), and a test finds every
command the house prints, and gives it.

>>> print(Command("train RECIPE", RECIPE="my recipe.yaml"))
windtunnel train 'my recipe.yaml'
>>> print(Command("shards verify RUN"))
windtunnel shards verify RUN
>>> Command("report RUN", RUN="of my RUN").blanks
()
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Self

from artifacts.visible_text import on_one_line

NAME = "windtunnel"
_BLANK = re.compile("[A-Z]{2,}")
# a blank, or what is quoted, in which there is none
_QUOTED_OR_BLANK = re.compile(r"""'[^']*'|"[^"]*"|(?<!\S)([A-Z]{2,})(?!\S)""")
_IN_DOLLAR_QUOTES = {ord("\\"): r"\\", ord("'"): r"\u0027"}


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
        found = _QUOTED_OR_BLANK.finditer(self.words)
        return tuple(dict.fromkeys(blank[1] for blank in found if blank[1]))

    def filled(self, known: Mapping[str, object]) -> Command:
        """The same with these in place of its blanks."""
        return Command(_filled(self.words, known))

    def with_options(self, options: str) -> Command:
        """The same with more options."""
        return Command(f"{self.words} {options}") if options else self


def quoted(value: object) -> str:
    """A value as a shell reads it, and as a terminal can show it: characters that act or hide by
    their numbers, which bash and zsh understand. It is neither an option nor a blank.

    >>> print(quoted("my runs"), quoted("a\\tb"), quoted("-r.yaml"), quoted("RUN"))
    'my runs' $'a\\u0009b' ./-r.yaml 'RUN'
    """
    text = str(value)
    text = f"./{text}" if text.startswith("-") else text
    if on_one_line(text) == text:
        return f"'{text}'" if _BLANK.fullmatch(text) else shlex.quote(text)
    return f"$'{on_one_line(text.translate(_IN_DOLLAR_QUOTES))}'"


def _filled(words: str, known: Mapping[str, object]) -> str:
    return _QUOTED_OR_BLANK.sub(
        lambda found: quoted(known[found[1]]) if found[1] in known else found[0], words
    )
