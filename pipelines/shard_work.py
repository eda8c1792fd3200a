"""From selected documents to a tokenizer and to token shards: the tasks behind those steps."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.fingerprints import content_key, libraries
from artifacts.ids import as_words
from artifacts.keyed_hash import hash_key, held_out
from artifacts.ledger import Entry
from artifacts.paths import HashingFile, Store
from artifacts.publish import MANIFEST, FileRef, Publication, found_or_made, published
from artifacts.settings import key_settings
from artifacts.tables import read_parquet
from pipelines.band_work import SourceBands, among, ids_of_band
from pipelines.chunk_texts import ChunkTexts
from pipelines.chunk_work import ChunkResult
from pipelines.corpus_view import CorpusView
from pipelines.memory import peak_bytes, reset_peak
from pipelines.recipe import ShardSettings, TokenizerSettings
from pipelines.state import Chunk, StepOutcome
from tokenizer.chat import encode_conversations
from tokenizer.encode import Tokenizer
from tokenizer.sample import Available, weighted_sample
from tokenizer.shard_manifest import MANIFEST_NAME, SourceManifest
from tokenizer.shard_writer import EncodedColumns, write_encoded_batches, write_source
from tokenizer.train import TrainConfig, train_model

TOKENIZER_VERSION = 1
ENCODE_VERSION = 1
SHARDS_VERSION = 4
MODEL = "tokenizer.model"
TRAIN, VALIDATION = "train", "validation"


# -- tokenizer ----------------------------------------------------------------------------------


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


def in_id_order(view: CorpusView, rows: np.ndarray) -> pa.LargeStringArray:
    """Texts of the given rows (ascending), ordered by id so that chunking cannot show."""
    texts = view.texts(rows)
    words = as_words(view.ids.take(pa.array(rows)))
    return texts.take(pa.array(np.lexsort((words[:, 1], words[:, 0]))))


# -- encoding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class EncodeTask:
    root: str
    chunk: Chunk
    model: FileRef


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
        "selection": task.chunk.selection.checksum if task.chunk.selection else None,
        "tokenizer": task.model.checksum,
    }

    def make(unit: Publication) -> None:
        tokenizer = Tokenizer.load(store.read(task.model.name))
        sizes: list[int] = []
        batches = _encoded(
            ChunkTexts(store, task.chunk), _kept(store, task.chunk), tokenizer, sizes
        )
        with unit.file("encoded.arrow") as out:
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


def _kept(store: Store, chunk: Chunk) -> np.ndarray:
    if chunk.selection is None:
        return np.ones(chunk.signals["size"].rows, np.bool_)
    mask: np.ndarray = read_parquet(store, chunk.selection.name, "selection", ["kept"])[
        "kept"
    ].to_numpy()
    return mask


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


# -- shards -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """One band of a source: the table that gives every document its band, and a digest of this
    one's ids.
    """

    name: str
    table: FileRef
    digest: str


@dataclass(frozen=True)
class ShardTask:
    root: str
    source: str
    encoded: tuple[FileRef, ...]
    selection: FileRef
    model: FileRef
    settings: ShardSettings
    seed: int
    split: str = TRAIN
    band: Band | None = None

    @property
    def name(self) -> str:
        """Name of the shard source and of its folder: that of the documents' source, with its band
        and split.
        """
        source = self.source if self.band is None else f"{self.source}/{self.band.name}"
        return source if self.split == TRAIN else f"{source}-{self.split}"

    def choice(self, store: Store) -> Callable[[pa.FixedSizeBinaryArray], np.ndarray]:
        """Says of ids (n,) which documents belong to this band and split."""
        inside = None if self.band is None else ids_of_band(store, self.band.table, self.band.name)

        def wanted(ids: pa.FixedSizeBinaryArray) -> np.ndarray:
            held = held_out(ids, self.seed, self.settings.hold_out)
            mask = held if self.split == VALIDATION else ~held
            return mask if inside is None else mask & among(ids, inside)

        return wanted


@dataclass(frozen=True)
class ShardResult:
    source: str
    band: str | None
    name: str
    prefix: str
    facts: dict[str, Any]
    computed: bool
    seconds: float

    @property
    def units(self) -> tuple[str, ...]:
        return (self.prefix,)


def write_shards(task: ShardTask, compute: bool = True) -> ShardResult | None:
    """Shuffle a source's encoded documents into parts.

    The key is the source's final selection and the tokenizer: parts do not depend on chunks.
    ``source.json`` is written last and is no file of the unit's manifest, because take-downs
    replace it.
    """
    started = time.monotonic()
    store = Store(task.root)
    inputs = {
        "work": "shards",
        "version": SHARDS_VERSION,
        "encode": ENCODE_VERSION,
        "libraries": libraries("pyarrow", "sentencepiece"),
        "source": task.source,
        "selection": task.selection.checksum,
        "tokenizer": task.model.checksum,
        # a band is known by its documents
        "settings": key_settings(task.settings, exclude={"split"}),
        "band": None if task.band is None else [task.band.name, task.band.digest],
        "split": task.split,
        "seed": task.seed,
    }

    def make(unit: Publication) -> None:
        tokenizer = Tokenizer.load(store.read(task.model.name))
        empty = SourceManifest(
            source=task.name,
            tokenizer_hash=tokenizer.hash,
            dtype="uint16" if tokenizer.token_type == pa.uint16() else "uint32",
            vocab_size=tokenizer.vocab_size,
            eos_id=tokenizer.eos_id,
            shuffle_key=f"{hash_key(task.seed, 'shards/' + task.name):016x}",
        )
        with tempfile.TemporaryDirectory() as folder:
            encoded = [_local(store, ref, Path(folder)) for ref in task.encoded if ref.rows]
            grown = write_source(
                Path(folder),
                encoded,
                empty,
                int(task.settings.part_mtokens * 1e6),
                _files_of(unit),
                task.choice(store),
            )
        unit.facts.update(
            documents=grown.rows,
            tokens=grown.tokens,
            trainable_tokens=grown.trainable_tokens,
            parts=len(grown.parts),
            dtype=grown.dtype,
        )

    prefix = f"shards/{task.name}/{content_key(inputs)}"
    if not store.exists(f"{prefix}/{MANIFEST_NAME}"):
        if not compute:
            return None
        store.delete(f"{prefix}/{MANIFEST}")
    made = found_or_made(store, prefix, inputs, make, compute)
    if made is None:
        return None
    band = None if task.band is None else task.band.name
    return ShardResult(
        task.source, band, task.name, prefix, made[0].facts, made[1], time.monotonic() - started
    )


def shard_tasks(
    root: str,
    chunks: Sequence[Chunk],
    selection: dict[str, FileRef],
    model: FileRef,
    settings: ShardSettings,
    seed: int,
    cuts: dict[str, SourceBands],
) -> list[ShardTask]:
    """A task for every source, or for every band of a source that is cut, and for what is held out
    of it.
    """
    tasks = []
    for source, ref in sorted(selection.items()):
        bands: list[Band | None] = [None]
        if source in cuts:
            bands = [
                Band(name, cuts[source].table, facts["digest"])
                for name, facts in cuts[source].facts["bands"].items()
            ]
        for band in bands:
            for split in (TRAIN, VALIDATION) if settings.hold_out else (TRAIN,):
                tasks.append(
                    ShardTask(
                        root,
                        source,
                        encoded_of(chunks, source),
                        ref,
                        model,
                        settings,
                        seed,
                        split,
                        band,
                    )
                )
    return tasks


def _local(store: Store, ref: FileRef, folder: Path) -> Path:
    """A path that can be memory-mapped: the file itself, or a copy fetched from the store."""
    if store.local:
        return Path(store.full(ref.name))
    target = folder / f"encoded-{ref.checksum}.arrow"
    store.fs.get_file(store.full(ref.name), str(target))
    return target


def _files_of(unit: Publication) -> Callable[[Path], Any]:
    """Opens the parts of a source as files of a unit, and its manifest as one beside them."""

    @contextlib.contextmanager
    def open_file(path: Path) -> Iterator[HashingFile]:
        if path.name == MANIFEST_NAME:
            with unit.store.writer(f"{unit.prefix}/{MANIFEST_NAME}") as raw:
                yield raw
            return
        with unit.file(path.name) as out:
            yield out.raw

    return open_file


def shard_folder(store: Store, source: str, prefix: str) -> str:
    """Where a source's shards lie. Raises: KeyError when they are not there."""
    if published(store, prefix) is None:
        raise KeyError(source)
    return store.full(prefix)


def encoded_of(chunks: Sequence[Chunk], source: str) -> tuple[FileRef, ...]:
    return tuple(
        chunk.encoded for chunk in chunks if chunk.source == source and chunk.encoded is not None
    )
