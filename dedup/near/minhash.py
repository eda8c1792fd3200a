"""MinHash: band keys of near-duplicate candidates in one native pass from Arrow bytes.

For a text with the set S of shingles (runs of ``ngrams`` words, see :mod:`dedup.words`) the
signature holds, for each of bands * rows random functions, the least value over S. Two texts agree
in one place of the signature with probability J, the Jaccard similarity of their sets (Broder
1997); they share all rows of at least one of ``bands`` bands with probability 1 - (1 -
J^rows)^bands (:mod:`dedup.near.curve`). Such pairs are candidates; :mod:`dedup.near.verify` decides
on the exact J.

The functions are ``a * x + b mod 2^32`` with odd a over 32-bit shingle hashes. The paper's families
are permutations modulo a prime; in u32 a vector register holds 16 of them and the least value is
what the top bits say, which in a product modulo 2^32 depend on all bits of x.

A text with fewer than ``ngrams`` words has no signature and is never a candidate, as in datatrove;
exact dedup covers it.

Floor, per word of text: about 6 bytes read once from memory; 5 cycles per byte for the hash of
words; ``ngrams`` 64-bit multiplications for the shingle, vectorised; bands * rows times multiply,
add, minimum in u32: for 112 functions 7 registers of 16 lanes (AVX-512) or 14 of 8 (AVX2), 21 or 42
vector operations. Functions are the vector axis and eight shingles are taken at a time, so that a,
b and the minima are loaded once for eight shingles and no horizontal minimum is ever taken. Scratch
is 64 KiB, whatever the text's length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup import shingles as _shingles
from dedup import words as _words
from dedup.near.settings import DEFAULTS, MAX_FUNCTIONS, check
from dedup.shingles import ShingleSets, next_shingles, place_constants, splitmix64
from dedup.words import BASIS, BLOCK, MIX, START, Bytes, Codes, Hashes, Rows, character_table

_NO_VALUE = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class MinHashConfig:
    """What decides a signature.

    ngrams: words per shingle. bands, rows: bands of the signature and functions in each; bands *
    rows at most 4096. seed: of the functions. Limits and defaults are those of
    :class:`dedup.near.settings.NearSettings`, defaults as in datatrove and
    FineWeb: of the pairs at similarity 0.68 half become candidates, at 0.8 92 %
    (:mod:`dedup.near.curve`).

    Raises: UserError naming the field.
    """

    ngrams: int = DEFAULTS.ngrams
    bands: int = DEFAULTS.bands
    rows: int = DEFAULTS.rows
    seed: int = DEFAULTS.seed

    def __post_init__(self) -> None:
        for name in ("ngrams", "bands", "rows", "seed"):
            check(name, getattr(self, name))
        if self.functions > MAX_FUNCTIONS:
            raise UserError(
                "MinHash: too many functions",
                parameter="bands * rows",
                found=self.functions,
                fix=f"choose bands and rows whose product is at most {MAX_FUNCTIONS}",
            )

    @property
    def functions(self) -> int:
        """Length of a signature: bands * rows."""
        return self.bands * self.rows

    @property
    def algorithm(self) -> str:
        """Name of all that decides a key: rule versions, Unicode version and parameters; for
        fingerprints.
        """
        return (
            f"minhash/1 {_words.ALGORITHM} ngrams {self.ngrams} "
            f"bands {self.bands} rows {self.rows} seed {self.seed}"
        )


def band_keys(
    texts: pa.LargeStringArray, config: MinHashConfig
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """One key per band and text: keys (n, bands) uint64 and has_signature (n,) bool; keys without a
    signature are 0.

    Texts that share a key (same column) are candidates. The band's number is part of the key, so
    keys of different bands do not meet in one index.
    """
    _, keys, has_signature = _run(texts, config, with_signatures=False)
    return keys, has_signature


def signatures(texts: pa.LargeStringArray, config: MinHashConfig) -> NDArray[np.uint32]:
    """The signatures themselves, (n, bands * rows) uint32, band after band; all ones for a text
    without a signature.
    """
    return _run(texts, config, with_signatures=True)[0]


def shingle_sets(
    texts: pa.LargeStringArray, config: MinHashConfig, wanted: NDArray[np.bool_] | None = None
) -> ShingleSets:
    """The sets that the signatures estimate, for the exact Jaccard of ``wanted`` texts (all by
    default).
    """
    return _shingles.shingle_sets(texts, config.ngrams, wanted)


def _run(
    texts: pa.LargeStringArray, config: MinHashConfig, *, with_signatures: bool
) -> tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.bool_]]:
    values, offsets = text_buffers(texts)
    a, b = _functions(config)
    found = np.empty((len(texts) if with_signatures else 0, config.functions), np.uint32)
    keys = np.zeros((len(texts), config.bands), np.uint64)
    has_signature = np.zeros(len(texts), np.bool_)
    minhash_texts(
        values,
        offsets,
        character_table(),
        place_constants(config.ngrams),
        a,
        b,
        found,
        keys,
        has_signature,
    )
    return found, keys, has_signature


def _functions(config: MinHashConfig) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors (odd) and summands of the functions, (bands * rows,) each."""
    drawn = (splitmix64(config.seed, 2 * config.functions) >> np.uint64(32)).astype(np.uint32)
    return drawn[: config.functions] | np.uint32(1), drawn[config.functions :].copy()


@kernel
def lower_minima(shingles: Hashes, count: int, a: Codes, b: Codes, minima: Codes) -> None:
    """minima[p] = min(minima[p], a[p] * x + b[p]) for the top 32 bits x of each of ``count``
    shingles.
    """
    rest = count - count % 8
    for k in range(0, rest, 8):
        x0, x1 = (
            np.uint32(shingles[k] >> np.uint64(32)),
            np.uint32(shingles[k + 1] >> np.uint64(32)),
        )
        x2, x3 = (
            np.uint32(shingles[k + 2] >> np.uint64(32)),
            np.uint32(shingles[k + 3] >> np.uint64(32)),
        )
        x4, x5 = (
            np.uint32(shingles[k + 4] >> np.uint64(32)),
            np.uint32(shingles[k + 5] >> np.uint64(32)),
        )
        x6, x7 = (
            np.uint32(shingles[k + 6] >> np.uint64(32)),
            np.uint32(shingles[k + 7] >> np.uint64(32)),
        )
        for p in range(minima.size):
            f, s = a[p], b[p]
            low = min(np.uint32(f * x0 + s), np.uint32(f * x1 + s))
            low = min(low, min(np.uint32(f * x2 + s), np.uint32(f * x3 + s)))
            low = min(low, min(np.uint32(f * x4 + s), np.uint32(f * x5 + s)))
            low = min(low, min(np.uint32(f * x6 + s), np.uint32(f * x7 + s)))
            minima[p] = min(minima[p], low)
    for k in range(rest, count):
        x = np.uint32(shingles[k] >> np.uint64(32))
        for p in range(minima.size):
            minima[p] = min(minima[p], np.uint32(a[p] * x + b[p]))


@kernel
def fold_bands(minima: Codes, keys: Hashes, text: int) -> None:
    """One key per band of a text: the band's number and its rows, hashed in order."""
    rows = minima.size // keys.shape[1]
    for band in range(keys.shape[1]):
        key = np.uint64(band + 1) * MIX
        for row in range(rows):
            key = (key ^ np.uint64(minima[band * rows + row])) * MIX
            key ^= key >> np.uint64(32)
        keys[text, band] = key


@kernel
def minhash_texts(
    values: Bytes,
    offsets: Rows,
    table: Codes,
    constants: Hashes,
    a: Codes,
    b: Codes,
    signatures: Codes,
    keys: Hashes,
    has_signature: NDArray[np.bool_],
) -> None:
    """Keys of every text, and its signature where ``signatures`` has rows for it."""
    words = np.empty(BLOCK, np.uint64)
    shingles = np.empty(BLOCK, np.uint64)
    minima = np.empty(a.size, np.uint32)
    for row in range(offsets.size - 1):
        for p in range(minima.size):
            minima[p] = _NO_VALUE
        i, end, state, carried, total = offsets[row], offsets[row + 1], BASIS, START, 0
        while i < end:
            i, state, carried, found = next_shingles(
                values, i, end, table, constants, words, carried, state, shingles
            )
            lower_minima(shingles, found, a, b, minima)
            total += found
        has_signature[row] = total > 0
        if total > 0:
            fold_bands(minima, keys, row)
        if row < signatures.shape[0]:
            for p in range(minima.size):
                signatures[row, p] = minima[p]
