"""The end of cutting spans: a chunk's texts without them, who is still kept, and the spans as
evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.fingerprints import content_key
from artifacts.ids import as_words, text_hashes
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Publication, found_or_made
from artifacts.schemas import REWRITE, SELECTION, SPANS
from artifacts.tables import open_parquet, write_parquet
from dedup.spans.spans import cut, stretches
from dedup.words import word_hashes
from pipelines.comparisons.spans.work import (
    ANSWERS,
    LEFT_ALONE,
    SpanTask,
    batches,
    left_alone,
    parts_for,
)
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import drop
from pipelines.stages.base import fingerprint

VERSION = 1
NOTHING_LEFT = "nothing_left"  # reason of a document of which too few words would be left


@dataclass(frozen=True)
class CutChunk:
    """A chunk after its spans were cut, what that did to its documents, and the counts ``spans``,
    ``documents`` and ``bytes`` cut, with ``left_alone`` where a stretch occurred too often.
    """

    chunk: Chunk
    entry: Entry
    facts: dict[str, int]
    computed: bool
    units: tuple[str, ...]


def cut_chunk(task: SpanTask, compute: bool = True) -> CutChunk | None:
    """Cut the answered spans out of a chunk's texts.

    A document of which fewer words would be left than the rule's ``min_words`` is dropped whole,
    and its text stays as it was.
    """
    store = Store(task.root)
    assert task.chunk is not None
    chunk, name = task.chunk, task.step.name
    inputs = {**fingerprint(task.step.rule), "corpus": task.key, "chunk": task.index}
    made = found_or_made(
        store,
        f"documents/{name}/{content_key(inputs)}",
        inputs,
        lambda unit: _Cutter(store, task, chunk).make(unit),
        compute,
    )
    if made is None:
        return None
    manifest, computed = made
    moved = replace(
        chunk,
        rewrites=(*chunk.rewrites, manifest.file("rewrite.parquet")),
        selection=manifest.file("selection.parquet"),
        cuts={**chunk.cuts, name: manifest.file("spans.parquet")},
    )
    facts = {name: value for name, value in manifest.facts.items() if name != "entry"}
    return CutChunk(
        moved, Entry.from_json(manifest.facts["entry"]), facts, computed, (manifest.prefix,)
    )


class _Cutter:
    """One chunk being cut, batch by batch."""

    def __init__(self, store: Store, task: SpanTask, chunk: Chunk) -> None:
        self.store, self.task, self.chunk = store, task, chunk
        self.answers = self._answers()
        self.rows: NDArray[np.int64] = self.answers["row"].to_numpy()
        self.facts = {"spans": 0, "documents": 0, "bytes": 0}

    def make(self, unit: Publication) -> None:
        gone = np.zeros(self.chunk.signals["size"].rows, np.bool_)
        with (
            open_parquet(unit, "rewrite.parquet", REWRITE) as rewrite,
            open_parquet(unit, "spans.parquet", SPANS) as spans,
        ):
            for start, batch, _ in batches(self.store, self.chunk) if len(self.rows) else ():
                first, last = np.searchsorted(self.rows, [start, start + batch.num_rows])
                if first < last:
                    changed, emptied, evidence = self._cut(
                        batch, start, self.answers.slice(first, last - first)
                    )
                    rewrite.write(changed)
                    spans.write(evidence)
                    gone[emptied] = True
        selection, entry = drop(self.store, self.chunk, self.task.step.name, gone, NOTHING_LEFT)
        write_parquet(unit, "selection.parquet", SELECTION, [selection])
        if self.facts["bytes"]:  # cut out of documents that stay
            entry.kept.add(0, -self.facts["bytes"])
            entry.drop(self.task.step.rule.reason, 0, self.facts["bytes"])
        crowded = left_alone(self.store, self.task)
        if crowded:
            self.facts[LEFT_ALONE] = crowded
        unit.facts.update(self.facts, entry=entry.to_json())

    def _answers(self) -> pa.Table:
        """All spans of the chunk in order."""
        answers = [
            rows
            for index in range(self.task.chunks)
            for rows in parts_for(self.store, self.task, "answers", index)
        ]
        whole = pa.Table.from_batches(answers, ANSWERS).combine_chunks()
        ids = as_words(pa.concat_arrays([pa.array([], pa.binary(16)), *whole["kept_id"].chunks]))
        keys = [whole[name].to_numpy() for name in ("kept_start", "end", "start", "row")]
        return whole.take(pa.array(np.lexsort((ids[:, 1], ids[:, 0], *keys)))).combine_chunks()

    def _cut(
        self, batch: pa.RecordBatch, start: int, answers: pa.Table
    ) -> tuple[pa.RecordBatch, NDArray[np.int64], pa.Table]:
        """The rewritten rows, the rows to drop, and the evidence of a batch."""
        row, first, behind = (answers[name].to_numpy() for name in ("row", "start", "end"))
        touched, which = np.unique(row - start, return_inverse=True)
        texts = batch["text"].take(pa.array(touched))
        rest, taken = cut(texts, which, first, behind)
        stays = np.diff(word_hashes(rest)[0]) >= self.task.step.rule.min_words
        kept = pa.array(touched[stays])
        new = rest.filter(pa.array(stays))
        rewritten = pa.RecordBatch.from_arrays(
            [pa.array(touched[stays] + start), batch["id"].take(kept), new, text_hashes(new)],
            schema=REWRITE,
        )
        self.facts["spans"] += len(row)
        self.facts["documents"] += len(touched)
        self.facts["bytes"] += int(taken[stays].sum())
        return (
            rewritten,
            touched[~stays] + start,
            self._evidence(batch, row - start, answers, texts, which),
        )

    def _evidence(
        self,
        batch: pa.RecordBatch,
        row: Any,
        answers: pa.Table,
        texts: pa.LargeStringArray,
        which: Any,
    ) -> pa.Table:
        start, end = answers["start"].to_numpy(), answers["end"].to_numpy()
        spelled = stretches(texts, which, start, end)
        words = np.diff(word_hashes(spelled.cast(pa.large_string()))[0])
        places = pa.array(row)
        columns = [
            batch["id"].take(places),
            batch["text_hash"].take(places),
            start,
            end,
            answers["kept_id"],
            answers["kept_start"],
        ]
        return pa.table(
            [*columns, pa.repeat(self.task.step.rule.kind, len(row)), words], schema=SPANS
        )


__all__ = ["NOTHING_LEFT", "VERSION", "CutChunk", "cut_chunk"]
