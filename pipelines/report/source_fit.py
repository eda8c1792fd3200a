"""How well a run's tokenizer fits each source: counted over its first documents, text by text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import tee
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from artifacts.paths import Store
from artifacts.schemas import check_format
from artifacts.tables import open_batches
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import ChunkTexts, sound_texts
from pipelines.shards.tokenizer import recorded_model
from tokenizer.chat import render
from tokenizer.encode import Tokenizer
from tokenizer.report import SourceReport, source_report

LOOKED_AT = 4 << 20  # bytes of text of a source, so that a report of a large corpus takes seconds

Column = tuple[pa.LargeStringArray, pa.LargeListArray]


def source_fits(
    store: Store, record: dict[str, Any], chunks: Sequence[Chunk]
) -> dict[str, SourceReport]:
    """Each encoded source's report, over its first documents of :data:`LOOKED_AT` bytes of text, in
    whole batches.
    """
    tokenizer = Tokenizer.load(recorded_model(store, record))
    encoded = [chunk for chunk in chunks if chunk.encoded is not None and chunk.encoded.rows]
    return {
        source: _fit(store, source, [one for one in encoded if one.source == source], tokenizer)
        for source in sorted({chunk.source for chunk in encoded})
    }


def _fit(store: Store, source: str, chunks: Sequence[Chunk], tokenizer: Tokenizer) -> SourceReport:
    spoken = any("messages" in _first(store, chunk).schema.names for chunk in chunks[:1])
    texts, tokens = tee(_up_to_the_bound(store, chunks))
    return source_report(
        source,
        (column for column, _ in texts),
        tokenizer,
        (column for _, column in tokens),
        controls=spoken,
    )


def _first(store: Store, chunk: Chunk) -> pa.RecordBatch:
    return next(ChunkTexts(store, chunk).stream())


def _up_to_the_bound(store: Store, chunks: Sequence[Chunk]) -> Iterator[Column]:
    """Texts and tokens of the documents encoded, a batch at a time."""
    seen = 0
    for chunk in chunks:
        with sound_texts(store, chunk):
            for texts, tokens in _columns(store, chunk):
                yield texts, tokens
                seen += pc.sum(pc.binary_length(texts)).as_py() or 0
                if seen >= LOOKED_AT:
                    return


def _columns(store: Store, chunk: Chunk) -> Iterator[Column]:
    """The kept documents of each batch of a chunk, as text and as they were encoded."""
    assert chunk.encoded is not None
    kept, start = kept_mask(store, chunk), 0
    with open_batches(store, chunk.encoded.name) as encoded:
        check_format(encoded.schema, "encoded", store.full(chunk.encoded.name))
        for number, batch in enumerate(ChunkTexts(store, chunk).stream()):
            rows = batch.filter(pa.array(kept[start : start + batch.num_rows]))
            start += batch.num_rows
            yield _texts(rows), encoded.batch(number)["tokens"]


def _texts(rows: pa.RecordBatch) -> pa.LargeStringArray:
    """The texts that were encoded: of conversations their rendered form."""
    if "messages" not in rows.schema.names:
        return rows["text"]
    rendered = [render(messages) for messages in rows["messages"].to_pylist()]
    return pa.array(rendered, pa.large_string())
