"""Kernels of :mod:`dedup.ngrams`: n-grams as a table, and which of them texts hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.shingles import add_places, hash_shingles, mix_sums
from dedup.words import (
    BASIS,
    BLOCK,
    START,
    Bytes,
    Codes,
    Hashes,
    Rows,
    mix_words,
    scan_words,
    word_start,
)

Counts = NDArray[np.int32]


@kernel
def filter_mask(wanted: np.uint64) -> np.uint64:
    """The three bits of an n-gram in its word of the bitmap; the word goes by the high half, the
    table by the low bits.
    """
    one = np.uint64(1)
    bits = one << (wanted >> np.uint64(58))
    bits |= one << ((wanted >> np.uint64(26)) & np.uint64(63))
    return bits | (one << ((wanted >> np.uint64(20)) & np.uint64(63)))


@kernel
def fill_bitmap(hashes: Hashes, bitmap: Hashes) -> None:
    """Set the bits of every n-gram."""
    for k in range(hashes.size):
        bitmap[(hashes[k] >> np.uint64(32)) & np.uint64(bitmap.size - 1)] |= filter_mask(hashes[k])


@kernel
def hash_items(
    word_offsets: Rows, words: Hashes, constants: Hashes, offsets: Rows, found: Hashes
) -> None:
    """N-grams of each item, or the one n-gram of all the words of a short one."""
    for item in range(word_offsets.size - 1):
        if offsets[item] < offsets[item + 1]:
            own = words[word_offsets[item] : word_offsets[item + 1]]
            hash_shingles(
                own,
                own.size,
                constants[: min(own.size, constants.size)],
                found[offsets[item] : offsets[item + 1]],
            )


@kernel
def fill_table(hashes: Hashes, table: Counts) -> None:
    """Open addressing by the low bits, linear probing; the table is a power of two and at most half
    full.
    """
    for slot in range(hashes.size):
        place = hashes[slot] & np.uint64(table.size - 1)
        while table[place] >= 0:
            place = (place + np.uint64(1)) & np.uint64(table.size - 1)
        table[place] = slot


@kernel
def find_slot(wanted: np.uint64, hashes: Hashes, bitmap: Hashes, table: Counts) -> int:
    """Number of an n-gram in the index, -1 if it is not there."""
    mask = filter_mask(wanted)
    if bitmap[(wanted >> np.uint64(32)) & np.uint64(bitmap.size - 1)] & mask != mask:
        return -1
    place = wanted & np.uint64(table.size - 1)
    while table[place] >= 0:
        if hashes[table[place]] == wanted:
            return int(table[place])
        place = (place + np.uint64(1)) & np.uint64(table.size - 1)
    return -1


@kernel
def count_items(
    slot: int, row: int, item_offsets: Rows, items: Counts, item_ngrams: Counts,
    stamps: Counts, hits: Counts, most_hits: Counts, best: Rows,
) -> None:  # fmt: skip
    """Credit one found n-gram to its items; ``best`` is the item with most found and the one with
    the largest share, ``most_hits`` the most found of each item in any text.
    """
    for k in range(item_offsets[slot], item_offsets[slot + 1]):
        item = np.int64(items[k])
        if stamps[item] != row:
            stamps[item], hits[item] = row, 0
        hits[item] += 1
        most_hits[item] = max(most_hits[item], hits[item])
        most, fullest = best[0], best[1]
        if most < 0 or hits[item] > hits[most] or (hits[item] == hits[most] and item < most):
            best[0] = item
        ahead = (
            np.int64(hits[item]) * item_ngrams[fullest]
            - np.int64(hits[fullest]) * item_ngrams[item]
            if fullest >= 0
            else 1
        )
        if ahead > 0 or (ahead == 0 and item < fullest):
            best[1] = item


@kernel
def find_overlaps(
    values: Bytes, offsets: Rows, table: Codes, constants: Hashes, lengths: Rows,
    hashes: Hashes, bitmap: Hashes, short_bitmap: Hashes, slots: Counts,
    item_offsets: Rows, items: Counts, item_ngrams: Counts,
    slot_stamps: Counts, item_stamps: Counts, hits: Counts, most_hits: Counts,
    matched: Counts, item: Counts, fraction: NDArray[np.float32],
    fullest: Counts, fullest_fraction: NDArray[np.float32], first_offset: Rows,
) -> None:  # fmt: skip
    """Look every n-gram of every text up, of each length in use; a text is read in blocks."""
    words, sums, shingles = (
        np.empty(BLOCK, np.uint64),
        np.empty(BLOCK, np.uint64),
        np.empty(BLOCK, np.uint64),
    )
    best = np.empty(2, np.int64)
    for row in range(offsets.size - 1):
        i, end, state, carried, before, first = (
            offsets[row],
            offsets[row + 1],
            BASIS,
            START,
            0,
            START - 1,
        )
        best[0] = best[1] = -1
        while i < end:
            i, count, state = scan_words(values, i, end, table, words, carried, state)
            mix_words(words, carried, count)
            places = START
            for which in range(lengths.size):  # ascending: each extends the sums of the one before
                length = lengths[which]
                last = max(0, count - length + 1)
                add_places(words, sums, last, constants, places, length)
                mix_sums(sums, last, shingles)
                places = length
                filter_ = bitmap if length == constants.size else short_bitmap
                for k in range(last):
                    slot = find_slot(shingles[k], hashes, filter_, slots)
                    if slot >= 0 and slot_stamps[slot] != row:
                        slot_stamps[slot] = row
                        matched[row] += 1
                        first = before + k if first < 0 else min(first, before + k)
                        count_items(
                            slot, row, item_offsets, items, item_ngrams, item_stamps, hits,
                            most_hits, best,
                        )  # fmt: skip
            carried = min(count, constants.size - 1)
            before += count - carried
            for k in range(carried):
                words[k] = words[count - carried + k]
        if matched[row] > 0:
            item[row], fullest[row] = best[0], best[1]
            fraction[row] = hits[best[0]] / item_ngrams[best[0]]
            fullest_fraction[row] = hits[best[1]] / item_ngrams[best[1]]
            first_offset[row] = word_start(values, offsets[row], end, table, first) - offsets[row]
