"""Documents cut into training sentences, so that the trainer skips nothing in silence.

SentencePiece's trainer drops a whole sentence that is longer than ``max_sentence_length`` bytes or
that holds NUL or U+2585 (which it uses itself), and reads U+2581 as a space. Here documents are cut
at line ends, at tabs and at those characters, and a line that is still too long before the last run
of spaces that fits, else between two characters. Every cut and every byte left out is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel

_COUNTS = ("sentences", "long_lines_split", "reserved_characters", "documents_cut", "bytes_cut")


@dataclass
class SentenceCounts:
    """What cutting did, summed over all documents.

    ``long_lines_split``: cuts made because a line was too long; ``reserved_characters``: NUL,
    U+2581 and U+2585 left out of training (text that holds them still encodes without loss);
    ``documents_cut`` and ``bytes_cut``: documents longer than ``max_document_bytes`` and what they
    lost.
    """

    documents: int = 0
    bytes: int = 0
    sentences: int = 0
    long_lines_split: int = 0
    reserved_characters: int = 0
    documents_cut: int = 0
    bytes_cut: int = 0


def sentences(
    sample: Iterable[pa.LargeStringArray],
    max_sentence_bytes: int,
    max_document_bytes: int,
    counts: SentenceCounts,
) -> Iterator[bytes]:
    """Training sentences of a sample in order, each at most ``max_sentence_bytes``; adds to
    ``counts``.
    """
    for texts in sample:
        if len(texts) == 0:
            continue
        _, offset_buffer, value_buffer = texts.buffers()
        offsets = np.frombuffer(offset_buffer, np.int64, len(texts) + 1, texts.offset * 8)
        values = np.frombuffer(value_buffer or b"", np.uint8)
        values.flags.writeable = False
        spans, seen = cut_sentences(
            values, np.array(offsets), max_sentence_bytes, max_document_bytes
        )
        counts.documents += len(texts)
        counts.bytes += int(offsets[-1] - offsets[0])
        for name, value in zip(_COUNTS, seen.tolist(), strict=True):
            setattr(counts, name, getattr(counts, name) + value)
        view = memoryview(values.data)
        for start, stop in spans.reshape(-1, 2).tolist():
            yield bytes(view[start:stop])


@kernel
def cut_sentences(
    values: NDArray[np.uint8], offsets: NDArray[np.int64], max_sentence: int, max_document: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Byte spans of the sentences, start and stop in turn (2 s,), and the counts in the order of
    ``_COUNTS``.
    """
    counts = np.zeros(5, np.int64)
    spans = np.empty(2048, np.int64)
    for document in range(len(offsets) - 1):
        start = offsets[document]
        stop = offsets[document + 1]
        if stop - start > max_document:
            limit = character_start(values, start, start + max_document)
            counts[3] += 1
            counts[4] += stop - limit
            stop = limit
        while start < stop:
            end, left_out = sentence_end(values, start, stop, max_sentence, counts)
            if end > start:
                if 2 * counts[0] == len(spans):
                    grown = np.empty(2 * len(spans), np.int64)
                    for index in range(len(spans)):
                        grown[index] = spans[index]
                    spans = grown
                spans[2 * counts[0]] = start
                spans[2 * counts[0] + 1] = end
                counts[0] += 1
            start = end + left_out
    return spans[: 2 * counts[0]], counts


@kernel
def sentence_end(
    values: NDArray[np.uint8], start: int, stop: int, max_sentence: int, counts: NDArray[np.int64]
) -> tuple[int, int]:
    """Where the sentence that begins at ``start`` ends, and how many bytes after it are left
    out.
    """
    space = start  # where the last run of spaces begins; none yet
    for position in range(start, stop):
        byte = values[position]
        if byte == 0x0A or byte == 0x0D or byte == 0x09:
            return position, 1
        if byte == 0:
            counts[2] += 1
            return position, 1
        if (
            byte == 0xE2
            and values[position + 1] == 0x96
            and (values[position + 2] == 0x81 or values[position + 2] == 0x85)
        ):
            counts[2] += 1
            return position, 3
        if position - start >= max_sentence:
            counts[1] += 1
            return (space if space > start else character_start(values, start, position)), 0
        if byte == 0x20 and position > start and values[position - 1] != 0x20:
            space = position
    return stop, 0


@kernel
def character_start(values: NDArray[np.uint8], first: int, position: int) -> int:
    """The start, at or before ``position``, of a character; not before ``first``."""
    while position > first and values[position] & 0xC0 == 0x80:
        position -= 1
    return position
