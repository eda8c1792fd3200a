"""The folder that a batch is written to: which it may be, and the files of kept documents in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.publish import FileRef, publish, published
from artifacts.tables import write_parquet
from dedup.index.files import taken_back
from dedup.index.segments import document_digest
from dedup.words import Rows
from pipelines.deduplicate.index.documents import Read
from pipelines.deduplicate.index.opened import OpenIndex
from pipelines.readers import Fields
from pipelines.writers.kept_documents import room_for_kept, write_lines

Format = Literal["parquet", "jsonl"]

KEPT_FOLDER, EVIDENCE, QUARANTINED, LEDGER = (
    "kept",
    "evidence.parquet",
    "quarantine.parquet",
    "ledger.json",
)
FILE_BYTES = 256 << 20  # of text in one file of kept documents
GROUP_BYTES = 4 << 20  # of text in one of its row groups: what is read again for one candidate


def check_output(index: OpenIndex, out: Store) -> None:
    """Refuse a folder that lies in the index, or that holds what another one wrote. Raises:
    UserError.
    """
    there = published(out, KEPT_FOLDER)
    if there is not None and there.inputs.get("index") != index.store.root:
        message = "this folder holds kept documents that are not of this index"
        raise UserError(
            message,
            file=out.full(KEPT_FOLDER),
            parameter="output",
            fix="choose another folder, or remove them first",
        )
    if f"{out.root}/".startswith(f"{index.store.root}/"):
        raise UserError(
            "this folder lies in the index",
            file=out.root,
            parameter="output",
            fix="choose a folder beside it",
        )


def check_unused(index: OpenIndex, out: Store) -> None:
    """Refuse a folder whose kept documents the index rests on. Raises: UserError."""
    for batch in index.head.batches:
        if batch.texts.folder == out.root:
            fix = ("choose another folder, or first ", *taken_back(batch.number))
            raise UserError(
                f"this folder holds the kept documents of batch {batch.number}",
                file=out.root,
                parameter="output",
                fix=fix,
            )


def files_of(read: Read, kept: Rows, format: str) -> tuple[Rows, Rows, list[str]]:
    """For each document read the number of the file it goes to (-1: none) and its row there; and
    the files' names.
    """
    rows = np.sort(kept)
    source, sizes = read.source[rows], read.columns["bytes"].to_numpy()[rows]
    part = np.zeros(len(rows), np.int64)
    for number in np.unique(source):
        here = source == number
        part[here] = (np.cumsum(sizes[here]) - sizes[here]) // FILE_BYTES
    pairs, file_of, counts = np.unique(source << 32 | part, return_inverse=True, return_counts=True)
    place: dict[int, int] = {}
    names = []
    for pair in pairs.tolist():  # files are numbered without gaps, whatever the sizes of documents
        number = place[pair >> 32] = place.get(pair >> 32, -1) + 1
        names.append(
            f"{read.sources[pair >> 32]}-{number:05d}."
            f"{'parquet' if format == 'parquet' else 'jsonl.zst'}"
        )
    file, row = np.full(len(read), -1, np.int64), np.zeros(len(read), np.int64)
    file[rows] = file_of
    grouped = np.argsort(file_of, kind="stable")
    row[rows[grouped]] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return file, row, names


def write_kept(
    index: OpenIndex,
    read: Read,
    out: Store,
    file: Rows,
    names: list[str],
    fields: Fields,
    format: Format,
) -> list[FileRef]:
    """Write the kept documents of a batch, each to the file of its number; returns the files in
    that order.
    """
    documents = document_digest(read.ids, read.hashes)
    inputs = {
        "work": "index_kept",
        "version": 1,
        "index": index.store.root,
        "number": len(index.segments) + 1,
        "documents": documents,
    }
    with room_for_kept(out, KEPT_FOLDER), publish(out, KEPT_FOLDER, inputs) as unit:
        for place, name in enumerate(names):
            batches = _grouped(read, file == place)
            if format == "jsonl":
                write_lines(unit, name, ((batch, None) for batch in batches), fields)
            elif (first := next(batches, None)) is not None:
                write_parquet(unit, name, first.schema, itertools.chain([first], batches))
    return list(unit.files)


def _grouped(read: Read, mask: Any) -> Iterator[pa.RecordBatch]:
    """Documents in batches of about GROUP_BYTES."""
    for _, batch in read.batches(mask):
        step = max(1, batch.num_rows * GROUP_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)
