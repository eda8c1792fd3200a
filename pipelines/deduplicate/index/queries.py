"""Questions to an index that change nothing: what documents resemble, and what became of a
document.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.commands import Command
from artifacts.errors import UserError
from dedup.index.columns import find16, halves
from dedup.index.decide import EXACT, NEAR, REASONS, find_candidates, matches
from dedup.index.segments import kept_positions
from pipelines.deduplicate.index.documents import Read, read_batch
from pipelines.deduplicate.index.opened import OpenIndex
from pipelines.deduplicate.index.texts import arranged, candidate_sets
from pipelines.deduplicate.sources import named_sources
from pipelines.executors.progress import Progress, Silent
from pipelines.readers import Fields

MATCHES = pa.schema(
    [
        ("id", pa.string()),
        ("native_id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("reason", pa.string()),
        ("similarity", pa.float32()),
        ("bands_hit", pa.int32()),
        ("kept_batch", pa.int64()),
        ("kept_id", pa.string()),
        ("kept_native_id", pa.string()),
        ("kept_file", pa.string()),
        ("kept_row", pa.int64()),
    ]
)


def match_documents(
    index: str,
    paths: Sequence[str],
    *,
    text_field: str = "text",
    id_field: str | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> pa.Table:
    """The kept documents of an index that documents of files resemble, schema MATCHES; nothing is
    written.

    One row per pair at least as similar as the index's threshold, by document, the most similar
    first; exact copies have reason ``exact_duplicate``. Documents that match nothing have no row. A
    document that is in the index and kept matches itself.
    """
    fields = Fields(id_field=id_field, text_field=text_field)
    opened = OpenIndex.at(index)
    sources = named_sources(paths, fields, None, ())
    with tempfile.TemporaryDirectory() as folder:
        read = read_batch(
            sources,
            fields,
            opened.head.settings.config,
            Path(folder),
            workers,
            progress or Silent(),
        )
        return _matches(opened, read)


def find_document(index: str, identity: str) -> dict[str, Any]:
    """What an index knows of a document: ``id`` (32 hex digits), whether it was ``kept``, its
    ``batch``; of a removed one the reason, similarity and the kept one that stands for it; of a
    kept one the ids of those removed for it.

    Raises: UserError for an id that is none, or that the index does not have.
    """
    opened = OpenIndex.at(index)
    try:
        wanted = halves(pa.array([bytes.fromhex(identity)], pa.binary(16)))
    except (ValueError, pa.ArrowInvalid):
        raise UserError(
            "not an id",
            parameter="id",
            found=identity,
            fix="give 32 hex digits, as evidence.parquet has them",
        ) from None
    columns = opened.columns
    number = int(find16([segment.ids for segment in columns], wanted)[0])
    if number >= 0:
        (batch,), (row,) = kept_positions(opened.segments, np.array([number]))
        gone = []
        for segment in columns:
            here = (segment.removed.batch == batch) & (segment.removed.row == row)
            gone += [value.tobytes().hex() for value in segment.removed.ids[here]]
        return {
            "id": identity,
            "kept": True,
            **_place(opened, int(batch), int(row)),
            "stands_for": gone,
        }
    number = int(find16([segment.removed.ids for segment in columns], wanted)[0])
    if number < 0:
        raise UserError(
            "no such document in this index",
            file=opened.store.root,
            parameter="id",
            found=identity,
            fix=(Command("dedup index list INDEX"), " says which batches there are"),
        )
    starts = np.cumsum([0, *[len(segment.removed.ids) for segment in columns]])
    batch = int(np.searchsorted(starts, number, side="right") - 1)
    removed, row = columns[batch].removed, number - int(starts[batch])
    standing = _place(opened, int(removed.batch[row]), int(removed.row[row]))
    reason, similarity = REASONS[removed.reason[row]], float(removed.similarity[row])
    own = {
        "id": identity,
        "kept": False,
        "batch": opened.head.batches[batch].number,
        "reason": reason,
        "similarity": similarity,
    }
    return {**own, **{f"kept_{name}": value for name, value in standing.items()}}


def _place(opened: OpenIndex, batch: int, row: int) -> dict[str, Any]:
    """Where a kept document is."""
    record, stored = opened.head.batches[batch], opened.segments[batch]
    file = record.texts.url(record.texts.files[stored.file[row]])
    return {
        "id": stored.segment.ids[row].tobytes().hex(),
        "batch": record.number,
        "file": file,
        "row": int(stored.row[row]),
    }


def _matches(opened: OpenIndex, read: Read) -> pa.Table:
    settings = opened.head.settings
    new = read.new(np.arange(len(read)))
    found = find_candidates(opened.columns, new, settings.max_comparisons, alone=True)
    copied = np.flatnonzero(found.reason == EXACT)
    old, names = candidate_sets(
        opened.head.batches,
        opened.segments,
        found.earlier,
        np.unique(found.stands[copied]),
        settings.config,
    )
    rows, parts = read.shingle_sets(found.wanted, settings.config)
    pairs = matches(found, old, arranged(rows, parts, len(read)), settings.verify)
    told = (found.reason[pairs["row"]] == EXACT) & (found.stands[pairs["row"]] == pairs["earlier"])
    pairs = {name: values[~told] for name, values in pairs.items()}
    row = np.concatenate([copied, pairs["row"]])
    number = np.concatenate([found.stands[copied], pairs["earlier"]])
    similarity = np.concatenate([found.similarity[copied], pairs["similarity"]])
    hits = np.concatenate([np.zeros(len(copied), np.int32), pairs["bands_hit"]])
    reason = [REASONS[EXACT]] * len(copied) + [REASONS[NEAR]] * len(pairs["row"])
    order = np.argsort(row, kind="stable")
    native: dict[int, tuple[str | None, str]] = {}
    for some, documents in read.batches(np.isin(np.arange(len(read)), row)):
        values = zip(documents["native_id"].to_pylist(), documents["path"].to_pylist(), strict=True)
        native |= dict(zip(some.tolist(), values, strict=True))
    batch, place = kept_positions(opened.segments, number)
    lines = []
    for k in order.tolist():
        kept = {
            f"kept_{name}": value
            for name, value in _place(opened, int(batch[k]), int(place[k])).items()
        }
        own, path = native[int(row[k])]
        lines.append(
            {
                "id": new.ids[row[k]].tobytes().hex(),
                "native_id": own,
                "source": read.sources[read.source[row[k]]],
                "path": path,
                "offset": int(read.offset[row[k]]),
                "reason": reason[k],
                "similarity": float(similarity[k]),
                "bands_hit": int(hits[k]),
                **kept,
                "kept_native_id": names.get(int(number[k])),
            }
        )
    return pa.Table.from_pylist(lines, MATCHES)
