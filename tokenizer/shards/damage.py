"""Where a part file is damaged: bytes whose block checksum is wrong, and the documents in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from tokenizer.shards.checksummed_file import BLOCK_BYTES
from tokenizer.shards.manifest import PartRecord
from tokenizer.shards.part_index import PartIndex

ByteRange = tuple[int, int]


def damaged_ranges(
    path: Path, record: PartRecord, index: PartIndex | None
) -> tuple[list[ByteRange], str]:
    """Byte ranges [start, stop) whose blocks differ from the part's index, adjacent ones joined,
    and the file's checksum.

    Blocks missing from the file, or beyond what the index knows, count as damaged. Without an index
    no range is known.
    """
    whole = xxhash.xxh3_128()
    bad: list[ByteRange] = []
    size = BLOCK_BYTES if index is None else index.block_bytes
    known = 0 if index is None else index.block_count
    with path.open("rb") as file:
        number = 0
        while (block := file.read(size)) or number < known:
            whole.update(block)
            if index is not None and (
                not block or xxhash.xxh3_64_hexdigest(block) != index.block_sum(number)
            ):
                start = number * size
                stop = min(start + size, max(record.bytes, start + len(block)))
                if bad and bad[-1][1] == start:
                    bad[-1] = (bad[-1][0], stop)
                else:
                    bad.append((start, stop))
            number += 1
    return bad, whole.hexdigest()


class PartLayout:
    """The byte places of a mapped part's columns. Raises ArrowInvalid or OSError when it does not
    open.
    """

    def __init__(self, path: Path) -> None:
        self.mapped = pa.memory_map(str(path)).read_buffer()
        reader = pa.ipc.open_file(pa.BufferReader(self.mapped))
        self.base = self.mapped.address
        self.schema = reader.schema
        self.batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]

    def documents(self, damaged: ByteRange) -> NDArray[np.void]:
        """Ids (d,) of 16 bytes of the documents that have a byte in the range, in file order.

        A damaged id is given as it now stands. Empty when the range holds only headers and footers.
        """
        found = [
            _ids(batch)[np.flatnonzero(self._touched(batch, damaged))] for batch in self.batches
        ]
        return np.concatenate(found) if found else np.empty(0, "V16")

    def _touched(self, batch: pa.RecordBatch, damaged: ByteRange) -> NDArray[np.bool_]:
        touched = np.zeros(batch.num_rows, bool)
        for buffer, width, ends in _layout(batch):
            start = buffer.address - self.base
            low = max(damaged[0], start) - start
            high = min(damaged[1], start + buffer.size) - start
            if low >= high:
                continue
            first, last = low // width, -(-high // width)
            if ends is not None:  # items of a list column: from items to the rows that own them
                first, last = (
                    int(np.searchsorted(ends, first, "right")),
                    int(np.searchsorted(ends, last)) + 1,
                )
            touched[first:last] = True
        return touched


def _layout(batch: pa.RecordBatch) -> Iterator[tuple[pa.Buffer, int, NDArray[np.int64] | None]]:
    """Every buffer of a batch with its item width; for list items also the end of each row's
    items.
    """
    for name in ("id", "text_hash"):
        yield batch.column(name).buffers()[1], 16, None
    _, offsets, _, values = batch.column("tokens").buffers()
    yield offsets, 8, None
    if values is not None:
        yield (
            values,
            batch.column("tokens").type.value_type.bit_width // 8,
            batch.column("tokens").offsets.to_numpy()[1:],
        )
    spans = batch.column("trainable")
    _, offsets, _, _, starts, _, ends = spans.buffers()
    if offsets is not None:
        yield offsets, 4, None
    for child in (starts, ends):
        if child is not None:
            yield child, 4, spans.offsets.to_numpy()[1:].astype(np.int64)


def _ids(batch: pa.RecordBatch) -> NDArray[np.void]:
    column = batch.column("id")
    return np.frombuffer(column.buffers()[1], "V16", len(column), column.offset * 16)
