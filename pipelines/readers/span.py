"""What one read covers, which columns it fills, and the bounds it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from artifacts.settings import LATER

MIB = 1 << 20


@dataclass(frozen=True)
class Span:
    """One piece of one input.

    ``url`` is what to open (absolute local path, ``s3://…``); ``path`` is relative to the source's
    glob root with POSIX separators and goes into ids and quarantine. ``start`` and ``end``
    (exclusive, ``None`` = to the end) count bytes of an uncompressed JSON Lines file, row groups of
    a Parquet file; every other input is read whole, from 0 to ``None``. ``suspect``: offsets
    [start, end) of the uncompressed stream that are known to fail a checksum.
    """

    url: str
    path: str
    start: int = 0
    end: int | None = None
    suspect: tuple[tuple[int, int], ...] = ()

    @property
    def whole(self) -> bool:
        """True if the span covers its input from beginning to end."""
        return self.start == 0 and self.end is None


@dataclass(frozen=True)
class Fields:
    """Which field of a record fills which column of the documents.

    ``messages_field`` marks instruction data: the text is then what the conversation says. A record
    without that field is told by its fields (:mod:`pipelines.readers.rows.conversations`). ``lang``
    and ``license`` are the values of records that do not say theirs. Fields that fill no column are
    kept in ``meta``.
    """

    id_field: str | None = None
    text_field: str = "text"
    messages_field: str | None = None
    url_field: str = "url"
    lang_field: str = "lang"
    license_field: str = "license"
    date_field: str = "date"
    lang: str | None = None
    license: str | None = None

    @cached_property
    def named(self) -> frozenset[str]:
        """Names of the fields that fill columns."""
        names = (
            self.id_field,
            self.text_field,
            self.messages_field,
            self.url_field,
            self.lang_field,
            self.license_field,
            self.date_field,
        )
        return frozenset(name for name in names if name is not None)


@dataclass(frozen=True)
class Limits:
    """Bounds, in bytes, that keep a hostile or merely huge input out of memory.

    ``batch_bytes``: input one batch covers before it is handed on. ``record_bytes``: longest
    record read; a longer one is quarantined. ``quarantine_bytes``: raw bytes kept of a quarantined
    record. ``window_bytes``: largest window of a zstd frame (what ``zstd -d`` allows by default;
    frames made with ``--long=28`` and more need more). ``search_bytes``: bytes of a damaged
    compressed file that are decoded in vain in search of where it goes on.

    ``page_depth``: levels of elements of a web page. ``page_nodes``: its elements, texts and
    attributes. ``page_attributes``: attributes of one element. ``page_work``: its bytes, each times
    the levels it lies under. A page beyond one of them is quarantined; of 800 real pages the most
    was 39 levels, 0.1 million nodes, 70 attributes and 17 million.
    """

    batch_bytes: int = 32 * MIB
    record_bytes: int = 32 * MIB
    quarantine_bytes: int = 64 * 1024
    window_bytes: int = 128 * MIB
    search_bytes: int = field(default=64 * MIB, metadata={LATER: True})
    page_depth: int = field(default=2048, metadata={LATER: True})
    page_nodes: int = field(default=1 << 20, metadata={LATER: True})
    page_attributes: int = field(default=4096, metadata={LATER: True})
    page_work: int = field(default=1 << 29, metadata={LATER: True})
