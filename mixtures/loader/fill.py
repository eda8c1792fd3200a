"""From pieces of token streams to batches: the loader's one hot kernel.

A row of a batch is a window of T places. Each *piece* puts neighbouring tokens of a source's stream
into it as targets; the input of a target is the token before it, or BOS where the target begins a
document. What no piece fills is padding. In one pass over the tokens the kernel writes inputs,
targets, weights, positions and documents; documents are found by bisection in the mapped offsets.

Bytes per token: 2 or 4 read (uint16, uint32), 20 written (four int32 and one float32). At a copy
bandwidth of 10 GB/s per core that is a floor of about 2.2 ns, 450 million tokens per second, from
memory; a batch that stays in the cache is faster.

Legend: B rows, T places of a row, n pieces, d documents in the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from artifacts.jit import kernel

Ints = NDArray[np.int64]

# columns of the table of record batches
START, TOKENS, ROWS, VALUES, BYTES, OFFSETS, SPAN_OFFSETS, SPAN_STARTS, SPAN_ENDS, REMOVED = range(
    10
)
COLUMNS = 10
# columns of pieces
ROW, PLACE, SOURCE, FIRST, LENGTH = range(5)


@intrinsic  # type: ignore[untyped-decorator]
def _pointer_to(typingctx: Any, address: Any) -> Any:
    """An address as a pointer; whoever passes it keeps the memory mapped."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


_pointer: Any = _pointer_to


@kernel
def batch_at(
    position: int, part_first: int, part_last: int, part_starts: Ints, part_rows: Ints, table: Ints
) -> int:
    """The record batch that holds a place of a stream; -1 - part where that part's batches are not
    in the table.

    ``part_starts`` (parts + 1,) of all sources one behind the other, of which ``part_first`` to
    ``part_last`` - 1 are the source's; ``part_rows`` (parts, 2): first row of the table and number
    of rows, -1 where not known.
    """
    low, high = part_first, part_last
    while high - low > 1:
        middle = (low + high) >> 1
        if part_starts[middle] <= position:
            low = middle
        else:
            high = middle
    first = part_rows[low, 0]
    if first < 0:
        return -1 - low
    low, high = first, first + part_rows[low, 1]
    while high - low > 1:
        middle = (low + high) >> 1
        if table[middle, START] <= position:
            low = middle
        else:
            high = middle
    return int(low)


@kernel
def closed_batches(
    pieces: Ints, parts: Ints, part_starts: Ints, part_rows: Ints, table: Ints, needed: Ints
) -> int:
    """How many record batches the pieces need that are not open; ``needed`` (m, 2) takes source and
    a place in each, at most m.

    ``parts`` (sources + 1,): where each source's parts begin in ``part_starts``.
    """
    found = 0
    for number in range(len(pieces)):
        source = pieces[number, SOURCE]
        place, stop = pieces[number, FIRST], pieces[number, FIRST] + pieces[number, LENGTH]
        while place < stop and found < len(needed):
            batch = batch_at(place, parts[source], parts[source + 1], part_starts, part_rows, table)
            if batch < 0 or table[batch, VALUES] == 0:
                needed[found, 0], needed[found, 1] = source, place
                found += 1
            if batch < 0:
                break  # how far the batch reaches is not known
            place = table[batch, START] + table[batch, TOKENS]
    return found


@kernel
def fill_batch(
    pieces: Ints,
    parts: Ints,
    part_starts: Ints,
    part_rows: Ints,
    table: Ints,
    eos: int,
    vocabulary: int,
    length: int,
    bos: int,
    tokens: NDArray[np.int32],
    targets: NDArray[np.int32],
    weights: NDArray[np.float32],
    positions: NDArray[np.int32],
    documents: NDArray[np.int32],
    borders: NDArray[np.int32],
) -> int:
    """Fill B rows from pieces in the order of rows and places; all record batches are open.

    ``eos`` ends every document. ``bos``: id that begins documents, or -1 for none: then a
    document's first target has EOS as its input and weight 0. Outputs are flat, (B * T,),
    ``borders`` (B * T + 1,). Returns the number of documents d; ``borders[:d + 1]`` is filled.
    Returns -1 when a token is not below ``vocabulary``.
    """
    rows = len(tokens) // length
    number, count, largest = 0, 0, 0
    for row in range(rows):
        at, document = row * length, -1
        end_of_row = at + length
        while number < len(pieces) and pieces[number, ROW] == row:
            source = pieces[number, SOURCE]
            place, left, inside = pieces[number, FIRST], pieces[number, LENGTH], False
            while left > 0:
                batch = batch_at(
                    place, parts[source], parts[source + 1], part_starts, part_rows, table
                )
                entry = table[batch]
                offsets = carray(_pointer(entry[OFFSETS]), (entry[ROWS] + 1,), np.int64)
                low = place - entry[START]
                text = np.searchsorted(offsets, low, side="right") - 1
                while left > 0 and low < entry[TOKENS]:
                    begin = offsets[text]
                    run = min(offsets[text + 1] - low, left)
                    if run == 0:  # a document without a token
                        text += 1
                        continue
                    opens = low == begin
                    # the input is the EOS of the document before, to which this place belongs
                    if opens and bos < 0:
                        if not inside:
                            document += 1
                            borders[count] = at
                            count += 1
                        largest = max(largest, _set(entry, low, at, 1, eos, tokens, targets))
                        documents[at] = document
                        positions[at] = positions[at - 1] + 1 if inside else 0
                        weights[at] = 0
                        if (
                            entry[REMOVED] != 0
                            and carray(_pointer(entry[REMOVED]), (entry[ROWS],), np.uint8)[text]
                            != 0
                        ):
                            targets[at] = eos
                        at, low, left, run, opens, inside = (
                            at + 1,
                            low + 1,
                            left - 1,
                            run - 1,
                            False,
                            True,
                        )
                        # the next place has this EOS as its input and begins another document
                        if run == 0:
                            text, inside = text + 1, False
                            continue
                    document += 1
                    borders[count] = at
                    count += 1
                    inside = True
                    largest = max(
                        largest, _set(entry, low, at, run, bos if opens else -1, tokens, targets)
                    )
                    _number(positions[at : at + run], documents[at : at + run], document)
                    _weigh(entry, text, begin, low, at, run, weights)
                    if (
                        entry[REMOVED] != 0
                        and carray(_pointer(entry[REMOVED]), (entry[ROWS],), np.uint8)[text] != 0
                    ):
                        tokens[at + (1 if opens else 0) : at + run] = eos
                        targets[at : at + run] = eos
                        weights[at : at + run] = 0
                    at, low, left = at + run, low + run, left - run
                    text += 1
                place = entry[START] + low
            number += 1
        if at < end_of_row:
            borders[count] = at
            count += 1
            _number(positions[at:end_of_row], documents[at:end_of_row], document + 1)
            tokens[at:end_of_row] = eos
            targets[at:end_of_row] = eos
            weights[at:end_of_row] = 0
    borders[count] = rows * length
    return count if largest < vocabulary else -1


@kernel
def _number(positions: NDArray[np.int32], documents: NDArray[np.int32], document: int) -> None:
    for place in range(len(positions)):
        positions[place] = place
    for place in range(len(documents)):
        documents[place] = document


@kernel
def _set(
    entry: Ints,
    low: int,
    at: int,
    run: int,
    first: int,
    tokens: NDArray[np.int32],
    targets: NDArray[np.int32],
) -> int:
    """``run`` targets from token ``low`` of the record batch on, and their inputs; the first input
    is ``first`` unless that is -1.

    Returns the largest id read.
    """
    before = 1 if first < 0 else 0
    begin, end = low - before, low + run
    if entry[BYTES] == 2:
        values = carray(_pointer(entry[VALUES] + 2 * begin), (end - begin,), np.uint16)
        largest = _copy(values, before, tokens[at : at + run], targets[at : at + run])
    else:
        wide = carray(_pointer(entry[VALUES] + 4 * begin), (end - begin,), np.uint32)
        largest = _copy(wide, before, tokens[at : at + run], targets[at : at + run])
    if first >= 0:
        tokens[at] = first
    return largest


@kernel
def _copy(values: Any, before: int, tokens: NDArray[np.int32], targets: NDArray[np.int32]) -> int:
    """Targets are the last of ``values``; inputs the ones before them (without one before the
    first, that input is left).

    Returns the largest value.
    """
    shown = values[before:]
    for place in range(len(targets)):
        targets[place] = shown[place]
    inputs = tokens[1 - before :]
    for place in range(len(inputs)):
        inputs[place] = values[place]
    largest = values[0]
    for place in range(1, len(values)):
        largest = max(largest, values[place])
    return int(largest)


@kernel
def _weigh(
    entry: Ints, text: int, begin: int, low: int, at: int, run: int, weights: NDArray[np.float32]
) -> None:
    """1 for targets inside the document's spans, 0 outside; without spans all are 1."""
    if entry[SPAN_OFFSETS] == 0:
        weights[at : at + run] = 1
        return
    spans = carray(_pointer(entry[SPAN_OFFSETS]), (entry[ROWS] + 1,), np.int64)
    weights[at : at + run] = 0
    starts = carray(_pointer(entry[SPAN_STARTS]), (spans[entry[ROWS]],), np.uint32)
    ends = carray(_pointer(entry[SPAN_ENDS]), (spans[entry[ROWS]],), np.uint32)
    for span in range(spans[text], spans[text + 1]):
        first = begin - low + int(starts[span])
        last = begin - low + int(ends[span])
        if first < run and last > 0:
            weights[at + max(first, 0) : at + min(last, run)] = 1
