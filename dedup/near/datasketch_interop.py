"""Signatures to and from datasketch: its MinHash objects made from our shingles in one native pass,
and its signatures in our bands.

    from datasketch import MinHashLSH
    from dedup.near.datasketch_interop import from_datasketch, to_datasketch

    index = MinHashLSH(threshold=0.7, num_perm=128)
    for number, minhash in enumerate(to_datasketch(texts, ngrams=5, num_perm=128)):
        index.insert(number, minhash)  # an index of datasketch's, filled by us

    # signatures of datasketch's, grouped by us
    keys, has_signature = from_datasketch(minhashes, bands=14, rows=9)
    groups = candidate_groups(keys, has_signature)

A MinHash from here equals, value for value, what ``MinHash(num_perm, seed,
hashfunc=shingle_hashfunc(ngrams))`` holds after an update with every shingle's text: datasketch's
own permutations (its scheme ``affine32``, the default since its version 2) over the upper 32 bits
of our shingle hashes. So either side's objects can be queried, compared and merged with the
other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from datasketch import LeanMinHash, MinHash
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup.near.minhash import lower_minima
from dedup.shingles import MAX_NGRAMS, next_shingles, place_constants, shingle_sets
from dedup.words import BASIS, BLOCK, MIX, START, Bytes, Codes, Hashes, Rows, character_table

SCHEME = "affine32"

# every value of a signature without shingles
_EMPTY = {"affine32": (1 << 32) - 1, "legacy": (1 << 32) - 1, "affine64": (1 << 64) - 1}


def datasketch_values(
    texts: pa.LargeStringArray, ngrams: int = 5, num_perm: int = 128, seed: int = 1
) -> NDArray[np.uint32]:
    """The ``hashvalues`` of every text's MinHash, (n, num_perm); all ones for a text shorter than a
    shingle.

    Raises: UserError for numbers that are out of range.
    """
    _check("ngrams", ngrams, 1, MAX_NGRAMS)
    _check("num_perm", num_perm, 1, 1 << 20)
    _check("seed", seed, 0, (1 << 32) - 1)
    a, b = MinHash(num_perm=num_perm, seed=seed, scheme=SCHEME).permutations
    found = np.full((len(texts), num_perm), _EMPTY[SCHEME], np.uint32)
    values, offsets = text_buffers(texts)
    constants = place_constants(ngrams)
    lower_texts(
        values,
        offsets,
        character_table(),
        constants,
        np.ascontiguousarray(a),
        np.ascontiguousarray(b),
        found,
    )
    return found


def to_datasketch(
    texts: pa.LargeStringArray, ngrams: int = 5, num_perm: int = 128, seed: int = 1
) -> Iterator[MinHash]:
    """A datasketch MinHash per text, in order; they share their permutations, as datasketch's bulk
    does.
    """
    values = datasketch_values(texts, ngrams, num_perm, seed)
    permutations, hashfunc = (
        MinHash(num_perm=num_perm, seed=seed, scheme=SCHEME).permutations,
        shingle_hashfunc(ngrams),
    )
    for row in values:
        yield MinHash(
            seed=seed, hashfunc=hashfunc, hashvalues=row, permutations=permutations, scheme=SCHEME
        )


def shingle_hashfunc(ngrams: int) -> Callable[[bytes], int]:
    """The ``hashfunc`` with which datasketch hashes the text of one shingle, ``ngrams`` words with
    spaces between, as we do.

    Raises (when called): ValueError for a text that is not one shingle.
    """

    def hashfunc(shingle: bytes) -> int:
        found = shingle_sets(pa.array([shingle.decode()], pa.large_string()), ngrams).hashes
        if len(found) != 1:
            raise ValueError(f"not one shingle of {ngrams} words: {shingle!r}")
        return int(found[0] >> np.uint64(32))

    return hashfunc


def from_datasketch(
    minhashes: Sequence[MinHash | LeanMinHash], bands: int, rows: int
) -> tuple[Hashes, NDArray[np.bool_]]:
    """Band keys of datasketch's signatures for :func:`dedup.near.lsh.candidate_groups`: keys (n,
    bands) and has_signature (n,).

    Bands are cut as ``MinHashLSH(params=(bands, rows))`` cuts them, so that two documents share a
    key where they share a bucket there. A signature that was never updated has none.
    Raises: UserError when signatures are too short, or differ in seed, scheme or length.
    """
    _check("bands", bands, 1, 1 << 20)
    _check("rows", rows, 1, 1 << 20)
    kinds = sorted({(minhash.scheme, minhash.seed, len(minhash)) for minhash in minhashes})
    if len(kinds) > 1:
        fix = "give signatures of one kind: others cannot agree but by chance"
        raise UserError(
            "datasketch: signatures of several schemes, seeds or lengths",
            parameter="minhashes",
            found=kinds,
            fix=fix,
        )
    if not kinds:
        return np.zeros((0, bands), np.uint64), np.zeros(0, np.bool_)
    scheme, _, length = kinds[0]
    if bands * rows > length:
        fix = f"choose bands and rows whose product is at most {length}"
        raise UserError(
            "datasketch: signatures are too short",
            parameter="bands * rows",
            found=bands * rows,
            fix=fix,
        )
    values = np.array([minhash.hashvalues for minhash in minhashes], np.uint64)
    keys = np.zeros((len(values), bands), np.uint64)
    fold_values(values, rows, keys)
    has_signature = (values != np.uint64(_EMPTY[scheme])).any(axis=1)
    keys[~has_signature] = 0
    return keys, has_signature


def _check(field: str, found: int, low: int, high: int) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        fix = f"give a whole number from {low} to {high}"
        raise UserError(
            f"datasketch: {field} is out of range", parameter=field, found=found, fix=fix
        )


@kernel
def finalize(shingles: Hashes, count: int) -> None:
    """datasketch's pre-mixing of the upper 32 bits, which stay where they are: MurmurHash3's 32-bit
    finaliser (Appleby).
    """
    for k in range(count):
        x = np.uint32(shingles[k] >> np.uint64(32))
        x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        x = np.uint32((x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        shingles[k] = np.uint64(x ^ (x >> np.uint32(16))) << np.uint64(32)


@kernel
def lower_texts(
    values: Bytes, offsets: Rows, table: Codes, constants: Hashes, a: Codes, b: Codes, found: Codes
) -> None:
    """The signature of each text into its row of ``found``, all ones before."""
    words, shingles = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    for row in range(offsets.size - 1):
        i, end, state, carried = offsets[row], offsets[row + 1], BASIS, START
        while i < end:
            i, state, carried, count = next_shingles(
                values, i, end, table, constants, words, carried, state, shingles
            )
            finalize(shingles, count)
            lower_minima(shingles, count, a, b, found[row])


@kernel
def fold_values(values: Hashes, rows: int, keys: Hashes) -> None:
    """One key per band of a signature: the band's number and its values, hashed in order."""
    for document in range(values.shape[0]):
        for band in range(keys.shape[1]):
            key = np.uint64(band + 1) * MIX
            for row in range(rows):
                key = (key ^ values[document, band * rows + row]) * MIX
                key ^= key >> np.uint64(32)
            keys[document, band] = key
