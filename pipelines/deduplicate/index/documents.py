"""The documents of a new batch: read once into a file beside the index, with the columns that
deciding takes in memory.

In memory a document takes about 200 bytes with 14 bands; its text lies in ``documents.arrow``
(uncompressed Arrow IPC, mapped) until the batch is in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.ids import as_words
from artifacts.ledger import Ledger
from artifacts.schemas import DOCUMENTS, ID, QUARANTINE, TEXT_HASH
from dedup.exact import keep_first
from dedup.index.columns import NewDocuments
from dedup.index.files import InputRecord
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.shingles import ShingleSets
from dedup.words import Hashes, Rows
from pipelines.chunks.reading import account, duplicates
from pipelines.corpus.keep_policy import keep_ranks, parse_keep_policy
from pipelines.deduplicate.index.readable import check_share, check_sources
from pipelines.executors.progress import Progress
from pipelines.readers import AUTO, Fields, InputFile, Limits, Span, discover, read

SPOOL = "documents.arrow"
KEEP_COLUMNS = ("bytes", "characters", "date")  # beside source_rank and id

_LIMITS = Limits(batch_bytes=8 << 20)

Keys = tuple[Hashes, NDArray[np.bool_]]


@dataclass(frozen=True)
class Read:
    """A batch as it was read, n documents in the order of sources, paths and offsets, no id twice.

    sources, files: names, and the files of all; source, file (n,): numbers in them; offset (n,).
    ids, hashes: 16 bytes each. keys, has_signature: as band_keys makes them. columns: those of a
    keep policy. spool: the file with all columns, ``starts`` the first row of each of its batches;
    ``row`` (n,): of each document in the spool. ledgers: of reading and of keys that came before.
    quarantine: records that are no documents.
    """

    sources: tuple[str, ...]
    files: tuple[tuple[str, InputFile], ...]
    source: Rows
    file: Rows
    offset: Rows
    ids: pa.FixedSizeBinaryArray
    hashes: pa.FixedSizeBinaryArray
    keys: Hashes
    has_signature: NDArray[np.bool_]
    columns: dict[str, pa.Array]
    spool: Path
    starts: Rows
    row: Rows
    ledgers: tuple[Ledger, ...]
    quarantine: pa.Table

    def __len__(self) -> int:
        return len(self.row)

    def priority(self, keep: str | None) -> Rows:
        """Rank of each document: in the order of reading, or by a policy. Raises: UserError for a
        policy that is none.
        """
        if keep is None:
            return np.arange(len(self), dtype=np.int64)
        policy = parse_keep_policy(keep, dict.fromkeys(KEEP_COLUMNS, "size"))
        columns: dict[str, Any] = {**self.columns, "source_rank": self.source}
        return keep_ranks(
            policy, as_words(self.ids), {name: columns[name] for name in policy.sort_columns()}
        )

    def new(self, order: Rows) -> NewDocuments:
        """The columns of a decision, in keep order."""
        return NewDocuments.of(self.ids, self.hashes, self.keys, self.has_signature).take(order)

    def batches(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[Rows, pa.RecordBatch]]:
        """Wanted documents (n,) with all their columns, in the order of reading, and which they
        are.
        """
        with pa.memory_map(str(self.spool)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                first, last = np.searchsorted(self.row, self.starts[number : number + 2])
                rows = first + np.flatnonzero(wanted[first:last])
                if len(rows):
                    yield (
                        rows,
                        reader.get_batch(number).take(
                            pa.array(self.row[rows] - self.starts[number])
                        ),
                    )

    def shingle_sets(
        self, wanted: NDArray[np.bool_], config: MinHashConfig
    ) -> tuple[Rows, list[ShingleSets]]:
        """Sets of the wanted documents, in parts, and whose they are."""
        rows, parts = [np.zeros(0, np.int64)], []
        for some, batch in self.batches(wanted):
            rows.append(some)
            parts.append(shingle_sets(batch["text"], config))
        return np.concatenate(rows), parts


def check_keep(keep: str | None) -> None:
    """Refuse a keep policy that is none, before anything is read. Raises: UserError."""
    if keep is not None:
        parse_keep_policy(keep, dict.fromkeys(KEEP_COLUMNS, "size"))


def input_records(read: Read, fields: Fields) -> list[InputRecord]:
    """The files of a batch as the index remembers them."""
    text, key = fields.text_field, fields.id_field
    return [
        InputRecord(
            source=name,
            path=file.path,
            url=file.url,
            format=file.format,
            text_field=text,
            id_field=key,
        )
        for name, file in read.files
    ]


def read_batch(
    sources: Mapping[str, Sequence[str]],
    fields: Fields,
    config: MinHashConfig,
    folder: Path,
    workers: int,
    progress: Progress,
    max_quarantined: float = 1.0,
) -> Read:
    """Read all files of some sources. ``folder``: for the spool; ``workers``: threads for band
    keys, beside the reading one. ``max_quarantined``: of a source's records; 1 never stops.

    Raises: UserError for files and sources that cannot be read, and when they hold no document.
    """
    check_share(max_quarantined)
    files = [
        (name, file)
        for name, patterns in sources.items()
        for file in discover(name, patterns, AUTO)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    ledger, parts = Ledger("read", units=len(files), computed=len(files)), _Parts()
    progress.phase("read", len(files), 0, sum(file.bytes for _, file in files))
    pending: deque[Future[Keys]] = deque()
    with (
        pa.OSFile(str(folder / SPOOL), "wb") as out,
        pa.ipc.new_file(out, DOCUMENTS) as writer,
        ThreadPoolExecutor(max(1, workers)) as pool,
    ):
        for number, (name, file) in enumerate(files):
            for batch in read(Span(file.url, file.path), file.format, name, fields, _LIMITS):
                account(ledger.entry(name), batch)
                parts.quarantine.append(batch.quarantine)
                if not batch.documents.num_rows:
                    continue
                writer.write_batch(batch.documents)
                parts.add(batch.documents, list(sources).index(name), number)
                pending.append(pool.submit(band_keys, batch.documents["text"], config))
                while len(pending) > 2 * workers:
                    parts.keys.append(pending.popleft().result())
            progress.advance(1, file.bytes)
        parts.keys += [future.result() for future in pending]
    ledger.check()
    progress.end([ledger])
    names, quarantine = tuple(sources), pa.Table.from_batches(parts.quarantine, QUARANTINE)
    check_sources(names, files, [ledger], quarantine, max_quarantined)
    if not parts.keys:
        raise _no_document(ledger)
    whole = _unique(parts.joined(names, tuple(files), folder / SPOOL, ledger, quarantine))
    check_sources(names, files, whole.ledgers, whole.quarantine, max_quarantined)
    return whole


def _no_document(ledger: Ledger) -> UserError:
    total = ledger.total()
    reasons = sorted({**total.dropped, **total.quarantined}.items())
    return UserError(
        "these files hold no document",
        parameter="paths",
        found=", ".join(f"{reason} {count.documents}" for reason, count in reasons) or "no records",
        fix="look at the first of them",
    )


def _unique(whole: Read) -> Read:
    """Move documents whose id came before into quarantine."""
    first, _, _ = keep_first(whole.ids, np.arange(len(whole)))
    ledger, sizes = Ledger("unique"), whole.columns["bytes"].to_numpy()
    for number, name in enumerate(whole.sources):
        entry, here = ledger.entry(name), whole.source == number
        for count, mask in ((entry.entered, here), (entry.kept, here & first)):
            count.add(int(mask.sum()), int(sizes[mask].sum()))
        again = here & ~first
        if again.any():
            entry.quarantine("duplicate_key", int(again.sum()), int(sizes[again].sum()))
    ledger.check()
    if first.all():
        return replace(whole, ledgers=(*whole.ledgers, ledger))
    again = [
        duplicates(pa.Table.from_batches([batch]), _LIMITS.quarantine_bytes)
        for _, batch in whole.batches(~first)
    ]
    mask = pa.array(first)
    return replace(
        whole,
        **{
            name: getattr(whole, name)[first]
            for name in ("source", "file", "offset", "keys", "has_signature", "row")
        },
        ids=whole.ids.filter(mask),
        hashes=whole.hashes.filter(mask),
        ledgers=(*whole.ledgers, ledger),
        columns={name: column.filter(mask) for name, column in whole.columns.items()},
        quarantine=pa.concat_tables([whole.quarantine, *again]),
    )


class _Parts:
    """Columns of the batches read so far."""

    def __init__(self) -> None:
        self.keys: list[Keys] = []
        self.quarantine: list[pa.RecordBatch] = []
        self._columns: list[pa.RecordBatch] = []

    def add(self, documents: pa.RecordBatch, source: int, file: int) -> None:
        count, text = documents.num_rows, documents["text"]
        columns = {
            "id": documents["id"],
            "text_hash": documents["text_hash"],
            "source": pa.array(np.full(count, source, np.int64)),
            "file": pa.array(np.full(count, file, np.int64)),
            "offset": documents["offset"],
            "bytes": pc.binary_length(text).cast(pa.int64()),
            "characters": pc.utf8_length(text).cast(pa.int64()),
            "date": documents["date"],
        }
        self._columns.append(pa.record_batch(columns))

    def joined(
        self,
        sources: tuple[str, ...],
        files: tuple[tuple[str, InputFile], ...],
        spool: Path,
        ledger: Ledger,
        quarantine: pa.Table,
    ) -> Read:
        table = pa.Table.from_batches(self._columns).combine_chunks()
        starts = np.cumsum([0, *[batch.num_rows for batch in self._columns]]).astype(np.int64)
        whole = {name: table[name].combine_chunks() for name in table.column_names}
        whole = {
            name: column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            for name, column in whole.items()
        }
        assert (whole["id"].type, whole["text_hash"].type) == (ID, TEXT_HASH)
        numbers = {name: whole[name].to_numpy() for name in ("source", "file", "offset")}
        return Read(
            sources,
            files,
            **numbers,
            ids=whole["id"],
            hashes=whole["text_hash"],
            keys=np.concatenate([keys for keys, _ in self.keys]),
            has_signature=np.concatenate([signed for _, signed in self.keys]),
            columns={name: whole[name] for name in KEEP_COLUMNS},
            spool=spool,
            starts=starts,
            row=np.arange(table.num_rows),
            ledgers=(ledger,),
            quarantine=quarantine,
        )
