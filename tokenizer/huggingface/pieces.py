"""The pieces of a model that comes out with the same ids, and why another does not.

Trained by :mod:`tokenizer.train`, a model passes. One from elsewhere may hold what Hugging Face's
libraries do in another way; it is refused with what that is. The reasons are in
:mod:`tokenizer.huggingface`.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.model_file import (
    BPE,
    CONTROL,
    NORMAL,
    TYPES,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    ModelFile,
    Piece,
    read_model_file,
)
from tokenizer.vocabulary import SPACE_MARK

_READ_AS_A_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>")
"""What a stock decoder takes for a byte piece, whatever its kind."""

_RENAME = "train the tokenizer with another name for it"
_ELSEWHERE = (
    "train a tokenizer with windtunnel; this one can be used through its tokenizer.model alone"
)


@dataclass(frozen=True)
class Pieces:
    """The pieces of a model, V of them in the order of their ids.

    ``surfaces``: the text that each stands for, of control and byte pieces the name; all differ.
    ``held``: the pieces as the file has them. ``unknown``, ``bos``, ``eos``: ids.
    """

    surfaces: tuple[str, ...]
    held: tuple[Piece, ...]
    unknown: int
    bos: int
    eos: int

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id by surface."""
        return {surface: token for token, surface in enumerate(self.surfaces)}

    def of(self, *kinds: int) -> Iterator[int]:
        """Ids of the pieces of these kinds, ascending."""
        return (token for token, piece in enumerate(self.held) if piece.kind in kinds)

    @cached_property
    def normal(self) -> dict[str, int]:
        """Id by surface of what is merged: all but control, byte and user defined pieces."""
        return {self.surfaces[token]: token for token in self.of(NORMAL)}

    @property
    def controls(self) -> tuple[str, ...]:
        """Names that a stock tokenizer turns into their pieces where a text spells them."""
        return tuple(self.surfaces[token] for token in self.of(CONTROL, UNKNOWN))


def same_pieces(tokenizer: Tokenizer) -> Pieces:
    """The pieces of a tokenizer of which every text comes out with the same ids.

    Raises: UserError naming what of the model Hugging Face's libraries do in another way.
    """
    model = read_model_file(tokenizer.model)
    _check_model(model)
    pieces = Pieces(
        tuple(map(_surface, model.pieces)),
        model.pieces,
        int(tokenizer.processor.unk_id()),
        tokenizer.bos_id,
        tokenizer.eos_id,
    )
    _check_ends(pieces)
    _check_names(pieces)
    _check_overlaps(pieces)
    _check_merges(pieces, tokenizer)
    return pieces


def _surface(piece: Piece) -> str:
    spaced = piece.kind in (NORMAL, USER_DEFINED)
    return piece.text.replace(SPACE_MARK, " ") if spaced else piece.text


def _check_model(model: ModelFile) -> None:
    if model.type != BPE:
        raise _refused(
            "only BPE models come out with the same ids",
            "trainer_spec.model_type",
            TYPES.get(model.type, model.type),
            _ELSEWHERE,
        )
    for name, changes in {
        "precompiled_charsmap": model.replaces_characters,
        "add_dummy_prefix": model.adds_prefix,
        "remove_extra_whitespaces": model.removes_spaces,
        "escape_whitespaces": not model.escapes_spaces,
    }.items():
        if changes:
            raise _refused(
                "the model changes a text before it is encoded, or writes spaces in its own way",
                f"normalizer_spec.{name}",
                "a table of characters" if model.replaces_characters else None,
                "give the folder that the model came in, with its tokenizer_config.json"
                if name == "add_dummy_prefix"
                else "train with the identity normaliser and remove_extra_whitespaces=false",
            )
    for piece in model.pieces:
        if piece.kind == UNUSED:
            raise _refused(
                "the model has unused pieces, which a stock tokenizer would use",
                "pieces",
                piece.text,
                _ELSEWHERE,
            )


def _check_ends(pieces: Pieces) -> None:
    for name, token in {"unk": pieces.unknown, "bos": pieces.bos, "eos": pieces.eos}.items():
        if token < 0:
            raise _refused(
                f"the model has no piece for {name}, which every document needs",
                f"trainer_spec.{name}_id",
                token,
                "train the tokenizer with it",
            )


def _check_names(pieces: Pieces) -> None:
    """Every surface is one piece's, and none is read as something else."""
    twice = [surface for surface, count in Counter(pieces.surfaces).items() if count > 1]
    if twice:
        raise _refused("two pieces stand for the same text", "pieces", twice[0], _ELSEWHERE)
    if " " not in pieces.surfaces:
        raise _refused(
            "the space has no piece: SentencePiece writes the bytes of U+2581 for it, a stock "
            "tokenizer its own",
            "pieces",
            None,
            _ELSEWHERE,
        )
    for token in pieces.of(NORMAL, USER_DEFINED, CONTROL, UNKNOWN):
        piece, surface = pieces.held[token], pieces.surfaces[token]
        text = piece.kind in (NORMAL, USER_DEFINED)
        if text and " " in piece.text:
            raise _refused(
                "a piece holds a space that is not written U+2581, so no text encodes to it; a "
                "stock tokenizer would use it",
                "pieces",
                piece.text,
                "write U+2581 for its spaces, or leave it out",
            )
        if not text and len(surface) == 1:
            raise _refused(
                "a control piece is a single character, which texts hold",
                "pieces",
                surface,
                _RENAME,
            )
        if _READ_AS_A_BYTE.fullmatch(surface):
            raise _refused(
                "a piece is named like a byte, and a stock tokenizer decodes it to that byte",
                "pieces",
                surface,
                _RENAME,
            )


def _check_overlaps(pieces: Pieces) -> None:
    """A text that spells a control piece hides no user symbol, wherever special tokens are
    split.
    """
    for token in pieces.of(USER_DEFINED):
        symbol = pieces.surfaces[token]
        for name in pieces.controls:
            ends = (name[start:] for start in range(1, len(name)))
            if symbol in name or any(symbol.startswith(end) for end in ends):
                raise _refused(
                    f"the control piece {name} overlaps a user symbol: where a text spells both, a "
                    "stock tokenizer misses the symbol",
                    "pieces",
                    symbol,
                    "train the tokenizer with another name for one of them",
                )


def _check_merges(pieces: Pieces, tokenizer: Tokenizer) -> None:
    """Scores order the pieces, and each is made of pieces."""
    by_score: dict[float, list[int]] = defaultdict(list)
    doubtful = []
    for token, piece in _merged(pieces):
        if math.isnan(piece.score):
            raise _refused(
                "a piece has a score that is no number", "pieces", piece.text, _ELSEWHERE
            )
        by_score[piece.score].append(token)
        if any(character not in pieces.normal for character in pieces.surfaces[token]):
            doubtful.append(token)
    for token in _reached(pieces, tokenizer, doubtful):
        raise _refused(
            "a piece holds a character that is no piece: SentencePiece merges it all the same, a "
            "stock tokenizer writes its bytes",
            "pieces",
            pieces.held[token].text,
            _ELSEWHERE,
        )
    for score, tokens in by_score.items():
        tied = _reached(pieces, tokenizer, tokens) if len(tokens) > 1 else []
        if len(tied) > 1:
            first, second = (pieces.held[token].text for token in tied[:2])
            raise _refused(
                "pieces have the same score, so which is made first depends on where they stand",
                "pieces",
                f"{first} and {second}, {score:g}",
                _ELSEWHERE,
            )


def _merged(pieces: Pieces) -> Iterator[tuple[int, Piece]]:
    """Pieces that are made of others."""
    for token in pieces.of(NORMAL):
        if len(pieces.surfaces[token]) > 1:
            yield token, pieces.held[token]


def _reached(pieces: Pieces, tokenizer: Tokenizer, tokens: list[int]) -> list[int]:
    """Those of some merged pieces that any text encodes to: a piece is made the same way wherever
    it stands, so its own text tells.
    """
    texts = [pieces.surfaces[token] for token in tokens]
    encoded = tokenizer.processor.encode(texts, out_type=int) if texts else []
    return [token for token, ids in zip(tokens, encoded, strict=True) if ids == [token]]


def _refused(message: str, field: str, found: object, fix: str) -> UserError:
    return UserError(message, field=field, found=found, fix=fix)
