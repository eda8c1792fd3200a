"""From which domains the documents of every source come: read, kept, and how much text is kept.

A domain is what was registered: ``example.co.uk`` of ``www.example.co.uk``, by the list of public
suffixes that tldextract brings; nothing is loaded. Hosts are taken from addresses by Arrow, and
only the different ones of a chunk are looked at one by one. In a large corpus chunks are counted in
part, evenly; rare domains make room for others when there are too many to hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tldextract import TLDExtract

from artifacts.tables import read_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.chunk_columns import ChunkColumns

COUNTED = 1 << 24
"""Documents whose addresses are looked at, about."""

HELD = 1 << 16
"""Domains of a source held at once."""

_LONGEST = 253  # characters of a host's name
_HOST = r"^\s*[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#\s]*@)?(?P<host>\[[^\]/?#\s]*\]|[^:/?#\s]+)"


@dataclass
class DomainCount:
    """Documents of a domain, and the characters of those kept."""

    read: int = 0
    kept: int = 0
    characters: int = 0


@dataclass
class SourceDomains:
    """The domains of one source. ``read``, ``kept``, ``characters``: of all documents that have an
    address. ``missing``: how many documents a count may lack, since rare domains made room.
    """

    by_name: dict[str, DomainCount] = field(default_factory=dict)
    whole: DomainCount = field(default_factory=DomainCount)
    missing: int = 0

    def add(self, domain: str, read: int, kept: int, characters: int) -> None:
        for count in (self.whole, self.by_name.setdefault(domain, DomainCount())):
            count.read += read
            count.kept += kept
            count.characters += characters

    def make_room(self) -> None:
        """Hold the more frequent half where there are more than :data:`HELD` domains."""
        if len(self.by_name) > HELD:
            ordered = self.frequent()
            self.missing += self.by_name[ordered[HELD // 2]].read
            self.by_name = {name: self.by_name[name] for name in ordered[: HELD // 2]}

    def frequent(self) -> list[str]:
        """Domains by documents read, the most frequent first."""
        return sorted(self.by_name, key=lambda name: (-self.by_name[name].read, name))


@dataclass
class Domains:
    """Domains by source, a chunk at a time; every ``every``-th chunk is counted."""

    every: int = 1
    sources: dict[str, SourceDomains] = field(default_factory=dict)

    @classmethod
    def over(cls, chunks: Sequence[Chunk]) -> Domains:
        """To count a corpus of these chunks."""
        documents = sum(chunk.records.rows for chunk in chunks)
        return cls(max(1, -(-documents // COUNTED)))

    def add(self, columns: ChunkColumns) -> None:
        if columns.chunk.number % self.every:
            return
        urls = read_parquet(columns.store, columns.chunk.records.name, "documents", ["url"])["url"]
        hosts = _hosts(urls.combine_chunks())
        if hosts.null_count == len(hosts):
            return
        counted = self.sources.setdefault(columns.chunk.source, SourceDomains())
        for row in _grouped(hosts, columns).to_pylist():
            counted.add(
                registered_domain(row["host"]),
                row["host_count"],
                row["kept_sum"],
                row["characters_sum"],
            )
        counted.make_room()


def _hosts(urls: pa.StringArray) -> pa.StringArray:
    """The host of every address, null where there is none."""
    hosts = pc.struct_field(pc.extract_regex(urls, _HOST), "host")
    return pc.utf8_slice_codeunits(pc.utf8_rtrim(pc.utf8_lower(hosts), "."), 0, _LONGEST)


def _grouped(hosts: pa.StringArray, columns: ChunkColumns) -> pa.Table:
    """A row per host: documents, documents kept, their characters."""
    kept = columns.kept.astype(np.int64)
    table = pa.table({"host": hosts, "kept": kept, "characters": kept * columns.characters})
    grouped = table.filter(hosts.is_valid()).group_by("host", use_threads=False)
    return grouped.aggregate([("host", "count"), ("kept", "sum"), ("characters", "sum")])


@lru_cache(maxsize=HELD)
def registered_domain(host: str) -> str:
    """The registered part of a host's name; an address of numbers, or a name under no public
    suffix, is itself.
    """
    parts = _suffixes()(host)
    return f"{parts.domain}.{parts.suffix}" if parts.domain and parts.suffix else host


@cache
def _suffixes() -> TLDExtract:
    """The list of public suffixes inside the package: nothing is loaded or kept."""
    return TLDExtract(cache_dir=None, suffix_list_urls=())
