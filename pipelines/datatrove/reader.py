"""The documents a run selected, as the input of a datatrove pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.messages import without_nulls
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import ChunkTexts
from pipelines.executors.termination import end_with_parent
from pipelines.run.record import load_run

_METADATA = ("native_id", "source", "lang", "url", "license", "date", "path", "offset")


class WindtunnelReader(PipelineStep):  # type: ignore[misc]
    """Yields the selected documents of a run at their newest text version; rank r of n reads chunks
    r, r + n, …

    ``id`` is the document's id in 32 hex digits. Metadata: ``native_id``, ``source``, ``lang``,
    ``url``, ``license``, ``date``, ``path`` and ``offset`` where known, what else the record held
    as ``meta``, and ``messages`` of a conversation: role and content each, with ``weight``,
    ``tool_calls`` (a JSON list) and ``name`` where a message has them. Which documents a rank gets
    depends on the number of ranks alone.

    Parameters: ``run``: name of a run under ``runs``, or its folder; ``sources``: only these.
    Raises: UserError when there is no such run, or its corpus is not done, or it has no such
    source.
    """

    type = "READER"
    name = "Windtunnel run"

    def __init__(self, run: str, runs: str = "runs", sources: Sequence[str] | None = None) -> None:
        super().__init__()
        self.run_name = run
        self.runs = runs
        store, record = load_run(runs, run)
        if not record["selection"]:
            raise UserError(
                "this run has selected no documents yet",
                file=store.root,
                found=f"reached {record['reached']}",
                fix=Command("run RECIPE --until corpus"),
            )
        for source in sources or ():
            if source not in record["selection"]:
                raise UserError(
                    "no such source",
                    file=store.root,
                    field="sources",
                    found=source,
                    allowed=sorted(record["selection"]),
                )
        self.sources = tuple(sources) if sources is not None else tuple(record["selection"])

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        end_with_parent()
        yield from data or ()
        store, record = load_run(self.runs, self.run_name)
        chunks = [
            chunk
            for chunk in map(Chunk.from_json, record["chunks"])
            if chunk.source in self.sources
        ]
        for chunk in chunks[rank::world_size]:
            kept, start = kept_mask(store, chunk), 0
            for batch in ChunkTexts(store, chunk).batches():
                rows = batch.filter(pa.array(kept[start : start + batch.num_rows]))
                start += batch.num_rows
                for row in rows.to_pylist():
                    document = _document(row)
                    self.stat_update("documents")
                    self.update_doc_stats(document)
                    yield document


def _document(row: dict[str, Any]) -> Document:
    metadata = {name: row[name] for name in _METADATA if row[name] is not None}
    if row["meta"]:
        metadata["meta"] = orjson.loads(row["meta"])
    if row.get("messages"):
        metadata["messages"] = without_nulls(row["messages"])
    return Document(text=row["text"], id=row["id"].hex(), metadata=metadata)
