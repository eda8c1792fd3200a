"""Near-duplicate removal as steps of datatrove pipelines: sign, decide, filter.

    reader = JsonlReader("data/")
    signed = LocalPipelineExecutor([reader, MinHashSignatures("dedup/")], tasks=8)
    decided = LocalPipelineExecutor([MinHashDecision("dedup/", [reader])], tasks=1, depends=signed)
    LocalPipelineExecutor(
        [reader, MinHashFilter("dedup/"), JsonlWriter("kept/")], tasks=8, depends=decided
    ).run()

A comparison needs the keys of all documents, so it stands between two passes over them, as with
datatrove's own deduplication. What it does is what the stage ``minhash_dedup`` does: bands find
candidates, whose texts are read again and compared exactly, and one is removed only if a document
that stays resembles it. Documents are known by rank and place: the steps before the signatures,
before the filter, and those given to the decision have to yield the same documents in the same
order under the same number of tasks, which is checked by their ids.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.typeshelper import StatHints
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key
from artifacts.paths import Store
from dedup.near.lsh import candidate_groups
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.near.settings import DEFAULTS
from dedup.near.verify import greedy_keep
from dedup.shingles import ShingleSets
from pipelines.datatrove.dedup_tables import (
    keep_order,
    keys_of,
    read_decision,
    read_signatures,
    whole,
    write_decision,
    write_table,
)
from pipelines.executors.termination import end_with_parent

SOURCE = "datatrove"
REASON = "near_duplicate"

_BATCH_DOCUMENTS, _BATCH_CHARACTERS = 10_000, 8 << 20


class MinHashSignatures(PipelineStep):  # type: ignore[misc]
    """Write the band keys of every document under ``folder``; documents pass on unchanged.

    Parameters: ``ngrams``, ``bands``, ``rows``, ``seed``: see :mod:`dedup.near.settings`;
    ``prefer``: a number in a document's metadata of which more is better, decides who stays before
    the length of the text does.
    Raises: UserError for numbers out of range.
    """

    type = "DEDUP"
    name = "Windtunnel signatures"

    def __init__(
        self,
        folder: str,
        *,
        ngrams: int = DEFAULTS.ngrams,
        bands: int = DEFAULTS.bands,
        rows: int = DEFAULTS.rows,
        seed: int = DEFAULTS.seed,
        prefer: str | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.config = MinHashConfig(ngrams, bands, rows, seed)
        self.prefer = prefer

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        end_with_parent()
        parts: list[pa.Table] = []
        for documents in _batches(data or ()):
            with self.track_time("batch"):
                parts.append(self._signed(documents))
            for document in documents:
                self.stat_update(StatHints.total)
                yield document
        settings = {
            "ngrams": self.config.ngrams,
            "bands": self.config.bands,
            "rows": self.config.rows,
            "seed": self.config.seed,
        }
        facts = orjson.dumps(
            {"world_size": world_size, "algorithm": self.config.algorithm, **settings}
        )
        table = pa.concat_tables(parts) if parts else self._signed([])
        write_table(
            Store(self.folder),
            f"signatures/{rank:05d}.parquet",
            table.replace_schema_metadata({b"minhash": facts}),
        )

    def _signed(self, documents: list[Document]) -> pa.Table:
        keys, signed = band_keys(_texts(documents), self.config)
        wanted = [
            None if self.prefer is None else document.metadata.get(self.prefer)
            for document in documents
        ]
        columns = {
            "id": _ids(documents),
            "native_id": pa.array(
                [str(document.id).encode("utf-8", "replace").decode() for document in documents],
                pa.large_string(),
            ),
            "prefer": pa.array(wanted, pa.float64()),
            "characters": pa.array([len(document.text) for document in documents], pa.int64()),
            "bands": pa.FixedSizeListArray.from_arrays(
                pa.array(keys.reshape(-1)), self.config.bands, mask=pa.array(~signed)
            ),
        }
        return pa.table(columns)


class MinHashDecision(PipelineStep):  # type: ignore[misc]
    """Decide which documents go, from the signatures in ``folder`` and the texts of candidates; one
    task.

    Parameters: ``documents``: the steps that stood before the signatures, from which candidates are
    read again; ``verify``, ``max_comparisons``: see :mod:`dedup.near.settings`.
    Raises (when run): UserError when signatures are missing or of several settings, documents are
    others than were signed, or there are several tasks.
    """

    type = "DEDUP"
    name = "Windtunnel decision"

    def __init__(
        self,
        folder: str,
        documents: Sequence[PipelineStep],
        *,
        verify: float = DEFAULTS.verify,
        max_comparisons: int = DEFAULTS.max_comparisons,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.documents = tuple(documents)
        self.verify = verify
        self.max_comparisons = max_comparisons

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        end_with_parent()
        if world_size != 1:
            raise UserError(
                "the decision sees all documents at once",
                parameter="tasks",
                found=world_size,
                fix="run this step with tasks=1",
            )
        store = Store(self.folder)
        with self.track_time("decision"):
            tables, config = read_signatures(store)
            starts = np.cumsum([0, *[len(table) for table in tables]])
            every = pa.concat_tables(tables).combine_chunks()
            keys, signed = keys_of(every, config)
            groups = candidate_groups(keys, signed)
            sets = self._sets(tables, config, groups.candidates(len(every)))
            verdict = greedy_keep(
                keep_order(every), groups, sets, self.verify, self.max_comparisons
            )
            write_decision(store, every, starts, verdict)
        self.stat_update("documents", value=len(every))
        self.stat_update("removed", value=len(verdict.document))
        yield from data or ()

    def _sets(
        self, tables: list[pa.Table], config: MinHashConfig, wanted: NDArray[np.bool_]
    ) -> ShingleSets:
        """Shingle sets of candidates, empty ones of the others: each rank's documents are read
        again, one rank after another.
        """
        lengths, hashes, start = [np.zeros(1, np.int64)], [np.zeros(0, np.uint64)], 0
        for rank, table in enumerate(tables):
            ids, place = whole(table["id"]), 0
            for documents in _batches(self._again(rank, len(tables))):
                _check_ids(documents, ids.slice(place, len(documents)), rank, "decision")
                sets = shingle_sets(
                    _texts(documents),
                    config,
                    wanted[start + place : start + place + len(documents)],
                )
                lengths.append(np.diff(sets.offsets))
                hashes.append(sets.hashes)
                place += len(documents)
            if place != len(ids):
                raise _others(rank, f"{place:,} documents, {len(ids):,} were signed", "decision")
            start += place
        return ShingleSets(np.cumsum(np.concatenate(lengths)), np.concatenate(hashes))

    def _again(self, rank: int, world_size: int) -> Any:
        data: Any = None
        for step in deepcopy(self.documents):
            data = step.run(data, rank, world_size)
        return data


class MinHashFilter(PipelineStep):  # type: ignore[misc]
    """Drop the documents that the decision in ``folder`` removes.

    A document that others were removed in favour of gets ``stands_for`` in its metadata: how many
    it stands for, itself included. A dropped one gets ``filter_reason``, ``duplicate_of`` (the id
    of the document that stays) and ``similarity``, and goes to ``exclusion_writer``. Raises (when
    run): UserError when nothing was decided, for another number of tasks, or documents are others
    than were signed.
    """

    type = "FILTER"
    name = "Windtunnel near-duplicates"

    def __init__(self, folder: str, *, exclusion_writer: DiskWriter | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.exclusion_writer = exclusion_writer

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        end_with_parent()
        store = Store(self.folder)
        ids, removed, stands_for = read_decision(store, rank, world_size)
        place = 0
        with self.exclusion_writer or contextlib.nullcontext() as writer:
            for documents in _batches(data or ()):
                _check_ids(documents, ids.slice(place, len(documents)), rank, "filter")
                for offset, document in enumerate(documents, start=place):
                    self.stat_update(StatHints.total)
                    if offset not in removed:
                        if offset in stands_for:
                            document.metadata["stands_for"] = stands_for[offset]
                        self.stat_update(StatHints.forwarded)
                        self.update_doc_stats(document)
                        yield document
                        continue
                    self.stat_update(StatHints.dropped, f"dropped_{REASON}")
                    if writer is not None:
                        document.metadata |= {"filter_reason": REASON, **removed[offset]}
                        writer.write(document, rank)
                place += len(documents)
        if place != len(ids):
            raise _others(rank, f"{place:,} documents, {len(ids):,} were signed", "filter")


# -- documents ------------------------------------------------------------------------------------


def _batches(data: Any) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in data:
        batch.append(document)
        characters += len(document.text)
        if characters >= _BATCH_CHARACTERS or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _texts(documents: list[Document]) -> pa.LargeStringArray:
    """Texts as Arrow; what is no Unicode in them as question marks."""
    return pa.array(
        [document.text.encode("utf-8", "replace").decode() for document in documents],
        pa.large_string(),
    )


def _ids(documents: list[Document]) -> pa.FixedSizeBinaryArray:
    return document_ids(SOURCE, [native_key(str(document.id)) for document in documents])


def _check_ids(
    documents: list[Document], ids: pa.FixedSizeBinaryArray, rank: int, step: str
) -> None:
    found = _ids(documents)
    if not found.equals(ids):
        pairs = enumerate(
            zip(found.to_pylist(), [*ids.to_pylist(), *[None] * len(found)], strict=False)
        )
        place = next(place for place, (one, other) in pairs if one != other)
        raise _others(rank, f"document {documents[place].id!r}", step)


def _others(rank: int, found: str, step: str) -> UserError:
    fix = (
        "let the same steps stand before signatures, decision and filter, "
        "with the same number of tasks, and sign again after a change"
    )
    return UserError(
        f"the {step} meets other documents than were signed, in rank {rank}", found=found, fix=fix
    )
