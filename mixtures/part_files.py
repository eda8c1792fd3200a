"""Where a source's parts lie: on a local disk, mapped, or on an object store, behind a bounded local cache.

    files = part_files("shards/web-en", plan.sources[0])         # or s3://bucket/shards/web-en
    index = files.index(0)                                       # record batches of part 0
    record = files.record(0, 5)                                  # the sixth, zero-copy
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import xxhash

from artifacts.errors import UserError
from mixtures.plan_format import PinnedPart, PinnedSource
from tokenizer.part_index import PartIndex, read_part_index
from tokenizer.record_batch import open_batch
from tokenizer.shard_format import TOKEN_TYPES, shard_schema
from tokenizer.shard_manifest import PartRecord, SourceManifest, read_manifest, read_raw_manifest
from tokenizer.shards import ShardSource, open_source

if TYPE_CHECKING:
    from mixtures.remote_parts import RangeCache


class PartFiles(Protocol):
    """Record batches of a source's parts, by part and number."""

    @property
    def manifest(self) -> SourceManifest:
        """What the source holds."""
        ...

    @property
    def as_pinned(self) -> bool:
        """The manifest is the one that a plan pins: no part and no document has come or gone."""
        ...

    @property
    def where(self) -> str:
        """Folder or URL of the source, for messages."""
        ...

    def path(self, part: int) -> str:
        """Path or URL of a part, for messages."""
        ...

    def index(self, part: int) -> PartIndex:
        """Where the record batches of a part lie. Raises: UserError as :func:`tokenizer.part_index.read_part_index`."""
        ...

    def record(self, part: int, number: int, together: tuple[int, int] | None = None) -> pa.RecordBatch:
        """A record batch, checked; those from ``together[0]`` to ``together[1]`` - 1 are wanted soon.

        Raises: UserError when it cannot be read or is not sound.
        """
        ...

    def touch(self, part: int, number: int) -> None:
        """The batch that is being read uses this record batch."""
        ...

    def release(self, part: int, number: int) -> None:
        """The record batch is no longer held."""
        ...


class LocalParts:
    """Parts on a local disk, mapped into memory.

    ``record_of``: the record of a part, by number. ``manifest`` is read when somebody asks for it.
    """

    def __init__(
        self, folder: Path, dtype: str, record_of: Callable[[int], PartRecord], manifest: SourceManifest | None = None
    ) -> None:
        self.folder = folder
        self.record_of = record_of
        self.schema = shard_schema(TOKEN_TYPES[dtype])
        self._manifest = manifest
        self._maps: dict[int, pa.Buffer] = {}
        self._indexes: dict[int, PartIndex] = {}

    @classmethod
    def of(cls, source: ShardSource) -> LocalParts:
        return cls(source.folder, source.manifest.dtype, source.manifest.parts.__getitem__, source.manifest)

    @classmethod
    def pinned(cls, folder: Path, pinned: PinnedSource) -> LocalParts:
        """The parts a plan pins. A manifest that is still the pinned one need not be understood, and of thousands that saves seconds."""
        raw = read_raw_manifest(folder)
        if pinned.manifest and xxhash.xxh3_128_hexdigest(raw) == pinned.manifest:
            return cls(folder, pinned.dtype, lambda part: _record(pinned.parts[part]))
        return cls.of(open_source(folder, pinned.tokenizer_hash))

    @property
    def as_pinned(self) -> bool:
        return self._manifest is None

    @property
    def manifest(self) -> SourceManifest:
        return self._manifest or read_manifest(self.folder)

    @property
    def where(self) -> str:
        return str(self.folder)

    def path(self, part: int) -> str:
        return str(self.folder / self.record_of(part).file)

    def index(self, part: int) -> PartIndex:
        if part not in self._indexes:
            self._indexes[part] = read_part_index(self.folder, self.record_of(part))
        return self._indexes[part]

    def record(self, part: int, number: int, together: tuple[int, int] | None = None) -> pa.RecordBatch:
        place = self.index(part).batch(number)
        return open_batch(self._map(part).slice(place.offset, place.bytes), self.schema, self.path(part))

    def touch(self, part: int, number: int) -> None:
        """Nothing to do, as in :meth:`release`."""

    def release(self, part: int, number: int) -> None:
        """Nothing to do: what is mapped is the page cache's."""

    def _map(self, part: int) -> pa.Buffer:
        if part not in self._maps:
            path = self.path(part)
            try:
                with open(path, "rb") as file:  # not Arrow's own map, which asks for the whole part to be read ahead
                    mapped = pa.py_buffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            except (OSError, ValueError) as error:
                raise UserError("a part cannot be read", file=path, found=error, fix="restore it or rebuild the source") from None
            check_length(mapped.size, self.record_of(part).bytes, path)
            self._maps[part] = mapped
        return self._maps[part]


def _record(part: PinnedPart) -> PartRecord:
    return PartRecord.model_construct(**dict(part), append=0, trainable_tokens=part.tokens)


def check_length(found: int, stated: int, path: str) -> None:
    """Raises: UserError when a part is not as long as the manifest says."""
    if found != stated:
        raise UserError(
            "a part is not as long as the manifest says",
            file=path,
            found=f"{found} bytes",
            allowed=[f"{stated} bytes"],
            fix="run `windtunnel shards verify`, then restore the part",
        )


def part_files(folder: Path | str, pinned: PinnedSource, cache: RangeCache | None = None) -> PartFiles:
    """The files of a source's folder or URL; ``cache`` is for stores.

    Raises: UserError when it is no source, or was encoded with another tokenizer.
    """
    if "://" in str(folder):
        from mixtures.remote_parts import open_remote  # fsspec is loaded where it is needed

        return open_remote(str(folder), pinned.tokenizer_hash, cache)
    return LocalParts.pinned(Path(folder), pinned)


def files_of(source: ShardSource | PartFiles) -> PartFiles:
    """The files of a source that is open already."""
    return LocalParts.of(source) if isinstance(source, ShardSource) else source
