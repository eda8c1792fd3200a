"""Lists of options that a question of BIG-Bench Hard ends with.

>>> from trainer.evaluation.tasks.option_lists import listed
>>> listed("Which is round?\\nOptions:\\n(A) a ball\\n(B) a cube", "(A)")
OptionList(question='Which is round?', options=('a ball', 'a cube'), right=0, lettered=True)
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
    is none of them. ``lettered``: an answer is given by a letter, else by the option's own text.
    """

    question: str
    options: tuple[str, ...]
    right: int | None
    lettered: bool


def listed(asked: str, answer: str) -> OptionList | None:
    """The list that a question ends with, None where it has none of two or more."""
    found = _ENDING.fullmatch(asked.strip())
    lines = [] if found is None else found["options"].split("\n")
    for form in (_LETTERED, _DASHED):
        matches = [match for line in lines if (match := form.fullmatch(line.strip()))]
        if found is None or len(lines) < 2 or len(matches) < len(lines):
            continue
        texts = tuple(match["text"] for match in matches)
        lettered = form is _LETTERED
        names = [f"({match['letter']})" for match in matches] if lettered else list(texts)
        right = names.index(answer.strip()) if answer.strip() in names else None
        return OptionList(found["asked"], texts, right, lettered)
    return None
