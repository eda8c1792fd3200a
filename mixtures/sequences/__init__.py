"""Sequences: pure integer mathematics, without plans, files or sources.

    shares, horizon ─ chairman ─▶ which source comes next, never more than one off its share
    size, key ─ permutation ─▶ the order of windows, one value at a time, and its inverse
    documents' lengths ─ packing ─▶ whole documents in windows, with little left over

Everything is exact and the same on every machine.

>>> import numpy as np
>>> from mixtures.sequences.chairman import Mix
>>> from mixtures.sequences.packing import pack
>>> from mixtures.sequences.permutation import permuted_all
>>> key = np.uint64(7)
>>> sorted(permuted_all(5, key).tolist())
[0, 1, 2, 3, 4]
>>> half = (1 << 17, 1 << 17)
>>> Mix(half, half).sequence(0, 6).tolist()
[0, 1, 0, 1, 0, 1]
>>> pack(np.array([0, 6, 10, 14]), 10).windows  # documents of 6, 4 and 4 tokens
2
"""
