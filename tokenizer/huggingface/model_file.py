"""A SentencePiece model file read without its library: what its own Python interface does not tell.

The file is a protocol buffer, ``sentencepiece_model.proto`` of google/sentencepiece: a list of
pieces, each with a score and a kind, and what the model was trained with.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from artifacts.errors import UserError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Kinds of pieces, as the file numbers them."""

UNIGRAM, BPE = 1, 2
TYPES = {UNIGRAM: "unigram", BPE: "bpe", 3: "word", 4: "char"}
"""Types of models."""

# numbers of fields in the file
_PIECES, _TRAINER, _NORMALISER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_MODEL_TYPE = 3
_CHARACTER_MAP, _DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE_SPACES = 2, 3, 4, 5

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # how a value is written


@dataclass(frozen=True)
class Piece:
    """One piece: its text as the file has it (U+2581 for a space), its score, its kind."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class ModelFile:
    """Pieces in the order of their ids, the type of the model, and what is done to a text before it
    is encoded: characters replaced, a space put before it, spaces removed, spaces written U+2581.
    """

    pieces: tuple[Piece, ...]
    type: int
    replaces_characters: bool
    adds_prefix: bool
    removes_spaces: bool
    escapes_spaces: bool


def read_model_file(content: bytes) -> ModelFile:
    """A model file's content. Raises: UserError when it is no such file."""
    try:
        return _model(content)
    except (ValueError, IndexError, TypeError, struct.error) as error:
        raise UserError(
            "not a SentencePiece model",
            found=str(error),
            fix="give the .model file itself, or restore it",
        ) from None


def _model(content: bytes) -> ModelFile:
    pieces = []
    parts = {_TRAINER: b"", _NORMALISER: b""}
    for number, value in _fields(content):
        if number == _PIECES:
            pieces.append(_piece(_as_bytes(value)))
        elif number in parts:  # of a part that comes twice, the later fields count
            parts[number] += _as_bytes(value)
    trainer, normaliser = (dict(_fields(part)) for part in parts.values())
    return ModelFile(
        tuple(pieces),
        type=int(trainer.get(_MODEL_TYPE, UNIGRAM)),
        replaces_characters=bool(normaliser.get(_CHARACTER_MAP, b"")),
        adds_prefix=bool(normaliser.get(_DUMMY_PREFIX, 1)),
        removes_spaces=bool(normaliser.get(_REMOVE_SPACES, 1)),
        escapes_spaces=bool(normaliser.get(_ESCAPE_SPACES, 1)),
    )


def _piece(content: bytes) -> Piece:
    fields = dict(_fields(content))
    (score,) = struct.unpack("<f", _as_bytes(fields.get(_SCORE, b"\0\0\0\0")))
    return Piece(_as_bytes(fields.get(_TEXT, b"")).decode(), score, int(fields.get(_KIND, NORMAL)))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message, as the file orders them."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, written = key >> 3, key & 7
        value: int | bytes
        if written == _VARINT:
            value, place = _varint(message, place)
        else:
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(written)
            if written == _BYTES:
                length, place = _varint(message, place)
            if length is None:
                raise ValueError(f"a field written in the way {written}")
            value, place = message[place : place + length], place + length
            if place > len(message):
                raise ValueError("a field ends after the end of the file")
        yield number, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        shift += 7
        if not byte & 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where a text has to be")
    return value
