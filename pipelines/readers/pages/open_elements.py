"""The elements that are open while a page is parsed, and the formatting that goes on in the next
block: kernels for :mod:`pipelines.readers.pages.shape`.

    stack[NAME, KIND, LINK]     a column per open element: hash of its name, what it is, its column
                                in the list of formatting elements or -1
    stack[FORMAT, TAG, STATUS]  a column per formatting element: hash of its name, of its tag,
                                whether it is OPEN, CLOSED, or a MARK that the list is not read
                                beyond
    stack[COUNT]                numbers: TOP open elements, LISTED in the list, NODES of the page,
                                DEPTH of the deepest, PARAGRAPHS that are open

What the parser does where markup is wrong is followed as far as it makes a page deeper or larger;
where following it exactly would take its whole tree, more is counted than there is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.pages.tags import BARRIER, CAPTION, CELL, FORMATTING, PARAGRAPH, SPECIAL

Stack = NDArray[np.int64]

NAME, KIND, LINK, FORMAT, TAG, STATUS, COUNT = range(7)
TOP, LISTED, NODES, DEPTH, PARAGRAPHS = range(5)
CLOSED, OPEN, MARK = range(3)
IN_FOREIGN = 1 << 40  # in KIND, of an element of SVG or MathML
IN_POINT = 1 << 41  # of one that may hold HTML
LIST_ROOM = 1024
ALIKE = 3  # as many formatting elements with the same tag go on (the standard's Noah's Ark clause)


def new_stack(room: int) -> Stack:
    """An empty stack for that many open elements, with a list of formatting elements."""
    return np.zeros((7, max(room, LIST_ROOM)), np.int64)


@kernel
def push(stack: Stack, name: int, bits: int, link: int) -> None:
    top = stack[COUNT, TOP]
    stack[COUNT, NODES] += 1
    if top < stack.shape[1]:
        stack[NAME, top], stack[KIND, top], stack[LINK, top] = name, bits, link
        stack[COUNT, TOP] = top + 1
        if bits & PARAGRAPH:
            stack[COUNT, PARAGRAPHS] += 1
    else:
        stack[COUNT, DEPTH] = max(stack[COUNT, DEPTH], top + 1)
    stack[COUNT, DEPTH] = max(stack[COUNT, DEPTH], stack[COUNT, TOP])


@kernel
def leaf(stack: Stack) -> None:
    """An element or a text with nothing in it."""
    stack[COUNT, NODES] += 1
    stack[COUNT, DEPTH] = max(stack[COUNT, DEPTH], stack[COUNT, TOP] + 1)


@kernel
def forget_to_mark(stack: Stack) -> None:
    """Empty the list down to its last mark, which goes too."""
    row = stack[COUNT, LISTED]
    while row > 0:
        row -= 1
        if stack[STATUS, row] == MARK:
            break
    for place in range(stack[COUNT, TOP]):
        if stack[LINK, place] >= row:
            stack[LINK, place] = -1
    stack[COUNT, LISTED] = row


@kernel
def pop_to(stack: Stack, place: int) -> None:
    """Close the open elements from ``place`` on."""
    row = stack[COUNT, TOP]
    while row > place:
        row -= 1
        if stack[KIND, row] & PARAGRAPH:
            stack[COUNT, PARAGRAPHS] -= 1
        if stack[KIND, row] & (CELL | CAPTION):
            stack[COUNT, TOP] = row
            forget_to_mark(stack)
        elif stack[LINK, row] >= 0:
            stack[STATUS, stack[LINK, row]] = CLOSED
    stack[COUNT, TOP] = place


@kernel
def take_out(stack: Stack, place: int) -> None:
    """Close one open element; those in it stay open."""
    for row in range(place, stack[COUNT, TOP] - 1):
        for part in (NAME, KIND, LINK):
            stack[part, row] = stack[part, row + 1]
    stack[COUNT, TOP] -= 1


@kernel
def find(stack: Stack, name: int, kind: int, barriers: int) -> int:
    """The innermost open element of that name, or with a bit of ``kind``, up to one with a bit of
    ``barriers``; -1 where there is none.
    """
    row = stack[COUNT, TOP] - 1
    while row >= 0:
        found = stack[KIND, row]
        if not found & IN_FOREIGN:
            if found & kind or stack[NAME, row] == name:
                return int(row)
            if found & barriers:
                return -1
        elif found & IN_POINT and barriers & BARRIER:
            return -1
        row -= 1
    return -1


@kernel
def forget(stack: Stack, row: int) -> None:
    """Take a row out of the list of formatting elements."""
    last = stack[COUNT, LISTED] - 1
    for place in range(row, last):
        stack[FORMAT, place], stack[TAG, place] = stack[FORMAT, place + 1], stack[TAG, place + 1]
        stack[STATUS, place] = stack[STATUS, place + 1]
    stack[COUNT, LISTED] = last
    for place in range(stack[COUNT, TOP]):
        if stack[LINK, place] == row:
            stack[LINK, place] = -1
        elif stack[LINK, place] > row:
            stack[LINK, place] -= 1


@kernel
def remember(stack: Stack, name: int, mark: int, kind: int) -> int:
    """Put an element into the list, or a MARK; returns its row."""
    if kind != MARK:
        alike, first = 0, -1
        row = stack[COUNT, LISTED] - 1
        while row >= 0 and stack[STATUS, row] != MARK:
            if stack[TAG, row] == mark:
                alike, first = alike + 1, row
            row -= 1
        if alike >= ALIKE:
            forget(stack, first)
    row = stack[COUNT, LISTED]
    if row >= LIST_ROOM:
        stack[COUNT, DEPTH] = stack.shape[1] + 1  # formatting that deep is never honest
        return -1
    stack[FORMAT, row], stack[TAG, row], stack[STATUS, row] = name, mark, kind
    stack[COUNT, LISTED] = row + 1
    return int(row)


@kernel
def go_on(stack: Stack) -> None:
    """Open the formatting elements again that a block has closed."""
    row = stack[COUNT, LISTED]
    while row > 0 and stack[STATUS, row - 1] == CLOSED:
        row -= 1
    while row < stack[COUNT, LISTED]:
        stack[STATUS, row] = OPEN
        push(stack, stack[FORMAT, row], FORMATTING, row)
        row += 1


@kernel
def end_other(stack: Stack, name: int) -> None:
    """The end tag of an ordinary element."""
    row = stack[COUNT, TOP] - 1
    while row >= 0:
        if not stack[KIND, row] & IN_FOREIGN and stack[NAME, row] == name:
            pop_to(stack, row)
            return
        if stack[KIND, row] & (SPECIAL | IN_POINT):
            return
        row -= 1


@kernel
def end_formatting(stack: Stack, name: int) -> None:
    """The end tag of a formatting element: the standard's adoption agency."""
    row = stack[COUNT, LISTED] - 1
    while row >= 0 and stack[STATUS, row] != MARK and stack[FORMAT, row] != name:
        row -= 1
    if row < 0 or stack[STATUS, row] == MARK:
        end_other(stack, name)
        return
    if stack[STATUS, row] == CLOSED:
        forget(stack, row)
        return
    place, special = stack[COUNT, TOP] - 1, -1
    while place >= 0 and stack[LINK, place] != row:
        if stack[KIND, place] & (BARRIER | IN_POINT):
            return
        if special < 0 and stack[KIND, place] & SPECIAL:
            special = place
        place -= 1
    if place < 0:
        forget(stack, row)
        return
    if special < 0:
        pop_to(stack, place)
        forget(stack, row)
        return
    # blocks in it stay open, and the element is taken from around them
    stack[COUNT, NODES] += 8
    pop_to(stack, special + 1)
    forget(stack, row)
    take_out(stack, place)
