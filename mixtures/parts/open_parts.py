"""Open the parts of a source, wherever they lie.

    files = part_files("shards/web-en", plan.sources[0])         # or s3://bucket/shards/web-en
    index = files.index(0)                                       # record batches of part 0
    record = files.record(0, 5)                                  # the sixth, zero-copy

Local folders are mapped; stores are read through a cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixtures.parts.local_parts import LocalParts
from mixtures.parts.part_files import PartFiles
from mixtures.plan.format import PinnedSource
from tokenizer.shards.reader import ShardSource, open_source

if TYPE_CHECKING:
    from mixtures.parts.remote_parts import RangeCache


def part_files(
    folder: Path | str, pinned: PinnedSource, cache: RangeCache | None = None
) -> PartFiles:
    """The files of a source's folder or URL; ``cache`` is for stores.

    Raises: UserError when it is no source, or was encoded with another tokenizer.
    """
    if "://" in str(folder):
        from mixtures.parts.remote_parts import open_remote  # fsspec is loaded where it is needed

        return open_remote(str(folder), pinned.tokenizer_hash, cache)
    return LocalParts.pinned(Path(folder), pinned)


def open_shards(folder: Path | str, tokenizer_hash: str | None = None) -> ShardSource | PartFiles:
    """A source in a folder or at a URL; its parts are read when they are asked for.

    Raises: UserError as :func:`tokenizer.shards.reader.open_source`.
    """
    if "://" in str(folder):
        from mixtures.parts.remote_parts import open_remote

        return open_remote(str(folder), tokenizer_hash)
    return open_source(folder, tokenizer_hash)


def files_of(source: ShardSource | PartFiles) -> PartFiles:
    """The files of a source that is open already."""
    return LocalParts.of(source) if isinstance(source, ShardSource) else source
