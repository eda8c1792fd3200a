"""Tables that a run leaves for its users: the final selection and the quarantine, by source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from artifacts.fingerprints import content_key
from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.publish import Publication, found_or_made
from artifacts.schemas import QUARANTINE, SELECTION
from artifacts.tables import iter_parquet, write_parquet
from pipelines.corpus.outcomes import CorpusOutcome, CorpusTask
from pipelines.corpus.selection import current_selection

VERSION = 3  # of final_selection and collect_quarantine


def final_selection(task: CorpusTask, compute: bool = True) -> CorpusOutcome | None:
    """One selection table per source, sorted by id: it does not depend on files or chunks."""
    store = Store(task.root)
    inputs = {
        "work": "final_selection",
        "version": VERSION,
        "chunks": [
            [
                chunk.source,
                chunk.records.checksum,
                chunk.selection_version(),
                chunk.signals["size"].checksum,
            ]
            for chunk in task.chunks
        ],
    }

    def make(unit: Publication) -> None:
        for source in sorted({chunk.source for chunk in task.chunks}):
            tables = [
                current_selection(store, chunk) for chunk in task.chunks if chunk.source == source
            ]
            table = pa.concat_tables(tables).combine_chunks()
            words = as_words(
                table["id"].combine_chunks()
                if table["id"].num_chunks != 1
                else table["id"].chunk(0)
            )
            table = table.take(pa.array(np.lexsort((words[:, 1], words[:, 0]))))
            write_parquet(
                unit,
                f"{source}.parquet",
                SELECTION,
                [table.slice(start, 1 << 20) for start in range(0, len(table), 1 << 20)],
            )
            unit.facts[source] = {
                "documents": len(table),
                "kept": int(table["kept"].to_numpy().sum()),
            }

    made = found_or_made(store, f"selection/final/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    return CorpusOutcome(task.chunks, {}, made[0].files, made[0].facts, made[1], (made[0].prefix,))


def collect_quarantine(task: CorpusTask, compute: bool = True) -> CorpusOutcome | None:
    """One quarantine table per source, in (path, offset) order."""
    store = Store(task.root)
    inputs = {
        "work": "collect_quarantine",
        "version": VERSION,
        "chunks": [
            [chunk.source, chunk.quarantine.checksum] for chunk in task.chunks if chunk.quarantine
        ],
    }

    def make(unit: Publication) -> None:
        for source in sorted({chunk.source for chunk in task.chunks}):
            # in (path, offset) order
            refs = [
                chunk.quarantine
                for chunk in task.chunks
                if chunk.source == source and chunk.quarantine
            ]
            parts = (batch for ref in refs for batch in iter_parquet(store, ref.name, "quarantine"))
            write_parquet(unit, f"{source}.parquet", QUARANTINE, parts)

    made = found_or_made(store, f"quarantine/all/{content_key(inputs)}", inputs, make, compute)
    return (
        None
        if made is None
        else CorpusOutcome(task.chunks, {}, made[0].files, {}, made[1], (made[0].prefix,))
    )
