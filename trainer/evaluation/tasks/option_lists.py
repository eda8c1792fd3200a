"""Lists of options that a question of BIG-Bench Hard ends with.

>>> from trainer.evaluation.tasks.option_lists import listed
>>> listed("Which is round?\\nOptions:\\n(A) a ball\\n(B) a cube", "(A)")
OptionList(question='Which is round?', options=('a ball', 'a cube'), names=('(A)', '(B)'), right=0)
>>> listed("2 + 2 =", "4") is None
True
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ENDING = re.compile(r"(?P<asked>.*?)\s*^Options:[ \t]*\n(?P<options>.+)", re.S | re.M)
_LETTERED = re.compile(r"\((?P<letter>[A-Z])\)\s*(?P<text>\S.*)")
_DASHED = re.compile(r"-\s*(?P<text>\S.*)")
LETTER = re.compile(r"\([A-Z]\)")


class OptionList(NamedTuple):
    """The question before the list, the options' texts, and which is right, None where the answer
    is none of them. ``names``: what an answer names an option by: its letter, or its own text.
    """

    question: str
    options: tuple[str, ...]
    names: tuple[str, ...]
    right: int | None


def listed(asked: str, answer: str) -> OptionList | None:
    """The list that a question ends with, None where it has none of two or more."""
    found = _ENDING.fullmatch(asked.strip())
    lines = [] if found is None else found["options"].split("\n")
    for form in (_LETTERED, _DASHED):
        matches = [match for line in lines if (match := form.fullmatch(line.strip()))]
        if found is None or len(lines) < 2 or len(matches) < len(lines):
            continue
        texts = tuple(match["text"] for match in matches)
        letters = form is _LETTERED
        names = tuple(f"({match['letter']})" for match in matches) if letters else texts
        right = names.index(answer.strip()) if answer.strip() in names else None
        return OptionList(found["asked"], texts, names, right)
    return None
