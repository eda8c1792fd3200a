"""An index of deduplicated documents to which batches are added: each loses what resembles anything
before it.

    from pipelines.deduplicate.index.changes import add_batch
    from pipelines.deduplicate.index.queries import match_documents

    monday = add_batch("index", ["crawl/monday/*.jsonl.zst"], "kept/monday")
    tuesday = add_batch("index", ["crawl/tuesday/*.jsonl.zst"], "kept/tuesday")
    print(tuesday.counts, tuesday.bytes_per_document)
    print(match_documents("index", ["draft.jsonl"]).to_pylist())

The index holds ids, hashes and band keys (:mod:`dedup.index.files`), at most 160 bytes per document
with 14 bands; the texts that new ones are compared with are read again from the kept documents each
batch wrote, so these have to stay where they are. Adding costs, beside reading the batch, one pass
over the index's keys (1.1 GB per 10 million documents) and the texts of candidates. Batches one
after another keep what one run keeps whose keep order is (batch, order in the batch); see
:mod:`dedup.index.decide`.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.commands import Command
from artifacts.errors import Setting, Text, UserError
from artifacts.ledger import Count
from artifacts.paths import Store
from dedup.index.decide import EXACT, KEPT, NEAR, REASONS
from dedup.index.files import (
    HEAD,
    BatchRecord,
    IndexHead,
    read_head,
    write_head,
    writing,
)
from dedup.index.segments import check_files, document_digest, segment_bytes
from dedup.near.settings import INPUT_ORDER
from pipelines.deduplicate.index.decide import decide_batch, publish_batch
from pipelines.deduplicate.index.documents import Read, check_keep, input_records, read_batch
from pipelines.deduplicate.index.merge import check_settings, decide_merge
from pipelines.deduplicate.index.opened import OpenIndex, existing_index
from pipelines.deduplicate.index.output import Format, check_output, check_unused
from pipelines.deduplicate.index.settled import settled
from pipelines.deduplicate.index.texts import check_texts
from pipelines.deduplicate.sources import check_format, named_sources, output_store
from pipelines.executors.progress import Progress, Silent
from pipelines.readers import Fields
from pipelines.recipe.fields import MAX_QUARANTINED_SHARE

FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True)
class AddOutcome:
    """What became of a batch.

    ``batch``: its number; of the batch that holds the same documents if it was ``repeated``; None
    when nothing of it was new. ``entered``, ``counts``: records read, and documents by outcome
    (``kept``, ``exact_duplicate``, ``near_duplicate``, ``repeated``: there with the same text,
    ``duplicate_key``: there with another). ``not_read`` by reason. ``files``: of kept documents.
    ``facts`` of the comparison. ``documents``, ``index_bytes``: of the whole index afterwards.
    ``seconds``: wall time.
    """

    index: str
    output: str
    batch: int | None
    repeated: bool
    entered: int
    counts: dict[str, int]
    not_read: dict[str, Count]
    files: tuple[str, ...]
    facts: dict[str, int]
    documents: int
    index_bytes: int
    seconds: float

    @property
    def bytes_per_document(self) -> float:
        """Of the index's tables, kept and removed documents together."""
        return self.index_bytes / max(1, self.documents)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        plain = {
            **self.__dict__,
            "bytes_per_document": round(self.bytes_per_document, 2),
            "seconds": round(self.seconds, 3),
        }
        plain["not_read"] = {
            reason: count.to_json() for reason, count in sorted(self.not_read.items())
        }
        return {**plain, "files": list(self.files)}


def add_batch(
    index: str,
    paths: Sequence[str],
    output: str,
    *,
    name: str | None = None,
    keep: str | None = None,
    max_quarantined: float = MAX_QUARANTINED_SHARE,
    text_field: str = "text",
    id_field: str | None = None,
    format: str = "parquet",
    workers: int = 1,
    progress: Progress | None = None,
    **settings: int | float | None,
) -> AddOutcome:
    """Add the documents of files, one batch, to an index, made if it is not there; write those that
    are kept under ``output``.

    ``settings``: ngrams, bands, rows, seed, verify, max_comparisons (:mod:`dedup.near.settings`);
    they are the index's and hold for all its batches. ``name`` begins the names
    of sources, which are otherwise those of folders: ids depend on the source, and a document whose
    id is there is not added. ``keep``: which copy in the batch stays, columns ``bytes``,
    ``characters``, ``date``, ``source_rank``, ``id``; by default the first that is read.
    ``max_quarantined``: of the records of a source that may be unreadable; more stop the call, and
    nothing is added. ``format`` of the kept documents: parquet, or jsonl (zstd), of which whole
    files are read when texts are compared. ``workers``: threads that hash. Writes ``kept/``,
    ``evidence.parquet``, ``quarantine.parquet`` and ``ledger.json``.

    A call that is repeated, after a kill or by mistake, changes nothing: a batch with the same
    documents is recognised.
    Raises: UserError naming the file or the parameter (``field``).
    """
    started = time.monotonic()
    fields, kind = Fields(id_field=id_field, text_field=text_field), _format(format)
    check_keep(keep)
    store, out = Store(index.rstrip("/") or "/"), output_store(output)
    settled(store, read_head(store), settings)
    sources = _named(named_sources(paths, fields, out, ("kept",)), name)
    with writing(store):
        opened = OpenIndex.of(store, settled(store, read_head(store), settings))
        own = opened.head.settings
        check_output(opened, out)
        with _reading(store) as folder:
            read = read_batch(
                sources, fields, own.config, folder, workers, progress or Silent(), max_quarantined
            )
            twin = _twin(opened.head, read)
            if twin is not None:
                return _outcome(opened, out, read, twin, True, {"repeated": len(read)}, started)
            check_unused(opened, out)
            decided = decide_batch(opened, read, read.priority(keep))
            if not np.isin(decided.decision.reason, [KEPT, EXACT, NEAR]).any():
                counts = {reason: len(decided.rows(code)) for code, reason in enumerate(REASONS)}
                return _outcome(opened, out, read, None, False, counts, started)
            record = publish_batch(
                opened, decided, out, fields, kind, keep or INPUT_ORDER, input_records(read, fields)
            )
    after = IndexHead(settings=own, batches=[*opened.head.batches, record])
    return _outcome(OpenIndex(store, after, []), out, read, record, False, record.counts, started)


def merge_index(index: str, other: str, output: str, *, format: str = "parquet") -> AddOutcome:
    """Add the documents of another index as one batch, which is left as it is; what of them is kept
    is written under ``output``.

    The documents kept are those that adding the other index's batches after this one's would keep
    (:mod:`pipelines.deduplicate.index.merge`).
    Raises: UserError naming what is wrong; among it a file of removed documents that is needed
    again and gone.
    """
    started = time.monotonic()
    kind, out = _format(format), output_store(output)
    store = existing_index(index)
    theirs = OpenIndex.at(other)
    with writing(store):
        opened = OpenIndex.at(index)
        check_settings(opened, theirs)
        check_output(opened, out)
        check_unused(theirs, out)
        with _reading(store) as folder:
            decided, rest, inputs = decide_merge(opened, theirs, folder)
            fields = (
                Fields(id_field=inputs[0].id_field, text_field=inputs[0].text_field)
                if inputs
                else Fields()
            )
            if not np.isin(decided.decision.reason, [KEPT, EXACT, NEAR]).any():
                counts = {reason: len(decided.rows(code)) for code, reason in enumerate(REASONS)}
                return _outcome(opened, out, decided.read, None, False, counts, started)
            check_unused(opened, out)
            record = publish_batch(
                opened, decided, out, fields, kind, f"as in {theirs.store.root}", inputs, rest
            )
    after = IndexHead(settings=opened.head.settings, batches=[*opened.head.batches, record])
    return _outcome(
        OpenIndex(store, after, []), out, decided.read, record, False, record.counts, started
    )


def roll_back(index: str, batch: int | None = None, *, cascade: bool = False) -> list[BatchRecord]:
    """Take a batch back, by default the last: the index is then as if it had never been added. Its
    kept documents stay where they are.

    Later batches were decided against it, so an earlier one is refused unless ``cascade`` takes
    those back too (then they can be added again). Returns the batches taken back, last first.
    Raises: UserError naming what is wrong.
    """
    store = existing_index(index)
    with writing(store):
        head = read_head(store)
        assert head is not None
        numbers = [record.number for record in head.batches]
        if not numbers:
            raise UserError(
                "this index has no batch", file=store.root, parameter="batch", fix="add one first"
            )
        first = numbers[-1] if batch is None else batch
        if first not in numbers:
            raise UserError(
                "no such batch",
                file=store.root,
                parameter="batch",
                found=first,
                allowed=numbers,
                fix=(Command("dedup index list INDEX"), " says which there are"),
            )
        if first != numbers[-1] and not cascade:
            later = ", ".join(str(number) for number in numbers[first:])
            fix: Text = ("take those back too (", Setting("cascade", True), ") and add them again")
            raise UserError(
                f"later batches were decided against this one: {later}",
                file=store.root,
                parameter="batch",
                found=first,
                fix=fix,
            )
        gone = head.batches[first - 1 :]
        write_head(store, head.model_copy(update={"batches": head.batches[: first - 1]}))
        for record in reversed(gone):
            store.delete(record.segment)
    return gone[::-1]


def describe_index(index: str, *, check: bool = False) -> dict[str, Any]:
    """Settings, batches and size of an index. ``check``: read all its files and those of the kept
    documents and hold them against their checksums. Raises: UserError naming a file that is gone or
    differs.
    """
    store = existing_index(index)
    head = read_head(store)
    assert head is not None
    if check:
        for record in head.batches:
            check_files(store, record)
            check_texts(record)
    else:
        OpenIndex.of(store, head)
    rows = [
        {
            "batch": record.number,
            **record.counts,
            "keep": record.keep,
            "bytes": segment_bytes(store, record),
            "texts": record.texts.folder,
        }
        for record in head.batches
    ]
    documents, size = _documents(head), _bytes(store, head)
    totals = {
        "documents": documents,
        "kept": sum(record.counts["kept"] for record in head.batches),
        "bytes": size,
    }
    return {
        "index": store.root,
        "settings": head.settings.model_dump(),
        "batches": rows,
        **totals,
        "bytes_per_document": round(size / max(1, documents), 2),
        "checked": check,
    }


# -- parts --------------------------------------------------------------------------------------


def _format(format: str) -> Format:
    check_format(format, FORMATS)
    return "parquet" if format == "parquet" else "jsonl"


def _named(sources: dict[str, list[str]], name: str | None) -> dict[str, list[str]]:
    """Sources under names that begin with a given one. Raises: UserError for a name that is
    none.
    """
    if name is None:
        return sources
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise UserError(
            "not a name",
            parameter="name",
            found=name,
            fix="use letters, digits, dots, dashes and underscores, at most 80",
        )
    return {f"{name}-{source}": patterns for source, patterns in sources.items()}


@contextmanager
def _reading(store: Store) -> Iterator[Path]:
    """A folder for the documents of a batch while it is added: in the index, where the next writer
    removes what a killed one left.
    """
    if not store.local:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    try:
        yield Path(store.full("reading"))
    finally:
        store.delete("reading")


def _twin(head: IndexHead, read: Read) -> BatchRecord | None:
    digest = document_digest(read.ids, read.hashes)
    return next((record for record in head.batches if record.documents == digest), None)


def _documents(head: IndexHead) -> int:
    return sum(
        record.counts[name]
        for record in head.batches
        for name in ("kept", "exact_duplicate", "near_duplicate")
    )


def _bytes(store: Store, head: IndexHead) -> int:
    return (store.size(HEAD) or 0) + sum(segment_bytes(store, record) for record in head.batches)


def _outcome(
    opened: OpenIndex,
    out: Store,
    read: Read,
    record: BatchRecord | None,
    repeated: bool,
    counts: dict[str, int],
    started: float,
) -> AddOutcome:
    not_read: dict[str, Count] = {}
    for ledger in read.ledgers:
        total = ledger.total()
        for reason, count in [*total.dropped.items(), *total.quarantined.items()]:
            not_read.setdefault(reason, Count()).add(count.documents, count.bytes)
    new = record is not None and not repeated
    return AddOutcome(
        opened.store.root,
        out.root,
        None if record is None else record.number,
        repeated,
        read.ledgers[0].total().entered.documents,
        {reason: counts.get(reason, 0) for reason in REASONS},
        not_read,
        tuple(ref.name for ref in record.texts.files) if record is not None and new else (),
        record.facts if record is not None and new else {},
        _documents(opened.head),
        _bytes(opened.store, opened.head),
        time.monotonic() - started,
    )
