"""What tasks of a comparison hand to one another: rows, each meant for one reader, through the
store.

    a task over a chunk     ─ rows by number ─▶  parts.arrow  ─ part 3 ─▶  task 3 over a share
    a task over a share     ─ rows by number ─▶  parts.arrow  ─ part 0 ─▶  task 0 over a chunk

A task writes one file; rows for one reader are a *part*, one or several record batches of Arrow
IPC, found by the number of who is to read them. So every row is written and read once, and no task
holds more than what is meant for it. On a local disk a part is mapped, not read; from an object
store only the bytes of that part come.

How long parts stay:

- Parts under their own content key (:func:`keyed`) stay until ``windtunnel cache gc``: a killed run
  goes on after the last one, and a run with another threshold finds those that do not depend on it.
- Parts in the scratch of one outcome (:func:`scratch`) serve that outcome alone: they outlive a
  kill and go when it is there, by :func:`discard`. They are read once, so they are compressed.

No result rests on parts: none counts among the units of a run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from artifacts.publish import CountedFile, FileRef, Manifest, Publication, found_or_made, published
from artifacts.tables import open_batches

AREA = "work"
PARTS = "parts.arrow"


@dataclass(frozen=True)
class Parts:
    """One published file of parts: record batch ``k`` belongs to part ``numbers[k]``."""

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


def keyed(step: str, inputs: dict[str, Any]) -> str:
    """Where parts lie that stay: under the key of what they follow from."""
    return f"{AREA}/{step}/{content_key(inputs)}"


def scratch(step: str, key: str) -> str:
    """Folder of parts that go once the outcome of this key is there."""
    return f"{AREA}/{step}/{key}"


def discard(store: Store, step: str, key: str) -> None:
    """Remove the scratch of an outcome."""
    store.delete(scratch(step, key))


@dataclass
class PartsWriter:
    """A file of parts being written."""

    out: CountedFile
    writer: pa.RecordBatchFileWriter
    schema: pa.Schema
    numbers: list[int]

    def write(self, number: int, rows: pa.RecordBatch) -> None:
        """Rows for one reader; nothing is written for no rows."""
        if rows.num_rows:
            self.writer.write_batch(rows)
            self.numbers.append(number)
            self.out.rows += rows.num_rows

    def deal(self, columns: Sequence[Any], numbers: NDArray[Any]) -> None:
        """Rows in columns, each for the reader of its number."""
        for number, rows in by_number(row_batch(self.schema, *columns), numbers):
            self.write(number, rows)


@contextlib.contextmanager
def open_parts(
    unit: Publication, schema: pa.Schema, compression: str | None = None
) -> Iterator[PartsWriter]:
    """Write a unit's one file of parts."""
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with (
        unit.file(PARTS) as out,
        pa.ipc.new_file(pa.PythonFile(out.raw, mode="w"), schema, options=options) as writer,
    ):
        parts = PartsWriter(out, writer, schema, [])
        yield parts
    unit.facts["parts"] = parts.numbers


def write_parts(
    unit: Publication, schema: pa.Schema, parts: Iterable[tuple[int, pa.RecordBatch]]
) -> None:
    """Write parts in ascending order of their numbers; those without rows are left out."""
    with open_parts(unit, schema) as out:
        for number, rows in parts:
            out.write(number, rows)


def made_parts(
    store: Store,
    prefix: str,
    inputs: dict[str, Any],
    make: Callable[[Publication], None],
    compute: bool,
) -> Made | None:
    """The unit of parts under a prefix; made if it is not there and ``compute`` is on."""
    made = found_or_made(store, prefix, inputs, make, compute)
    if made is None:
        return None
    manifest, computed = made
    facts = {name: value for name, value in manifest.facts.items() if name != "parts"}
    return Made(_parts(manifest), facts, computed)


def parts_at(store: Store, prefix: str) -> Parts:
    """The parts of a unit that was made before."""
    manifest = published(store, prefix)
    assert manifest is not None, f"{prefix} is gone"
    return _parts(manifest)


def _parts(manifest: Manifest) -> Parts:
    return Parts(manifest.file(PARTS), tuple(manifest.facts["parts"]))


def read_parts(
    store: Store,
    parts: Parts,
    numbers: Iterable[int] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The parts of these numbers (all by default) that the file has; their buffers stay valid after
    the file is closed.
    """
    wanted = set(parts.numbers if numbers is None else numbers)
    if wanted.isdisjoint(parts.numbers):
        return
    with open_batches(store, parts.ref.name, columns) as source:
        for place, number in enumerate(parts.numbers):
            if number in wanted:
                yield number, source.batch(place)


def by_number(rows: pa.RecordBatch, numbers: NDArray[Any]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A batch taken apart by a number for each of its rows, ascending; rows of one part keep their
    order.
    """
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    bounds = [*starts.tolist(), len(order)]
    for place, number in enumerate(found.tolist()):
        yield number, rows.take(pa.array(order[bounds[place] : bounds[place + 1]]))


def row_batch(schema: pa.Schema, *columns: Any) -> pa.RecordBatch:
    """Columns as one batch."""
    return pa.RecordBatch.from_arrays(
        [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, schema, strict=True)
        ],
        schema=schema,
    )


def number_columns(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> dict[str, NDArray[Any]]:
    """Number columns of batches concatenated, by name."""
    whole = pa.Table.from_batches(list(batches), schema)
    return {name: whole[name].to_numpy() for name in schema.names}
