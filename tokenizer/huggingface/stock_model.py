"""``tokenizer.json``: a SentencePiece BPE model as the library ``tokenizers`` reads it.

Pieces stand in the order of their ids, with real spaces for U+2581, so that nothing has to be
replaced before or after: no normaliser, no pre-tokeniser, and a text that holds U+2581 itself keeps
it, in bytes. User symbols are added tokens, found from the left, the longest first, before anything
is merged; control pieces likewise, and special.
"""

from __future__ import annotations

from typing import Any

from tokenizer.huggingface.model_file import CONTROL, UNKNOWN, USER_DEFINED
from tokenizer.huggingface.pieces import Pieces


def stock_model(pieces: Pieces) -> dict[str, Any]:
    """The content of ``tokenizer.json``. Texts get BOS first, and no EOS."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, **added_token(pieces, token)}
            for token in pieces.of(CONTROL, UNKNOWN, USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": _begins_with(pieces.surfaces[pieces.bos], pieces.bos),
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces.surfaces[pieces.unknown],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": pieces.ids,
            "merges": merges(pieces),
        },
    }


def added_token(pieces: Pieces, token: int) -> dict[str, Any]:
    """A control piece or user symbol as an added token, without its id."""
    return {
        "content": pieces.surfaces[token],
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": pieces.held[token].kind != USER_DEFINED,
    }


def merges(pieces: Pieces) -> list[list[str]]:
    """Pairs of pieces by falling score of what they make; of one piece all pairs there are.

    Only one pair of each piece is ever merged, in any text, so their order among each other is of
    no matter.
    """
    normal = pieces.normal
    by_score = sorted(normal.values(), key=lambda token: (-pieces.held[token].score, token))
    return [
        [whole[:cut], whole[cut:]]
        for whole in (pieces.surfaces[token] for token in by_score)
        for cut in range(1, len(whole))
        if whole[:cut] in normal and whole[cut:] in normal
    ]


def _begins_with(name: str, token: int) -> dict[str, Any]:
    first = {"SpecialToken": {"id": name, "type_id": 0}}
    text, second = (
        {"Sequence": {"id": letter, "type_id": kind}} for kind, letter in enumerate("AB")
    )
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": {name: {"id": name, "ids": [token], "tokens": [name]}},
    }
