"""What a SentencePiece model knows, as arrays: the bytes of every piece, and where text may be cut.

**Cuts.** BPE only ever joins neighbours whose concatenation is a piece. So between two characters
that no piece holds side by side nothing can be joined, and a text cut there encodes to the same ids
as the whole. :class:`PairSet` holds every pair of neighbours that some piece contains; all other
places are safe cuts. The rule is read off the vocabulary and assumes nothing about languages. User
defined symbols, matched greedily from the left, obey it too: no match spans a cut, so matching
starts afresh there.

**U+2581.** SentencePiece writes a space as U+2581 inside pieces and decodes it to a space, so a
text that holds U+2581 itself would come back changed. Here that character goes through its three
byte pieces, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sentencepiece as spm
from numpy.typing import NDArray

from artifacts.errors import UserError

SPACE_MARK = "\u2581"

NORMAL, BYTE, CONTROL, UNKNOWN, UNUSED = range(5)


@dataclass(frozen=True)
class PairSet:
    """Pairs of neighbouring code points that some piece contains.

    ``ascii`` (128 * 128,) uint8 flags, row = left character; ``table`` (slots,) uint64 open
    addressing, slots a power of two, 0 = free, an entry is ``left << 21 | right``.
    """

    ascii: NDArray[np.uint8]
    table: NDArray[np.uint64]


@dataclass(frozen=True)
class Vocabulary:
    """The pieces of a model: V = ``size`` of them.

    ``surfaces`` (all,) uint8 and ``offsets`` (V + 1,) int64 hold what each id decodes to (UTF-8, a
    control mark its own name); ``kinds`` (V,) uint8 is NORMAL, BYTE, CONTROL, UNKNOWN or UNUSED;
    ``byte_ids`` (256,) int32 the ids of the byte pieces; ``pairs`` the places that must not be cut.
    """

    size: int
    surfaces: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    byte_ids: NDArray[np.int32]
    pairs: PairSet

    def surface(self, token: int) -> bytes:
        """The bytes one id decodes to."""
        return self.surfaces[self.offsets[token] : self.offsets[token + 1]].tobytes()


def read_vocabulary(processor: spm.SentencePieceProcessor, file: object) -> Vocabulary:
    """The vocabulary of a loaded model.

    Raises: UserError when the model has no byte pieces, so that some text could not be encoded.
    """
    size = processor.vocab_size()
    kinds = np.array([_kind(processor, token) for token in range(size)], np.uint8)
    byte_ids = np.full(256, -1, np.int32)
    surfaces: list[bytes] = []
    for token in range(size):
        piece = processor.id_to_piece(token)
        if kinds[token] == BYTE:
            value = int(piece[3:5], 16)
            byte_ids[value] = token
            surfaces.append(bytes([value]))
        elif kinds[token] == CONTROL:
            surfaces.append(piece.encode())
        else:
            surfaces.append(piece.replace(SPACE_MARK, " ").encode())
    if (byte_ids < 0).any():
        raise UserError(
            "the tokenizer has no byte pieces, so it cannot hold every text without loss",
            file=file,
            field="byte_fallback",
            found=f"{int((byte_ids >= 0).sum())} of 256 byte pieces",
            fix="train the model with byte_fallback=true",
        )
    lengths = np.array([len(surface) for surface in surfaces], np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    joined = np.frombuffer(b"".join(surfaces), np.uint8)
    mergeable = [
        surfaces[token].decode() for token in range(size) if kinds[token] in (NORMAL, UNUSED)
    ]
    return Vocabulary(size, joined, offsets, kinds, byte_ids, pair_set(mergeable))


def pair_set(pieces: list[str]) -> PairSet:
    """Every pair of neighbours inside the given pieces."""
    pairs = {(ord(left) << 21) | ord(right) for piece in pieces for left, right in pairwise(piece)}
    ascii_flags = np.zeros(128 * 128, np.uint8)
    wide = []
    for pair in pairs:
        left, right = pair >> 21, pair & 0x1FFFFF
        if left < 128 and right < 128:
            ascii_flags[left * 128 + right] = 1
        else:
            wide.append(pair)
    slots = 1 << max(4, (4 * len(wide)).bit_length())
    table = [0] * slots
    for pair in wide:
        slot = pair_slot(pair, slots)
        while table[slot]:
            slot = (slot + 1) % slots
        table[slot] = pair
    return PairSet(ascii_flags, np.array(table, np.uint64))


def pair_slot(pair: int, slots: int) -> int:
    """First slot of a pair: Fibonacci hashing on 64 bits; the kernel computes the same."""
    return (((pair * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF) >> 32) & (slots - 1)


def _kind(processor: spm.SentencePieceProcessor, token: int) -> int:
    if processor.is_unknown(token):
        return UNKNOWN
    if processor.is_control(token):
        return CONTROL
    if processor.is_byte(token):
        return BYTE
    return UNUSED if processor.is_unused(token) else NORMAL
