"""Files of the parts of a comparison: uncompressed Arrow IPC, a record batch per part, read one
part at a time.

On a local disk a part is mapped, not read; from an object store only the bytes of that part come.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made

AREA = "work"
PARTS = "parts.arrow"


@dataclass(frozen=True)
class Parts:
    """One published file of parts: record batch ``k`` is part ``numbers[k]``, ascending."""

    ref: FileRef
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """What a task found or made: its parts and what it counted. ``units``: none, since no result of
    a run rests on parts.
    """

    parts: Parts
    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...] = ()


def write_parts(
    unit: Publication, schema: pa.Schema, parts: Iterable[tuple[int, pa.RecordBatch]]
) -> None:
    """Write parts in ascending order of their numbers; those without rows are left out."""
    numbers = []
    with (
        unit.file(PARTS) as out,
        pa.ipc.new_file(pa.PythonFile(out.raw, mode="w"), schema) as writer,
    ):
        for number, batch in parts:
            if batch.num_rows:
                writer.write_batch(batch)
                numbers.append(number)
                out.rows += batch.num_rows
    unit.facts["parts"] = numbers


def made_parts(
    store: Store,
    step: str,
    inputs: dict[str, Any],
    make: Callable[[Publication], None],
    compute: bool,
) -> Made | None:
    """The unit of parts that follows from these inputs; made if it is not there and ``compute`` is
    on.
    """
    made = found_or_made(store, f"{AREA}/{step}/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    manifest, computed = made
    return Made(
        Parts(manifest.file(PARTS), tuple(manifest.facts["parts"])), manifest.facts, computed
    )


def read_parts(
    store: Store, parts: Parts, numbers: Iterable[int] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The parts of these numbers (all by default) that the file has; their buffers stay valid after
    the file is closed.
    """
    wanted = set(parts.numbers if numbers is None else numbers)
    if wanted.isdisjoint(parts.numbers):
        return
    with opened(store, parts.ref.name) as source:
        reader = pa.ipc.open_file(source)
        for place, number in enumerate(parts.numbers):
            if number in wanted:
                yield number, reader.get_batch(place)


def by_number(table: pa.RecordBatch, numbers: NDArray[Any]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A batch taken apart by a number for each of its rows, ascending; rows of one part keep their
    order.
    """
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    bounds = [*starts.tolist(), len(order)]
    for place, number in enumerate(found.tolist()):
        yield number, table.take(pa.array(order[bounds[place] : bounds[place + 1]]))


@contextlib.contextmanager
def opened(store: Store, name: str) -> Iterator[pa.NativeFile]:
    """A file to read from: mapped where it is local, so that what is read is not copied."""
    if store.local:
        with pa.memory_map(store.full(name)) as mapped:
            yield mapped
    else:
        with store.open(name) as file:
            yield pa.PythonFile(file, mode="r")
