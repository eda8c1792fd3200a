"""A keyed permutation of 0 ... size - 1, computed one value at a time, and its inverse.

A balanced Feistel network of six rounds over the next power of four, walked along its cycle until
the value is inside (Black and Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002): fewer
than four walks on average. The round function is SplitMix64's finaliser (Steele, Lea, Flood 2014).
Sizes below 2^53.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel

ROUNDS = 6

Ints = NDArray[np.int64]


@kernel
def mixed(value: np.uint64) -> np.uint64:
    """64 pseudo-random bits of a uint64."""
    state = value + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel
def permuted(value: int, size: int, key: np.uint64) -> int:
    """Where the permutation of ``size`` values takes ``value``."""
    half = _half_bits(size)
    mask = (np.uint64(1) << half) - np.uint64(1)
    out = np.uint64(value)
    while True:
        left, right = out >> half, out & mask
        for number in range(ROUNDS):
            salt = key + np.uint64(number) * np.uint64(0xD1B54A32D192ED03)
            left, right = right, left ^ (mixed(right ^ salt) & mask)
        out = left << half | right
        if out < np.uint64(size):
            return np.int64(out)  # type: ignore[return-value]


@kernel
def unpermuted(value: int, size: int, key: np.uint64) -> int:
    """The inverse of :func:`permuted`."""
    half = _half_bits(size)
    mask = (np.uint64(1) << half) - np.uint64(1)
    out = np.uint64(value)
    while True:
        left, right = out >> half, out & mask
        for number in range(ROUNDS - 1, -1, -1):
            salt = key + np.uint64(number) * np.uint64(0xD1B54A32D192ED03)
            left, right = right ^ (mixed(left ^ salt) & mask), left
        out = left << half | right
        if out < np.uint64(size):
            return np.int64(out)  # type: ignore[return-value]


@kernel
def permuted_all(size: int, key: np.uint64) -> Ints:
    """The whole permutation, (size,): entry i is where it takes i."""
    out = np.empty(size, np.int64)
    for value in range(size):
        out[value] = permuted(value, size, key)
    return out


@kernel
def _half_bits(size: int) -> np.uint64:
    half = np.uint64(1)
    while (np.uint64(1) << (np.uint64(2) * half)) < np.uint64(size):
        half += np.uint64(1)
    return half
