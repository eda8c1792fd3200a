"""How a ``tokenizer.json`` writes spaces: with U+2581, and which texts get one before them.

Three ways are known, as converters from SentencePiece write them: normalisers (``Prepend`` and
``Replace``), the pre-tokeniser ``Metaspace``, and both. Each loses U+2581 in a text, and Metaspace
a space that a text begins with. So the description is written anew with real spaces in its pieces:
nothing is replaced any more, and the space before a text is put there by
:mod:`tokenizer.prefix`.

>>> from tokenizer.foreign.spaces import with_spaces
>>> described = {
...     "normalizer": None, "added_tokens": [],
...     "pre_tokenizer": {"type": "Metaspace", "replacement": "\\u2581",
...                       "prepend_scheme": "first", "split": False},
...     "model": {"type": "BPE", "vocab": {"\\u2581": 0, "a": 1, "\\u2581a": 2},
...               "merges": [["\\u2581", "a"]]},
... }
>>> spaced = with_spaces(described, "tokenizer.json")
>>> spaced.prefix.value, spaced.described["model"]["vocab"]
('first', {' ': 0, 'a': 1, ' a': 2})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from artifacts.errors import UserError
from tokenizer.foreign.surfaces import added_tokens
from tokenizer.prefix import Prefix
from tokenizer.vocabulary import SPACE_MARK

_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}
_PREPEND = {"type": "Prepend", "prepend": SPACE_MARK}
_DOUBLED = {"type": "Replace", "pattern": {"Regex": rf"\A{SPACE_MARK}"}, "content": SPACE_MARK * 2}
"""Makes up for Metaspace, which puts no space before a text that begins with one."""

_AT_SPACES = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithNext",
    "invert": False,
}
"""What Metaspace does besides, where it splits."""

_SCHEMES = {"always": Prefix.EACH, "first": Prefix.FIRST, "never": Prefix.NONE}


class Spaced(NamedTuple):
    """``described`` with real spaces, None where there is nothing to write anew."""

    prefix: Prefix
    described: dict[str, Any] | None


def with_spaces(described: Mapping[str, Any], file: object) -> Spaced:
    """A ``tokenizer.json`` without a normaliser for spaces. One in which anything else is replaced
    stays as it is. Raises: UserError where the space before texts and added tokens do not go
    together.
    """
    normalisers = list(_parts(described.get("normalizer"), "normalizers"))
    before = list(_parts(described.get("pre_tokenizer"), "pretokenizers"))
    metaspace = before[0] if len(before) == 1 and _is_metaspace(before[0]) else None
    if any(part not in (_REPLACE, _PREPEND, _DOUBLED) for part in normalisers) or (
        before and metaspace is None
    ):
        return Spaced(Prefix.NONE, None)
    if metaspace is None and _REPLACE not in normalisers:
        return Spaced(Prefix.NONE, None)
    prefix = Prefix.EACH if _PREPEND in normalisers else Prefix.NONE
    split = False
    if metaspace is not None:
        prefix, split = _SCHEMES[_scheme(metaspace)], metaspace.get("split", True)
    _check_added(described, prefix, file)
    return Spaced(
        prefix,
        {
            **described,
            "normalizer": None,
            "pre_tokenizer": _AT_SPACES if split else None,
            "model": _model(described, file),
        },
    )


def _parts(part: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """A normaliser's or pre-tokeniser's own parts; none where there is none."""
    if isinstance(part, dict) and part.get("type") == "Sequence":
        found = part.get(inner)
        for one in found if isinstance(found, list) else ():
            yield from _parts(one, inner)
    elif part is not None:
        yield part


def _is_metaspace(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.get("type") == "Metaspace"
        and part.get("replacement") == SPACE_MARK
        and _scheme(part) in _SCHEMES
    )


def _scheme(metaspace: Mapping[str, Any]) -> Any:
    """Older files say only whether there is a space."""
    usual = "always" if metaspace.get("add_prefix_space", True) is True else "never"
    found = metaspace.get("prepend_scheme", usual)
    return found if isinstance(found, str) else None


def _check_added(described: Mapping[str, Any], prefix: Prefix, file: object) -> None:
    """Raises: UserError for tokens that are matched in a text: what follows them would get a space
    that is not the text's.
    """
    matched = [one["content"] for one in added_tokens(described, file) if not one.get("special")]
    if prefix is not Prefix.NONE and matched:
        raise UserError(
            "the tokenizer changes text: a space goes before what follows an added token",
            file=file,
            field="added_tokens",
            found=ascii(matched[0]),
            fix="make it special, or take a tokenizer without it",
        )


def _model(described: Mapping[str, Any], file: object) -> Any:
    model = described.get("model")
    if not isinstance(model, dict):
        return model
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        return model  # refused as it stands
    names = {entry["content"] for entry in added_tokens(described, file)}
    blank = next((piece for piece in vocabulary if " " in piece and piece not in names), None)
    if blank is not None:
        raise UserError(
            "a piece holds a space that is not written U+2581, so no text encodes to it",
            file=file,
            field="model.vocab",
            found=ascii(blank),
            fix="write U+2581 for its spaces, or leave it out",
        )
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    return {
        **model,
        "vocab": {
            piece if piece in names else _spaced(piece): token
            for piece, token in vocabulary.items()
        },
        "merges": [
            [_spaced(str(piece)) for piece in pair] if isinstance(pair, list) else pair
            for pair in pairs
        ],
    }


def _spaced(piece: str) -> str:
    return piece.replace(SPACE_MARK, " ")
