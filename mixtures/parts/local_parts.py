"""Parts on a local disk, mapped into memory as they are asked for."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import xxhash

from artifacts.errors import UserError
from mixtures.parts.part_files import check_length
from mixtures.plan.format import PinnedPart, PinnedSource
from tokenizer.shards.format import TOKEN_TYPES, shard_schema
from tokenizer.shards.manifest import (
    REBUILD,
    PartRecord,
    SourceManifest,
    read_manifest,
    read_raw_manifest,
)
from tokenizer.shards.part_index import PartIndex, read_part_index
from tokenizer.shards.reader import ShardSource, open_source
from tokenizer.shards.record_batch import open_batch

STRETCH = 1 << 23
PROBE = 1 << 21
# Linux reads no more of a larger one than the disk's read-ahead, which is 128 KiB where nobody
# changed it
REQUEST = 1 << 17


class LocalParts:
    """Parts on a local disk, mapped into memory.

    ``record_of``: the record of a part, by number. ``manifest`` is read when somebody asks for it.
    """

    def __init__(
        self,
        folder: Path,
        dtype: str,
        record_of: Callable[[int], PartRecord],
        manifest: SourceManifest | None = None,
    ) -> None:
        self.folder = folder
        self.record_of = record_of
        self.schema = shard_schema(TOKEN_TYPES[dtype])
        self._manifest = manifest
        self._maps: dict[int, mmap.mmap] = {}
        self._indexes: dict[int, PartIndex] = {}

    @classmethod
    def of(cls, source: ShardSource) -> LocalParts:
        return cls(
            source.folder, source.manifest.dtype, source.manifest.parts.__getitem__, source.manifest
        )

    @classmethod
    def pinned(cls, folder: Path, pinned: PinnedSource) -> LocalParts:
        """The parts a plan pins. A manifest that is still the pinned one need not be understood,
        and of thousands that saves seconds.
        """
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

    def record(
        self, part: int, number: int, together: tuple[int, int] | None = None
    ) -> pa.RecordBatch:
        place = self.index(part).batch(number)
        mapped = self._map(part)
        start = place.offset // mmap.PAGESIZE * mmap.PAGESIZE
        # its windows are shown in no order, and soon
        mapped.madvise(mmap.MADV_WILLNEED, start, place.offset + place.bytes - start)
        return open_batch(
            pa.py_buffer(mapped).slice(place.offset, place.bytes), self.schema, self.path(part)
        )

    def ask(self, part: int, first: int, last: int, leaving: Callable[[], bool]) -> None:
        """Have the record batches first to last - 1 read into the page cache, from another thread;
        returns when they are there.

        ``leaving``: asked before every stretch; where it is true the rest is not read. At most two
        stretches of :data:`STRETCH` are under way, so that whoever waits for a page of its own does
        not wait long.
        """
        start, stop = self._span(part, first, last)
        file = os.open(self.path(part), os.O_RDONLY)
        try:
            before = start
            for begin in range(start, stop, STRETCH):
                end = min(begin + STRETCH, stop)
                if leaving():
                    return
                for place in range(begin, end, REQUEST):
                    os.posix_fadvise(file, place, min(REQUEST, end - place), os.POSIX_FADV_WILLNEED)
                if before > start:
                    os.pread(file, 1, before - 1)  # waits for the stretch before
                before = end
            os.pread(file, 1, stop - 1)
        finally:
            os.close(file)

    def there(self, part: int, first: int, last: int) -> bool:
        """Whether the record batches first to last - 1 seem to be in the page cache, by a byte
        every :data:`PROBE`.
        """
        start, stop = self._span(part, first, last)
        try:
            file = os.open(self.path(part), os.O_RDONLY)
        except OSError:
            return False
        try:
            return all(_cached(file, place) for place in (*range(start, stop, PROBE), stop - 1))
        finally:
            os.close(file)

    def _span(self, part: int, first: int, last: int) -> tuple[int, int]:
        """First byte and last + 1 of the record batches first to last - 1."""
        begin, end = self.index(part).batch(first), self.index(part).batch(last - 1)
        return begin.offset, end.offset + end.bytes

    def touch(self, part: int, number: int) -> None:
        """Nothing to do, as in :meth:`release`."""

    def release(self, part: int, number: int) -> None:
        """Nothing to do: what is mapped is the page cache's."""

    def _map(self, part: int) -> mmap.mmap:
        if part not in self._maps:
            path = self.path(part)
            try:
                # not Arrow's own map, which asks for the whole part to be read ahead
                with open(path, "rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            except (OSError, ValueError) as error:
                raise UserError(
                    "a part cannot be read",
                    file=path,
                    found=error,
                    fix=REBUILD,
                ) from None
            check_length(len(mapped), self.record_of(part).bytes, path)
            self._maps[part] = mapped
        return self._maps[part]


def _cached(file: int, place: int) -> bool:
    """Whether the page cache holds a byte of a file; False where the file system does not tell."""
    try:
        return os.preadv(file, [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except OSError:
        return False


def _record(part: PinnedPart) -> PartRecord:
    return PartRecord.model_construct(**dict(part), append=0, trainable_tokens=part.tokens)
