"""Train the tokenizer on a weighted sample of the kept documents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.fingerprints import content_key, libraries
from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made, read_file
from artifacts.settings import key_settings
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.view import CorpusView
from pipelines.shards.settings import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.sample import Available, weighted_sample
from tokenizer.train import TrainConfig, train_model

TOKENIZER_VERSION = 1


MODEL = "tokenizer.model"


@dataclass(frozen=True)
class TokenizerTask:
    root: str
    chunks: tuple[Chunk, ...]
    selection: tuple[FileRef, ...]
    sources: tuple[str, ...]
    settings: TokenizerSettings
    seed: int


@dataclass(frozen=True)
class TrainedTokenizer:
    model: FileRef
    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...]


def train_tokenizer(task: TokenizerTask, compute: bool = True) -> TrainedTokenizer | None:
    """Train on a weighted sample of the kept documents.

    The key is the final selection (which fixes ids and texts) and the settings, so neither files
    nor chunks matter.
    """
    store = Store(task.root)
    config = TrainConfig(vocab_size=task.settings.vocab_size)
    inputs = {
        "work": "tokenizer",
        "version": TOKENIZER_VERSION,
        "libraries": libraries("sentencepiece"),
        "selection": [ref.checksum for ref in task.selection],
        "config": key_settings(config),
        "sample": key_settings(task.settings),
        "seed": task.seed,
    }

    def make(unit: Publication) -> None:
        views = {source: CorpusView(store, task.chunks, (source,)) for source in task.sources}
        views = {source: view for source, view in views.items() if len(view)}
        available = {
            source: Available(view.ids, view.column("size", "bytes").to_numpy(zero_copy_only=False))
            for source, view in views.items()
        }
        weights = task.settings.sample or {
            source: float(entry.bytes.sum()) for source, entry in available.items()
        }
        weights = {source: weight for source, weight in weights.items() if source in available}
        sample = weighted_sample(
            available,
            weights,
            int(task.settings.sample_mib * (1 << 20)),
            task.seed,
            config.max_document_bytes,
        )
        texts = [
            in_id_order(views[source], np.sort(rows))
            for source, rows in sorted(sample.rows.items())
        ]
        model, counts = train_model(texts, config)
        with unit.file(MODEL) as out:
            out.raw.write(model)
        tokenizer = Tokenizer.load(model)
        unit.facts.update(
            vocab_size=tokenizer.vocab_size,
            hash=tokenizer.hash,
            sample=[{**asdict(share), "bytes_short": share.bytes_short} for share in sample.shares],
            sentences=asdict(counts),
        )

    made = found_or_made(store, f"tokenizer/bpe/{content_key(inputs)}", inputs, make, compute)
    return (
        None
        if made is None
        else TrainedTokenizer(made[0].file(MODEL), made[0].facts, made[1], (made[0].prefix,))
    )


def recorded_model(store: Store, record: dict[str, Any]) -> bytes:
    """The tokenizer model of a run. Raises: UserError when it is damaged."""
    return read_file(store, FileRef.from_json(record["tokenizer"]["file"]))


def in_id_order(view: CorpusView, rows: np.ndarray) -> pa.LargeStringArray:
    """Texts of the given rows (ascending), ordered by id so that chunking cannot show."""
    texts = view.texts(rows)
    words = as_words(view.ids.take(pa.array(rows)))
    return texts.take(pa.array(np.lexsort((words[:, 1], words[:, 0]))))
