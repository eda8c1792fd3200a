"""Shuffle the encoded documents of a source into token shards."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.fingerprints import content_key, libraries
from artifacts.keyed_hash import hash_key, held_out
from artifacts.paths import HashingFile, Store
from artifacts.publish import MANIFEST, FileRef, Publication, found_or_made, read_file
from artifacts.settings import key_settings
from mixtures.spec.bands import held_out_of
from pipelines.corpus.chunk import Chunk
from pipelines.shards.encode import ENCODE_VERSION
from pipelines.shards.settings import ShardSettings
from pipelines.shards.split_work import SourceBands, among, ids_of_band
from tokenizer.encode import Tokenizer
from tokenizer.shards.manifest import MANIFEST_NAME, SourceManifest
from tokenizer.shards.writer import write_source

SHARDS_VERSION = 4
TRAIN, VALIDATION = "train", "validation"


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
        return source if self.split == TRAIN else held_out_of(source)

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
        grown = _shuffled(task, store, unit)
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


def _shuffled(task: ShardTask, store: Store, unit: Publication) -> SourceManifest:
    """Write the parts of a task as files of its unit; the manifest that was written last."""
    tokenizer = Tokenizer.load(read_file(store, task.model))
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
        return write_source(
            Path(folder),
            encoded,
            empty,
            int(task.settings.part_mtokens * 1e6),
            _files_of(unit),
            task.choice(store),
        )


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


def encoded_of(chunks: Sequence[Chunk], source: str) -> tuple[FileRef, ...]:
    return tuple(
        chunk.encoded for chunk in chunks if chunk.source == source and chunk.encoded is not None
    )
