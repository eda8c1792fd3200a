"""Keyed hash of ids: a reproducible random order that any worker can compute alone.

The hash is SplitMix64's finaliser (Steele, Lea, Flood 2014) over both halves of the id and the
key. The same (key, id) gives the same 64 bits everywhere, so sorting by it is a global shuffle
that needs no shared state.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from artifacts.ids import as_words

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hash_key(seed: int, purpose: str) -> int:
    """A 64-bit key for one use of a seed, so that two uses of one seed are independent."""
    return xxhash.xxh3_64_intdigest(f"{seed}\0{purpose}".encode())


def keyed_hash(ids: pa.FixedSizeBinaryArray, key: int) -> NDArray[np.uint64]:
    """64 pseudo-random bits per id; ids (n,) of 16 bytes, result (n,) uint64."""
    words = as_words(ids)
    state = _mix(words[:, 0] ^ np.uint64(key)) + _GOLDEN
    return _mix(state ^ words[:, 1])


def keyed_order(ids: pa.FixedSizeBinaryArray, key: int) -> NDArray[np.int64]:
    """Row numbers in shuffled order: by keyed hash, equal hashes by id."""
    words = as_words(ids)
    return np.lexsort((words[:, 1], words[:, 0], keyed_hash(ids, key)))


def held_out(ids: pa.FixedSizeBinaryArray, seed: int, share: float) -> NDArray[np.bool_]:
    """Which documents a seed sets aside: each with probability ``share``, whatever the others are;
    (n,) bool.
    """
    if share >= 1:
        return np.ones(len(ids), np.bool_)
    return keyed_hash(ids, hash_key(seed, "hold-out")) < np.uint64(share * 2.0**64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        mixed = values + _GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
