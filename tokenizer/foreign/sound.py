"""Whether a ``tokenizer.json`` keeps every text and gives it the same ids each time.

What a few texts do not show is read off its description: parts that take characters away, pieces
that are missing for some bytes, and merges that are drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from artifacts.errors import UserError
from tokenizer.foreign.surfaces import added_tokens, byte_characters, types_of

_KEEPING = ("ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "UnicodeScripts")
"""Pre-tokenisers that keep every character, unless their ``behavior`` is to remove."""

_PLAIN = {"dropout": 0.0, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
_NEVER = {0xC0, 0xC1, *range(0xF5, 0x100)}  # no UTF-8 text has these bytes


def check_sound(described: Mapping[str, Any], file: object) -> None:
    """Raises: UserError naming the part of a ``tokenizer.json`` by which texts would be changed, or
    ids be others from call to call.
    """
    if described.get("normalizer") is not None:
        kind = ", ".join(types_of(described["normalizer"])) or "a normaliser"
        raise _changing(file, "normalizer", kind, "take a tokenizer without a normaliser")
    for part in _parts(described.get("pre_tokenizer")):
        kind, behaviour = str(part.get("type")), part.get("behavior")
        if kind not in _KEEPING or behaviour == "Removed":
            found = kind if behaviour is None else f"{kind}, {behaviour}"
            raise _changing(file, "pre_tokenizer", found, "take one that removes no characters")
    for entry in added_tokens(described, file):
        if not entry.get("special") and (entry.get("lstrip") or entry.get("rstrip")):
            fix = "set its lstrip and rstrip to false, or make it special"
            raise _changing(file, "added_tokens", ascii(entry["content"]), fix)
    model = described["model"]
    for name, plain in _PLAIN.items():
        if model.get(name) not in (None, plain):
            fix = "take a tokenizer without it"
            raise _changing(file, f"model.{name}", model[name], fix)
    _check_bytes(described, file)


def _check_bytes(described: Mapping[str, Any], file: object) -> None:
    """Raises: UserError where some byte of a text has no piece, or two pieces one id."""
    model = described["model"]
    vocabulary = model["vocab"]
    level = "ByteLevel" in types_of(described.get("decoder"))
    names = byte_characters() if level else [f"<0x{byte:02X}>" for byte in range(256)]
    missing = [
        name for byte, name in enumerate(names) if byte not in _NEVER and name not in vocabulary
    ]
    if missing:
        found = f"{len(missing)} are missing, the first {missing[0]!a}"
        raise _changing(file, "model.vocab", found, "take a tokenizer with a piece for every byte")
    if not level and not model.get("byte_fallback"):
        raise _changing(file, "model.byte_fallback", False, "take a tokenizer with byte_fallback")
    if len(set(vocabulary.values())) < len(vocabulary):
        fix = "restore it from where it came from"
        raise _changing(file, "model.vocab", "an id of several pieces", fix)


def check_same_ids(described: Mapping[str, Any], known: Mapping[str, int], file: object) -> None:
    """Raises: UserError where the library gives an added token another id than the file says;
    ``known`` are its ids by name.
    """
    for entry in added_tokens(described, file):
        if known.get(entry["content"]) != entry["id"]:
            raise UserError(
                "the library gives an added token another id than the file says",
                file=file,
                field="added_tokens",
                found=f"{entry['content']!a} has {known.get(entry['content'])}",
                allowed=[entry["id"]],
                fix="give added tokens the ids that follow those of model.vocab, or put them there",
            )


def _parts(part: Any) -> Iterator[Mapping[str, Any]]:
    """A pre-tokeniser's own parts; none where there is none."""
    if isinstance(part, dict) and part.get("type") == "Sequence":
        for inner in part.get("pretokenizers") or ():
            yield from _parts(inner)
    elif isinstance(part, dict):
        yield part


def _changing(file: object, field: str, found: object, fix: str) -> UserError:
    return UserError("the tokenizer changes text", file=file, field=field, found=found, fix=fix)
