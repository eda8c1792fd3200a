"""What is shown of the tokens that are said: pieces of text that join to the whole.

    pieces = Pieces(tokenizer, stops=("\\n\\n",))
    pieces.add(token)        # what can be shown now, perhaps nothing
    pieces.stopped           # whether a stop string was met
    pieces.rest()            # at the end: what was still held back

A character is shown when all its bytes are there, and nothing that may become a stop string is
shown before it is clear that it does not. The text ends where the stop string begins that is
complete first (of several that end at one place, the longest), which does not depend on how
the tokens cut it. Control pieces are not shown; bytes that are not UTF-8 are U+FFFD.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from tokenizer.vocabulary import CONTROL, UNKNOWN


class Pieces:
    """Text of tokens as they come; ``before``: the token that the first one follows, by which a
    text may begin there (:mod:`tokenizer.prefix`), None within a text.
    """

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str] = (), before: int | None = None
    ) -> None:
        self.stopped = False
        self._before = before
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._longest = max(map(len, stops), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, token: int) -> str:
        """What can be shown after one token more. Raises: UserError for an id that the tokenizer
        does not have.
        """
        return self._shown(self._decoder.decode(self._bytes(token)))

    def rest(self) -> str:
        """What is still to be shown when nothing comes any more."""
        shown = self._shown(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return shown + held

    def _bytes(self, token: int) -> bytes:
        vocabulary = self._tokenizer.vocabulary
        if not 0 <= token < vocabulary.size:
            raise UserError(
                "the model said a token that its tokenizer does not have",
                field="tokens",
                found=token,
                allowed=[f"0 to {vocabulary.size - 1}"],
                fix="give the tokenizer that the model was trained with",
            )
        before, self._before = self._before, token
        hidden = vocabulary.kinds[token] in (CONTROL, UNKNOWN)
        return b"" if hidden else self._tokenizer.decoder.surface(token, before)

    def _shown(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        ends = [
            (start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0
        ]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)[1]]
        size = self._begun(text)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def _begun(self, text: str) -> int:
        """Length of the longest end of the text with which a stop string begins."""
        for size in range(min(len(text), self._longest - 1), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0
