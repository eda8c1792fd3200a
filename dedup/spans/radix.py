"""A stable order of many 64-bit numbers, by radix: equal numbers keep their order, on every
machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.words import Hashes, Rows

BITS = 11  # per pass
_MASK = np.uint64((1 << BITS) - 1)


def stable_order(values: NDArray[np.uint64] | NDArray[np.int64], order: Rows | None = None) -> Rows:
    """Numbers of the rows in ascending order of their values, (n,); signed values are at least 0.

    ``order`` is the order that rows of equal value come in, by default their own; so several
    columns are sorted by giving the order of one to the next, the most important last. Digits in
    which all agree are not looked at; 32 bytes of scratch per row.
    """
    keys = values.view(np.uint64)
    differing = int(np.bitwise_or.reduce(keys ^ keys[0])) if len(keys) else 0
    order = np.arange(len(keys), dtype=np.int64) if order is None else order.copy()
    keys = keys[order]
    spare_keys, spare_order = np.empty_like(keys), np.empty_like(order)
    for shift in range(0, 64, BITS):
        if (differing >> shift) & int(_MASK):
            scatter(keys, order, np.uint64(shift), spare_keys, spare_order)
            keys, spare_keys, order, spare_order = spare_keys, keys, spare_order, order
    return order


@kernel
def scatter(keys: Hashes, order: Rows, shift: np.uint64, new_keys: Hashes, new_order: Rows) -> None:
    """One pass: rows by one digit of their keys."""
    places = np.zeros((1 << BITS) + 1, np.int64)
    for k in range(keys.size):
        places[((keys[k] >> shift) & _MASK) + np.uint64(1)] += 1
    for digit in range(1 << BITS):
        places[digit + 1] += places[digit]
    for k in range(keys.size):
        digit = (keys[k] >> shift) & _MASK
        new_keys[places[digit]], new_order[places[digit]] = keys[k], order[k]
        places[digit] += 1
