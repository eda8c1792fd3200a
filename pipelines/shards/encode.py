"""Encode a chunk's kept documents."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.fingerprints import content_key, libraries
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made, read_file
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.outcomes import ChunkResult, StepOutcome
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import ChunkTexts, sound_texts
from pipelines.executors.memory import peak_bytes, reset_peak
from tokenizer.chat import TEMPLATE_VERSION, encode_conversations
from tokenizer.encode import Tokenizer
from tokenizer.shards.writer import EncodedColumns, write_encoded_batches

ENCODE_VERSION = 1


@dataclass(frozen=True)
class EncodeTask:
    root: str
    chunk: Chunk
    model: FileRef
    conversations: bool = False


def encode_chunk(task: EncodeTask, compute: bool = True) -> ChunkResult | None:
    """Encode a chunk's kept documents, in row order; conversations by the chat template."""
    reset_peak()
    started = time.monotonic()
    store = Store(task.root)
    inputs = {
        "work": "encode",
        "version": ENCODE_VERSION,
        "libraries": libraries("pyarrow", "sentencepiece"),
        "text": task.chunk.text_version(),
        "selection": task.chunk.selection_version(),
        "tokenizer": task.model.checksum,
    }
    if task.conversations:
        inputs["template"] = TEMPLATE_VERSION

    def make(unit: Publication) -> None:
        tokenizer = Tokenizer.load(read_file(store, task.model))
        sizes: list[int] = []
        batches = _encoded(
            ChunkTexts(store, task.chunk), kept_mask(store, task.chunk), tokenizer, sizes
        )
        with sound_texts(store, task.chunk), unit.file("encoded.arrow") as out:
            written = write_encoded_batches(out.raw, tokenizer.token_type, batches)  # type: ignore[arg-type]
            out.rows = written.rows
        unit.facts.update(
            tokens=written.tokens, trainable_tokens=written.trainable_tokens, bytes=sum(sizes)
        )

    made = found_or_made(store, f"shards/encoded/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    manifest, computed = made
    ref = manifest.file("encoded.arrow")
    entry = Entry()
    entry.entered.add(ref.rows, manifest.facts["bytes"])
    entry.kept.add(ref.rows, manifest.facts["bytes"])
    outcome = StepOutcome(
        "encode",
        True,
        task.chunk.source,
        entry,
        computed,
        time.monotonic() - started,
        dict(manifest.facts),
        (manifest.prefix,),
    )
    return ChunkResult(replace(task.chunk, encoded=ref), (outcome,), peak_bytes())


def _encoded(
    texts: ChunkTexts, kept: np.ndarray, tokenizer: Tokenizer, sizes: list[int]
) -> Iterator[EncodedColumns]:
    """The kept rows of each batch, encoded; ``sizes`` collects their text bytes."""
    start = 0
    for batch in texts.batches():
        rows = batch.filter(pa.array(kept[start : start + batch.num_rows]))
        start += batch.num_rows
        sizes.append(int(pc.sum(pc.binary_length(rows["text"])).as_py() or 0))
        if "messages" in rows.schema.names:
            tokens, trainable = encode_conversations(rows["messages"], tokenizer)
        else:
            tokens, trainable = tokenizer.encode(rows["text"], eos=True), None
        yield rows["id"], rows["text_hash"], tokens, trainable
