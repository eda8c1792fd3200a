"""The space that a SentencePiece model puts before a text (``add_dummy_prefix``)."""

from __future__ import annotations

import sentencepiece as spm

from tokenizer.vocabulary import SPACE_MARK

_SWITCHED_OFF = b"\x1a\x02\x18\x00"
"""Field 3 of a model, ``normalizer_spec``, with its field 3, ``add_dummy_prefix``, false. Of a part
that comes twice in a protocol buffer, the later fields count.
"""


def adds_prefix(processor: spm.SentencePieceProcessor) -> bool:
    """Whether a loaded model puts a space before a text."""
    pieces = processor.encode("a", out_type=str)
    return bool(pieces) and pieces[0].startswith(SPACE_MARK)


def without_prefix(model: bytes) -> bytes:
    """The same model, which puts none before it."""
    return model + _SWITCHED_OFF
