"""Parts on an object store, read in long ranges through a bounded cache on the local disk.

A block of a source (at most 16 Mi tokens, :mod:`mixtures.order.source_order`) is read in one
request: the record batches that it touches lie next to each other in the part. The range is widened
to the blocks of the part's checksums, so what arrives is checked before it is used. A range lies in
a file that has no name any more: it is mapped, and its room is free again when it is let go or the
process ends.

Requests of a source: its manifest, the index of each part that is read, and one for each block and
part that the block touches.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import xxhash

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.store_errors import unanswered
from mixtures.parts.part_files import check_length
from tokenizer.shards.format import TOKEN_TYPES, shard_schema
from tokenizer.shards.manifest import MANIFEST_NAME, REBUILD, SourceManifest, parse_manifest
from tokenizer.shards.part_index import PartIndex, read_part_index
from tokenizer.shards.record_batch import open_batch

CACHE_BYTES = 16 << 30


@dataclass(eq=False)
class CachedRange:
    """Bytes ``start`` on of a part, mapped; ``held`` are the record batches in it that are open."""

    parts: RemoteParts
    part: int
    first: int
    last: int
    start: int
    buffer: pa.Buffer
    held: set[int] = field(default_factory=set)


class RangeCache:
    """Ranges of all sources of a loader, the least recently used at the front; at most ``limit``
    bytes.

    ``folder``: where, None for the system's temporary folder. ``evicted`` is told of every open
    record batch that goes.
    """

    def __init__(
        self, limit: int = CACHE_BYTES, folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.limit = limit
        self.folder = None if folder is None else Path(folder)
        self.bytes = 0
        self.requests = 0
        self.evicted: Callable[[RemoteParts, int, int], None] = lambda parts, part, number: None
        self._ranges: OrderedDict[int, CachedRange] = OrderedDict()
        self._busy: set[int] = set()

    @property
    def ranges(self) -> int:
        """Ranges held."""
        return len(self._ranges)

    def begin(self) -> None:
        """A new batch is being read: what earlier ones used may go."""
        self._busy.clear()

    def touch(self, found: CachedRange) -> None:
        """Keep a range until the next :meth:`begin`."""
        self._busy.add(id(found))
        if id(found) in self._ranges:
            self._ranges.move_to_end(id(found))

    def add(self, found: CachedRange) -> None:
        self._ranges[id(found)] = found
        self._busy.add(id(found))
        self.bytes += found.buffer.size

    def make_room(self, wanted: int) -> None:
        """Let go of ranges until ``wanted`` more bytes fit. Raises: UserError when those in use
        leave no room.
        """
        for key, found in list(self._ranges.items()):
            if self.bytes + wanted <= self.limit:
                return
            if key not in self._busy:
                self._drop(key, found)
        if self.bytes + wanted > self.limit:
            raise UserError(
                "the cache of remote shards cannot hold what one batch needs",
                field="cache_bytes",
                found=f"{self.limit:,} bytes",
                allowed=[f"at least {self.bytes + wanted:,}"],
                fix=(
                    "raise it; the blocks that each source has open should fit: 64 Mi tokens of "
                    "one, or all of a smaller one"
                ),
            )

    def map(self, content: bytes) -> pa.Buffer:
        """The bytes in a file without a name, mapped."""
        folder = None if self.folder is None else str(self.folder)
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(content)
            file.flush()
            return pa.py_buffer(mmap.mmap(file.fileno(), len(content), prot=mmap.PROT_READ))

    def _drop(self, key: int, found: CachedRange) -> None:
        for number in sorted(found.held):
            self.evicted(found.parts, found.part, number)
        found.parts.forget(found)
        self.bytes -= found.buffer.size
        del self._ranges[key]


class RemoteParts:
    """Parts on a store; ranges of them lie in ``cache``.

    Raises: UserError when there is no source.
    """

    def __init__(
        self, store: Store, tokenizer_hash: str | None = None, cache: RangeCache | None = None
    ) -> None:
        self.store = store
        self.cache = RangeCache() if cache is None else cache
        self._manifest = parse_manifest(
            self._fetch(MANIFEST_NAME), store.root + "/" + MANIFEST_NAME
        )
        self.schema = shard_schema(TOKEN_TYPES[self.manifest.dtype])
        self._indexes: dict[int, PartIndex] = {}
        self._ranges: dict[int, list[CachedRange]] = {}
        if tokenizer_hash is not None and tokenizer_hash != self.manifest.tokenizer_hash:
            raise UserError(
                "the source was encoded with another tokenizer",
                file=self.where,
                field="tokenizer_hash",
                found=self.manifest.tokenizer_hash,
                allowed=[tokenizer_hash],
                fix=(
                    "encode the source with this tokenizer, or use the tokenizer it was encoded "
                    "with"
                ),
            )

    @property
    def manifest(self) -> SourceManifest:
        return self._manifest

    @property
    def as_pinned(self) -> bool:
        return False

    @property
    def where(self) -> str:
        return self.store.root

    def path(self, part: int) -> str:
        return f"{self.store.root.rstrip('/')}/{self.manifest.parts[part].file}"

    def index(self, part: int) -> PartIndex:
        if part not in self._indexes:
            record = self.manifest.parts[part]
            self._indexes[part] = read_part_index(self._fetch(record.index_file), record)
        return self._indexes[part]

    def record(
        self, part: int, number: int, together: tuple[int, int] | None = None
    ) -> pa.RecordBatch:
        found = self._cached(part, number) or self._read(
            part, number, *(together or (number, number + 1))
        )
        self.cache.touch(found)
        found.held.add(number)
        place = self.index(part).batch(number)
        return open_batch(
            found.buffer.slice(place.offset - found.start, place.bytes),
            self.schema,
            self.path(part),
        )

    def touch(self, part: int, number: int) -> None:
        """The batch being read uses this record batch."""
        found = self._cached(part, number)
        if found is not None:
            self.cache.touch(found)

    def release(self, part: int, number: int) -> None:
        found = self._cached(part, number)
        if found is not None:
            found.held.discard(number)

    def forget(self, found: CachedRange) -> None:
        """A range that the cache has let go."""
        self._ranges[found.part].remove(found)

    def _cached(self, part: int, number: int) -> CachedRange | None:
        return next(
            (found for found in self._ranges.get(part, []) if found.first <= number < found.last),
            None,
        )

    def _read(self, part: int, number: int, first: int, last: int) -> CachedRange:
        """Fetch the record batches first to last - 1, of which ``number`` is one, less those at the
        ends that are there.
        """
        while first < number and self._cached(part, first):
            first += 1
        while last - 1 > number and self._cached(part, last - 1):
            last -= 1
        index, record = self.index(part), self.manifest.parts[part]
        size = index.block_bytes
        end = index.batch(last - 1).offset + index.batch(last - 1).bytes
        start, stop = (
            index.batch(first).offset // size * size,
            min(-(-end // size) * size, record.bytes),
        )
        self.cache.make_room(stop - start)
        content = self._fetch(record.file, start, stop)
        check_length(len(content), stop - start, self.path(part))
        for block in range(start // size, -(-stop // size)):
            piece = memoryview(content)[block * size - start : (block + 1) * size - start]
            if xxhash.xxh3_64_hexdigest(piece) != index.block_sum(block):
                raise UserError(
                    f"bytes {block * size:,} to {block * size + len(piece):,} are not what was "
                    "written",
                    file=self.path(part),
                    field="blocks",
                    found=xxhash.xxh3_64_hexdigest(piece),
                    allowed=[str(index.block_sum(block))],
                    fix=REBUILD,
                )
        found = CachedRange(self, part, first, last, start, self.cache.map(content))
        self._ranges.setdefault(part, []).append(found)
        self.cache.add(found)
        return found

    def _fetch(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes of a file in one request: with a start, stores are not asked for the size first."""
        self.cache.requests += 1
        path = self.store.full(name)
        try:
            content: bytes = self.store.fs.cat_file(path, start=start, end=stop)
        except FileNotFoundError:
            raise UserError(
                "no such file in the store",
                file=self.store.full(name),
                fix="name a folder of shards",
            ) from None
        except Exception as error:  # stores raise errors of their own, such as missing credentials
            raise unanswered(error, self.store.full(name)) from error
        return content


def open_remote(
    url: str, tokenizer_hash: str | None = None, cache: RangeCache | None = None
) -> RemoteParts:
    """A source's parts on a store that fsspec knows, such as ``s3://bucket/shards/web-en``."""
    return RemoteParts(Store(url), tokenizer_hash, cache)
