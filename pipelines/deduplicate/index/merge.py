"""Merging two indexes: the documents of the other one are added as one batch, in its keep order, so
the first one's always win.

Band keys and texts of what the other index kept are there; nothing is hashed again. A document that
it removed stays removed as long as the one that stands for it stays. Where that one now goes, the
removed document has to be decided on anew: its text is read from the file it once came from. This
is repeated until nothing changes, and then the documents kept are those that adding the other
index's batches one after another would keep. (Where ``max_comparisons`` binds, adding them could
look at others: a document that was removed in favour of one that stays is not compared again.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.ids import text_hashes
from artifacts.ledger import Ledger
from artifacts.schemas import DOCUMENTS, FORMAT_KEY, QUARANTINE
from dedup.index.columns import Removed, as_bytes, find16
from dedup.index.files import BatchRecord, InputRecord, TextFile
from dedup.near.minhash import MinHashConfig, band_keys
from dedup.words import Hashes, Rows
from pipelines.deduplicate.index.decide import Decided, Rest, decide_batch
from pipelines.deduplicate.index.documents import SPOOL, Read
from pipelines.deduplicate.index.opened import OpenIndex
from pipelines.deduplicate.index.texts import present
from pipelines.readers import Fields, InputFile, Span, read
from pipelines.readers.streams.opened import open_input


@dataclass(frozen=True)
class Other:
    """The documents of an index, kept ones first, in the order of batches, files and rows, then
    removed ones by batch.

    rank (n,): keep order over all batches. stands (removed,): row, among the kept, of who stands
    for it. input, offset (n,): number in ``inputs`` and place in it where the text lies.
    """

    kept: int
    ids: Hashes
    hashes: Hashes
    keys: Hashes
    rank: Rows
    stands: Rows
    removed: Removed
    input: Rows
    offset: Rows
    inputs: list[InputRecord]


def check_settings(index: OpenIndex, other: OpenIndex) -> None:
    """Refuse an index that compares by other numbers, or is the same one. Raises: UserError."""
    if index.store.root == other.store.root:
        raise UserError(
            "an index cannot be merged with itself",
            file=index.store.root,
            parameter="other",
            fix="name another one",
        )
    ours, theirs = index.head.settings.model_dump(), other.head.settings.model_dump()
    for name, value in ours.items():
        if theirs[name] != value:
            fix = f"make one of them anew with {name} as the other has it"
            message = "the two indexes compare by different numbers"
            raise UserError(
                message,
                file=other.store.root,
                parameter=name,
                found=theirs[name],
                allowed=[value],
                fix=fix,
            )


def decide_merge(
    index: OpenIndex, other: OpenIndex, folder: Path
) -> tuple[Decided, Rest, list[InputRecord]]:
    """Decide on all documents of another index. ``folder``: for their texts while it lasts.

    Raises: UserError naming a file of kept documents, or of those once removed, that is needed and
    gone or changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = list(_kept_documents(other))
    theirs = _other(other, documents)
    listed = (
        find16(
            [part for segment in index.columns for part in (segment.ids, segment.removed.ids)],
            theirs.ids[theirs.kept :],
        )
        >= 0
    )
    # removed documents, among themselves, that are decided on anew
    again: Rows = np.zeros(0, np.int64)
    orphans: list[pa.RecordBatch] = []
    while True:
        batch = _read(theirs, documents, again, orphans, folder, index.head.settings.config)
        rows = np.concatenate([np.arange(theirs.kept), theirs.kept + again])
        priority = np.empty(len(rows), np.int64)
        priority[np.argsort(theirs.rank[rows])] = np.arange(len(rows))
        decided = decide_batch(index, batch, priority)
        stays = decided.decision.kept[priority[: theirs.kept]]
        needed = ~stays[theirs.stands] & ~listed
        needed[again] = False
        more = np.flatnonzero(needed)
        if not len(more):
            break
        orphans += _input_documents(theirs, theirs.kept + more)
        again = np.concatenate([again, more])
    left = ~listed
    left[again] = False
    rest = Rest(
        _taken(theirs.removed, left),
        priority[theirs.stands[left]],
        theirs.rank[theirs.kept :][left],
        theirs.input[theirs.kept :][left],
        theirs.offset[theirs.kept :][left],
        theirs.rank[rows][decided.order],
    )
    return decided, rest, theirs.inputs


def _taken(removed: Removed, mask: NDArray[np.bool_]) -> Removed:
    return Removed(*(getattr(removed, name)[mask] for name in Removed.__dataclass_fields__))


def _kept_documents(other: OpenIndex) -> Iterator[pa.RecordBatch]:
    """Kept documents of an index in the order of batches, files and rows, under their ids; one
    record batch per file.
    """
    for record, stored in zip(other.head.batches, other.segments, strict=True):
        place = np.lexsort((stored.row, stored.file))
        start = 0
        for ref in record.texts.files:
            present(record, ref)
            origin = _origin(record, ref)
            rows = place[start : start + ref.rows]
            start += ref.rows
            try:
                documents = list(_documents(origin))
            except pa.ArrowException as error:
                raise _needed(origin, f"a file that cannot be read: {error}") from None
            yield _identified(
                documents, stored.segment.ids[rows], stored.segment.hashes[rows], origin
            )


def _other(other: OpenIndex, documents: Sequence[pa.RecordBatch]) -> Other:
    columns, segments = [stored.segment for stored in other.segments], other.segments
    places = [np.lexsort((stored.row, stored.file)) for stored in segments]
    row_of, ranks, gone_ranks, before, ranked = [], [], [], 0, 0
    for stored, place in zip(segments, places, strict=True):
        total = len(stored.segment) + len(stored.place)
        kept_ranks = np.setdiff1d(np.arange(total), stored.place)
        ranks.append(ranked + kept_ranks[place])
        gone_ranks.append(ranked + stored.place.astype(np.int64))
        inverse = np.empty(len(place), np.int64)
        inverse[place] = np.arange(len(place))
        row_of.append(before + inverse)
        before, ranked = before + len(place), ranked + total
    inputs, numbers, offsets = _texts(other)
    first_input = np.cumsum([len(inputs), *[len(record.inputs) for record in other.head.batches]])
    gone_input = [
        stored.input.astype(np.int64) + first
        for stored, first in zip(segments, first_input, strict=False)
    ]
    inputs += [record for batch in other.head.batches for record in batch.inputs]
    removed = Removed(
        *(
            _joined([getattr(part.removed, name) for part in columns], name)
            for name in Removed.__dataclass_fields__
        )
    )
    stands = [
        row_of[batch][row]
        for batch, row in zip(removed.batch.tolist(), removed.row.tolist(), strict=True)
    ]
    kept_keys = [
        np.stack(part.bands, 1)[place] for part, place in zip(columns, places, strict=True)
    ]
    width = other.head.settings.bands
    return Other(
        before,
        np.concatenate(
            [
                np.zeros((0, 2), np.uint64),
                *[part.ids[place] for part, place in zip(columns, places, strict=True)],
                removed.ids,
            ]
        ),
        np.concatenate(
            [
                np.zeros((0, 2), np.uint64),
                *[part.hashes[place] for part, place in zip(columns, places, strict=True)],
                removed.hashes,
            ]
        ),
        np.concatenate([np.zeros((0, width), np.uint64), *kept_keys]),
        np.concatenate([np.zeros(0, np.int64), *ranks, *gone_ranks]),
        np.array(stands, np.int64),
        removed,
        np.concatenate([numbers, *gone_input]),
        np.concatenate([offsets, *[stored.offset.astype(np.int64) for stored in segments]]),
        inputs,
    )


def _joined(parts: list[NDArray[Any]], name: str) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.asarray(getattr(Removed.none(), name))


def _texts(other: OpenIndex) -> tuple[list[InputRecord], Rows, Rows]:
    """The files of kept documents as inputs, and of each kept document its file and row."""
    inputs: list[InputRecord] = []
    numbers, offsets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for record in other.head.batches:
        for ref in record.texts.files:
            numbers.append(np.full(ref.rows, len(inputs)))
            offsets.append(np.arange(ref.rows))
            inputs.append(_origin(record, ref))
    return inputs, np.concatenate(numbers), np.concatenate(offsets)


def _origin(record: BatchRecord, ref: TextFile) -> InputRecord:
    """A file of kept documents as an input."""
    texts, source = record.texts, ref.name.rsplit("/", 1)[-1].rsplit("-", 1)[0]
    return InputRecord(
        source=source,
        path=ref.name,
        url=texts.url(ref),
        format=f"kept {texts.format}",
        text_field=texts.text_field,
        id_field=texts.id_field,
    )


def _documents(origin: InputRecord) -> Iterator[pa.RecordBatch]:
    """Documents of one file, ``offset`` being where the index looks for them: of kept documents
    their row.
    """
    kind = origin.format.removeprefix("kept ")
    if kind == "parquet" and origin.text_field == "text":
        with open_input(origin.url) as file, _readable(origin):
            source = pq.ParquetFile(file)
            mark = (source.schema_arrow.metadata or {}).get(FORMAT_KEY)
            groups = source.num_row_groups if mark == DOCUMENTS.metadata[FORMAT_KEY] else None
            for group in range(groups or 0):
                table = source.read_row_group(group, use_threads=False).cast(DOCUMENTS)
                table.validate(full=True)
                yield from table.combine_chunks().to_batches()
        if groups is not None:
            return
    fields = Fields(id_field=origin.id_field, text_field=origin.text_field)
    for batch in read(Span(origin.url, origin.path), kind, origin.source, fields):
        yield batch.documents


@contextmanager
def _readable(origin: InputRecord) -> Iterator[None]:
    """Raises: UserError for what Arrow finds wrong with a file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _needed(origin, str(error)) from None


def _input_documents(theirs: Other, rows: Rows) -> list[pa.RecordBatch]:
    """Documents that were removed, read again from where they came from, in the order of
    ``rows``.
    """
    found: dict[int, pa.RecordBatch] = {}
    for number in np.unique(theirs.input[rows]).tolist():
        origin, here = theirs.inputs[number], rows[theirs.input[rows] == number]
        wanted, at = theirs.offset[here], 0
        parts: list[tuple[Rows, pa.RecordBatch]] = []
        for batch in _documents(origin):
            by_row = origin.format.startswith("kept ")
            offsets = at + np.arange(batch.num_rows) if by_row else batch["offset"].to_numpy()
            at += batch.num_rows
            inside = np.isin(offsets, wanted)
            if inside.any():
                parts.append((offsets[inside], batch.filter(pa.array(inside))))
        place = {
            int(offset): (part, row)
            for part, (some, _) in enumerate(parts)
            for row, offset in enumerate(some.tolist())
        }
        for document, offset in zip(here.tolist(), wanted.tolist(), strict=True):
            if offset not in place:
                raise _needed(origin, f"no document at {offset}")
            part, row = place[offset]
            ids, hashes = (
                theirs.ids[document : document + 1],
                theirs.hashes[document : document + 1],
            )
            found[document] = _identified([parts[part][1].slice(row, 1)], ids, hashes, origin)
    return [found[document] for document in rows.tolist()]


def _identified(
    parts: list[pa.RecordBatch], ids: Hashes, hashes: Hashes, origin: InputRecord
) -> pa.RecordBatch:
    """Documents as one record batch under the ids the index has. Raises: UserError for other texts
    than the index knows.
    """
    table = pa.Table.from_batches(parts, DOCUMENTS).combine_chunks()
    batch = table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], DOCUMENTS)
    if batch.num_rows != len(ids) or not text_hashes(batch["text"]).equals(as_bytes(hashes)):
        raise _needed(origin, "other documents than when they were added")
    columns = {
        **{name: batch[name] for name in DOCUMENTS.names},
        "id": as_bytes(ids),
        "text_hash": as_bytes(hashes),
    }
    return pa.record_batch([columns[name] for name in DOCUMENTS.names], schema=DOCUMENTS)


def _needed(origin: InputRecord, found: str) -> UserError:
    return UserError(
        "this file holds documents of the other index that have to be compared again, and is no "
        "longer what it was",
        file=origin.url,
        parameter="other",
        found=found,
        fix=(
            "bring it back as it was, or add the other index's inputs to this one in place of "
            "merging"
        ),
    )


def _read(
    theirs: Other,
    documents: Sequence[pa.RecordBatch],
    again: Rows,
    orphans: list[pa.RecordBatch],
    folder: Path,
    config: MinHashConfig,
) -> Read:
    """The documents to decide on, as if they had been read: kept ones, then removed ones that are
    decided on again.
    """
    batches = [batch for batch in (*documents, *orphans) if batch.num_rows]
    with pa.OSFile(str(folder / SPOOL), "wb") as out, pa.ipc.new_file(out, DOCUMENTS) as writer:
        for batch in batches:
            writer.write_batch(batch)
    rows = np.concatenate([np.arange(theirs.kept), theirs.kept + again])
    names = (
        pa.chunked_array([batch["source"] for batch in batches], pa.string())
        .combine_chunks()
        .dictionary_encode()
    )
    names = names.chunk(0) if isinstance(names, pa.ChunkedArray) else names
    texts = [batch["text"] for batch in batches]
    keys, signed = [theirs.keys], [(theirs.keys != 0).any(axis=1)]
    for batch in orphans:
        own, has = band_keys(batch["text"], config)
        keys.append(own)
        signed.append(has)
    sizes = pa.chunked_array(
        [pc.binary_length(text) for text in texts], pa.int64()
    ).combine_chunks()
    source = names.indices.to_numpy().astype(np.int64)
    ledger, weights = Ledger("read"), sizes.to_numpy()
    for number, name in enumerate(names.dictionary.to_pylist()):
        for count in (ledger.entry(name).entered, ledger.entry(name).kept):
            count.add(int((source == number).sum()), int(weights[source == number].sum()))
    files = tuple(
        (record.source, InputFile(record.url, record.path, 0, record.format))
        for record in theirs.inputs
    )
    return Read(
        tuple(names.dictionary.to_pylist()), files, source, theirs.input[rows], theirs.offset[rows],
        as_bytes(theirs.ids[rows]), as_bytes(theirs.hashes[rows]), np.concatenate(keys),
        np.concatenate(signed), {"bytes": sizes}, folder / SPOOL,
        np.cumsum([0, *[batch.num_rows for batch in batches]]).astype(np.int64),
        np.arange(len(rows)), (ledger,), QUARANTINE.empty_table(),
    )  # fmt: skip
