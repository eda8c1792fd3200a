"""Train the tokenizer on a weighted sample of the kept documents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.fingerprints import content_key, libraries
from artifacts.ids import as_words
from artifacts.keyed_hash import held_out
from artifacts.paths import Store
from artifacts.publish import FileRef, Manifest, Publication, found_or_made, read_file
from artifacts.settings import key_settings
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.view import CorpusView
from pipelines.shards.settings import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.sample import Available, Sample, weighted_sample
from tokenizer.train import TrainConfig, train_model

TOKENIZER_VERSION = 1
GIVEN_VERSION = 1


MODEL = "tokenizer.model"


@dataclass(frozen=True)
class TokenizerTask:
    """What the tokenizer is trained on: the kept documents of ``sources``, but for those that a
    loss is measured on: the share ``hold_out`` of each that shards set aside, and the sources that
    are ``measured`` whole, unless the settings name them. ``given``: the model of a tokenizer that
    is there already, in place of all this.
    """

    root: str
    chunks: tuple[Chunk, ...]
    selection: tuple[FileRef, ...]
    sources: tuple[str, ...]
    settings: TokenizerSettings
    seed: int
    hold_out: float = 0.0
    measured: tuple[str, ...] = ()
    given: bytes | None = None

    @property
    def sampled(self) -> tuple[str, ...]:
        """Sources of the sample."""
        named = self.settings.sample
        if named is not None:
            return tuple(source for source in self.sources if source in named)
        return tuple(source for source in self.sources if source not in self.measured)

    @property
    def left_out(self) -> dict[str, Any]:
        """What of the documents is left out, as the key holds it; nothing where all are sampled."""
        share = {"hold_out": self.hold_out} if self.hold_out else {}
        return {**share, **({"measured": self.left_whole} if self.left_whole else {})}

    @property
    def left_whole(self) -> list[str]:
        """Sources of which no document is in the sample because all are measured on, by name."""
        named = self.settings.sample is not None
        return [] if named else sorted({*self.sources} & {*self.measured})


@dataclass(frozen=True)
class SampledSource:
    """A source that documents are taken of: ``rows`` (n,) of its view, ascending, that may be."""

    view: CorpusView
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, view: CorpusView, seed: int, hold_out: float) -> SampledSource:
        """All rows of a view but those that are held out."""
        return cls(view, np.flatnonzero(~held_out(view.ids, seed, hold_out)))

    @property
    def available(self) -> Available:
        size = self.view.column("size", "bytes").to_numpy(zero_copy_only=False)
        return Available(self.view.ids.take(pa.array(self.rows)), size[self.rows])

    def texts(self, chosen: NDArray[np.int64]) -> pa.LargeStringArray:
        """Texts of the chosen ones of these rows, ordered by id."""
        return in_id_order(self.view, self.rows[np.sort(chosen)])


@dataclass(frozen=True)
class TrainedTokenizer:
    model: FileRef
    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...]


def train_tokenizer(task: TokenizerTask, compute: bool = True) -> TrainedTokenizer | None:
    """Train on a weighted sample of the kept documents.

    The key is the final selection (which fixes ids and texts), the settings and what is held out
    where something is, so neither files nor chunks matter.
    """
    store = Store(task.root)
    if task.given is not None:
        return _given(store, task.given, compute)
    config = TrainConfig(
        vocab_size=task.settings.vocab_size,
        character_coverage=task.settings.character_coverage,
    )
    inputs = {
        "work": "tokenizer",
        "version": TOKENIZER_VERSION,
        "libraries": libraries("sentencepiece"),
        "selection": [ref.checksum for ref in task.selection],
        "config": key_settings(config),
        "sample": key_settings(task.settings),
        "seed": task.seed,
        **task.left_out,
    }

    def make(unit: Publication) -> None:
        sources = {
            source: SampledSource.of(
                CorpusView(store, task.chunks, (source,)), task.seed, task.hold_out
            )
            for source in task.sampled
        }
        sample = _sample(sources, task, config)
        texts = [sources[source].texts(rows) for source, rows in sorted(sample.rows.items())]
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
        if task.left_out:
            held = sum(len(entry.view) - len(entry.rows) for entry in sources.values())
            unit.facts.update(held_out={"documents": held, "sources": task.left_whole})

    return _result(
        found_or_made(store, f"tokenizer/bpe/{content_key(inputs)}", inputs, make, compute)
    )


def _given(store: Store, model: bytes, compute: bool) -> TrainedTokenizer | None:
    """A copy of a model that is there already: shards and trainings of the run find it there."""
    tokenizer = Tokenizer.load(model)
    inputs = {"work": "tokenizer", "version": GIVEN_VERSION, "model": tokenizer.hash}

    def make(unit: Publication) -> None:
        with unit.file(MODEL) as out:
            out.raw.write(model)
        unit.facts.update(
            vocab_size=tokenizer.vocab_size, hash=tokenizer.hash, sample=[], given=True
        )

    return _result(
        found_or_made(store, f"tokenizer/given/{content_key(inputs)}", inputs, make, compute)
    )


def _result(made: tuple[Manifest, bool] | None) -> TrainedTokenizer | None:
    if made is None:
        return None
    manifest, computed = made
    return TrainedTokenizer(manifest.file(MODEL), manifest.facts, computed, (manifest.prefix,))


def _sample(sources: dict[str, SampledSource], task: TokenizerTask, config: TrainConfig) -> Sample:
    """Rows of each source, by its share of the bytes; without shares by size."""
    available = {source: entry.available for source, entry in sources.items() if len(entry.rows)}
    weights = task.settings.sample or {
        source: float(entry.bytes.sum()) for source, entry in available.items()
    }
    weights = {source: weight for source, weight in weights.items() if source in available}
    return weighted_sample(
        available,
        weights,
        int(task.settings.sample_mib * (1 << 20)),
        task.seed,
        config.max_document_bytes,
    )


def recorded_model(store: Store, record: dict[str, Any]) -> bytes:
    """The tokenizer model of a run. Raises: UserError when it is damaged."""
    return read_file(store, FileRef.from_json(record["tokenizer"]["file"]))


def in_id_order(view: CorpusView, rows: np.ndarray) -> pa.LargeStringArray:
    """Texts of the given rows (ascending), ordered by id so that chunking cannot show."""
    texts = view.texts(rows)
    words = as_words(view.ids.take(pa.array(rows)))
    return texts.take(pa.array(np.lexsort((words[:, 1], words[:, 0]))))
