"""Whole documents in windows: best-fit decreasing, for instruction data that should not be cut.

A document longer than a window is cut into windows and a rest; rests and shorter documents are
placed, the longest first and of equal ones the earlier first, into the window with the least room
that still holds them, else into a new one. That leaves about as little padding as packing can (Ding
et al., Fewer Truncations Improve Language Modeling, arXiv 2404.10830, section 3).

Packing is done inside a block of the source, so that it is computed when a block is opened and
depends on that block alone. The room left is kept in a tree over capacities, so a document takes
about log2(window) steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Packing:
    """The windows of a block. Window w holds pieces ``first[w]`` to ``first[w + 1]`` - 1, in this
    order.

    ``first`` (windows + 1,); ``start`` (pieces,) tokens from the beginning of the documents given;
    ``tokens`` (pieces,).
    """

    first: Ints
    start: Ints
    tokens: Ints

    @property
    def windows(self) -> int:
        return len(self.first) - 1


def pack(offsets: Ints, window: int) -> Packing:
    """Pack documents into windows of ``window`` tokens; ``offsets`` (documents + 1,) are the
    borders of the documents in tokens.
    """
    starts, tokens = cut(offsets, window)
    order = np.lexsort((starts, -tokens))
    bins, windows = best_fit(tokens[order], window)
    by_window = np.argsort(bins, kind="stable")
    first = np.zeros(windows + 1, np.int64)
    np.cumsum(np.bincount(bins, minlength=windows), out=first[1:])
    chosen = order[by_window]
    return Packing(
        first, starts[chosen] - int(offsets[0]) if len(offsets) else starts, tokens[chosen]
    )


@kernel
def cut(offsets: Ints, window: int) -> tuple[Ints, Ints]:
    """(start, tokens) of every document, those longer than a window in several pieces; empty ones
    are left out.
    """
    pieces = 0
    for document in range(len(offsets) - 1):
        pieces += -(-(offsets[document + 1] - offsets[document]) // window)
    starts, tokens = np.empty(pieces, np.int64), np.empty(pieces, np.int64)
    piece = 0
    for document in range(len(offsets) - 1):
        for start in range(offsets[document], offsets[document + 1], window):
            starts[piece] = start
            tokens[piece] = min(window, offsets[document + 1] - start)
            piece += 1
    return starts, tokens


@kernel
def best_fit(tokens: Ints, window: int) -> tuple[Ints, int]:
    """The window of each piece and how many windows there are; ``tokens`` (pieces,) fall, none is
    above ``window``.

    ``newest[c]`` is the window opened last among those with c tokens of room, ``older`` chains the
    others.
    """
    leaves = 1
    while leaves < window + 1:
        leaves *= 2
    some = np.zeros(2 * leaves, np.bool_)  # a node: some window has a room in the node's range
    newest = np.full(window + 1, -1, np.int64)
    older = np.empty(len(tokens), np.int64)
    bins = np.empty(len(tokens), np.int64)
    windows = 0
    for piece in range(len(tokens)):
        room = _least_room(some, leaves, tokens[piece])
        if room < 0:
            chosen = windows
            windows += 1
            room = window
        else:
            chosen = newest[room]
            newest[room] = older[chosen]
            if newest[room] < 0:
                _mark(some, leaves, room, False)
        bins[piece] = chosen
        left = room - tokens[piece]
        if left > 0:
            older[chosen] = newest[left]
            newest[left] = chosen
            if older[chosen] < 0:
                _mark(some, leaves, left, True)
    return bins, windows


@kernel
def _least_room(some: NDArray[np.bool_], leaves: int, least: int) -> int:
    """The least room of at least ``least`` tokens that some window has, -1 when there is none."""
    node = leaves + least
    if least >= leaves:
        return -1
    if some[node]:
        return least
    while True:  # up to the first ancestor with something on its right, then down to the left
        while node & 1:
            node >>= 1
            if node <= 1:
                return -1
        if node <= 1:
            return -1
        if some[node + 1]:
            node += 1
            break
        node >>= 1
    while node < leaves:
        node = 2 * node if some[2 * node] else 2 * node + 1
    return node - leaves


@kernel
def _mark(some: NDArray[np.bool_], leaves: int, room: int, there: bool) -> None:
    node = leaves + room
    some[node] = there
    node >>= 1
    while node >= 1:
        some[node] = some[2 * node] or some[2 * node + 1]
        node >>= 1
