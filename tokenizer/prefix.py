"""The space that some tokenizers put before a text, as Llama's does.

SentencePiece calls it a dummy prefix. ``Hello`` is encoded as `` Hello``, so that a word has the
same piece at the beginning of a text and inside it; decoded, that one space is taken away again.
Here it is put before every text but the empty one, also before a text that begins with a space, so
that each comes back.

Releases of transformers differ in what follows a special token within a text, such as the mark of a
chat turn: with ``legacy`` it gets a space too, without it does not.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenizer.vocabulary import CONTROL, Vocabulary

SPACE = b" "


class Prefix(StrEnum):
    """Which texts get a space before them: none, those that begin a document, or besides those
    that follow a control piece.
    """

    NONE = "none"
    FIRST = "first"
    EACH = "each"

    def before(self, texts: pa.LargeStringArray, after_mark: bool) -> pa.LargeStringArray:
        """The texts as they are encoded; ``after_mark``: they follow a control piece."""
        if self is Prefix.NONE or (after_mark and self is Prefix.FIRST):
            return texts
        space, nothing = (pa.scalar(text, pa.large_string()) for text in (SPACE.decode(), ""))
        spaced = pc.binary_join_element_wise(space, texts, nothing)
        return pc.if_else(pc.equal(pc.binary_length(texts), 0), texts, spaced)

    def opening(self, vocabulary: Vocabulary, bos: int, eos: int) -> NDArray[np.bool_]:
        """After which ids (V,) a text begins that has such a space."""
        after = np.zeros(vocabulary.size, np.bool_)
        if self is Prefix.EACH:
            after |= vocabulary.kinds == CONTROL
        if self is not Prefix.NONE:
            after[[mark for mark in (bos, eos) if mark >= 0]] = True
        return after
