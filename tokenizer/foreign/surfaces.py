"""What each id of a ``tokenizer.json`` decodes to, read off its description.

Two ways to write bytes as pieces are known: ByteLevel (a printable character for each byte, as
GPT-2 has it) and ByteFallback (text, with U+2581 or a blank for a space, and ``<0x0A>`` for single
bytes). Special tokens decode to their own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from tokenizer.vocabulary import BYTE, CONTROL, NORMAL, SPACE_MARK, UNUSED

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
LARGEST = 1 << 22
"""Pieces; bounds the memory that an id of a hostile file takes."""


def surfaces_of(
    described: Mapping[str, Any], file: object
) -> tuple[list[bytes], NDArray[np.uint8]]:
    """Bytes and kind of every id, 0 to the highest; ids that stand for nothing are empty.

    Raises: UserError for a way of writing pieces that is not known, and for ids that cannot be.
    """
    vocabulary = _vocabulary(described, file)
    written = _written(described, file)
    added = {
        int(entry["id"]): entry for entry in described.get("added_tokens") or () if "id" in entry
    }
    highest = max([*vocabulary.values(), *added], default=-1)
    if highest < 0 or highest >= LARGEST:
        raise UserError(
            "a tokenizer of no pieces, or of too many",
            file=file,
            found=f"highest id {highest}",
            allowed=[f"0 to {LARGEST - 1}"],
        )
    surfaces, kinds = [b""] * (highest + 1), np.full(highest + 1, UNUSED, np.uint8)
    for piece, token in vocabulary.items():
        surfaces[token], kinds[token] = written(piece)
    for token, entry in added.items():
        surfaces[token] = str(entry["content"]).encode()
        kinds[token] = CONTROL if entry.get("special") else NORMAL
    return surfaces, kinds


def _vocabulary(described: Mapping[str, Any], file: object) -> dict[str, int]:
    model = described.get("model")
    found = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(found, dict) or any(
        not isinstance(token, int) or isinstance(token, bool) or token < 0
        for token in found.values()
    ):
        raise UserError(
            "a tokenizer.json of a kind that is not known here",
            file=file,
            field="model",
            found=model.get("type") if isinstance(model, dict) else type(model).__name__,
            allowed=["BPE with vocab, an id for each piece"],
        )
    return found


def _written(described: Mapping[str, Any], file: object) -> Any:
    """How a piece is written: a function from a piece to its bytes and kind."""
    kinds = set(_types(described.get("decoder")))
    if "ByteLevel" in kinds:
        table = {character: value for value, character in enumerate(byte_characters())}
        return lambda piece: (_byte_level(piece, table, file), NORMAL)
    if "ByteFallback" in kinds:
        return _fallback
    raise UserError(
        "a tokenizer.json of a kind that is not known here",
        file=file,
        field="decoder",
        found=", ".join(sorted(kinds)) or None,
        allowed=["ByteLevel", "ByteFallback"],
    )


def _types(part: Any) -> Iterator[str]:
    """The types of a decoder and of those that it is a sequence of."""
    if isinstance(part, dict):
        yield str(part.get("type"))
        for inner in part.get("decoders") or ():
            yield from _types(inner)


def byte_characters() -> list[str]:
    """The character that stands for each byte in ByteLevel pieces: printable ones for themselves,
    the others from U+0100 on.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(value) if value in printable else chr(next(others)) for value in range(256)]


def _byte_level(piece: str, table: Mapping[str, int], file: object) -> bytes:
    try:
        return bytes(table[character] for character in piece)
    except KeyError as error:
        raise UserError(
            "a piece that no bytes are written as",
            file=file,
            field="model.vocab",
            found=ascii(piece),
            fix=f"its character {error} is none of ByteLevel's",
        ) from None


def _fallback(piece: str) -> tuple[bytes, int]:
    if byte := _BYTE.fullmatch(piece):
        return bytes([int(byte[1], 16)]), BYTE
    return piece.replace(SPACE_MARK, " ").encode(), NORMAL
