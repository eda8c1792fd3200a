"""How many distinct shingles there are in any amount of text, in 2^p bytes: registers of
datasketch's HyperLogLog++.

    from dedup.near.cardinality import to_hyperloglog

    one, other = to_hyperloglog(first_batch, ngrams=5), to_hyperloglog(second_batch, ngrams=5)
    one.merge(other)            # datasketch's own: the registers' maxima, in any order
    print(one.count())

The registers are those that ``datasketch.HyperLogLogPlusPlus(p)`` has after an update with every
shingle's 64-bit hash (Flajolet, Fusy, Gandouet, Meunier 2007; Heule, Nunkesser, Hall 2013):
register ``h mod 2^p`` holds the largest number of leading zeros plus one seen in the other bits of
h. Estimates have a relative standard error of 1.04 / 2^(p/2), 0.8 % at p = 14. datasketch estimates
and merges; this module does what is done once per shingle. For overlaps of sources see
:mod:`dedup.near.overlap`: a difference of such counts is no measure of a small one.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from datasketch import HyperLogLogPlusPlus
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup.shingles import MAX_NGRAMS, next_shingles, place_constants
from dedup.words import BASIS, BLOCK, START, Bytes, Codes, Hashes, Rows, character_table

Registers = NDArray[np.int8]


def to_hyperloglog(texts: pa.LargeStringArray, ngrams: int = 5, p: int = 14) -> HyperLogLogPlusPlus:
    """A sketch of the distinct shingles of all these texts, in 2^p registers.

    Raises: UserError for ``ngrams`` outside 1 to 256, or ``p`` outside datasketch's 4 to 16.
    """
    for field, found, low, high in (("ngrams", ngrams, 1, MAX_NGRAMS), ("p", p, 4, 16)):
        if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
            fix = f"give a whole number from {low} to {high}"
            raise UserError(
                f"HyperLogLog: {field} is out of range", parameter=field, found=found, fix=fix
            )
    sketch = HyperLogLogPlusPlus(p=p, hashfunc=int)
    registers = np.zeros(1 << p, np.int8)
    values, offsets = text_buffers(texts)
    raise_registers(values, offsets, character_table(), place_constants(ngrams), p, registers)
    sketch.reg[:] = registers
    return sketch


@kernel
def raise_registers(
    values: Bytes, offsets: Rows, table: Codes, constants: Hashes, p: int, registers: Registers
) -> None:
    """Raise each shingle's register to its rank."""
    words, shingles = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    low, most = np.uint64(registers.size - 1), 64 - p
    for row in range(offsets.size - 1):
        i, end, state, carried = offsets[row], offsets[row + 1], BASIS, START
        while i < end:
            i, state, carried, count = next_shingles(
                values, i, end, table, constants, words, carried, state, shingles
            )
            for k in range(count):
                bits, rank = shingles[k], 1
                place = np.int64(bits & low)
                while rank <= most and not (bits >> np.uint64(64 - rank)) & np.uint64(1):
                    rank += 1
                registers[place] = max(registers[place], np.int8(rank))
