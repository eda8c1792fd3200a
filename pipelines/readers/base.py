"""A format is one object: how its files are named, divided, checked and read.

    Format(name="jsonl", suffixes=(".jsonl", …), compressed=True,
           pieces=…,         # a file -> spans, each with the bytes it counts for
           check_fields=…,   # may a source's files have these fields? from their heads alone
           read=…,           # a span -> batches
           libraries=…)      # that decide what is read

Nobody asks a file for the name of its format; who wants something of it calls the object in
:data:`pipelines.readers.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipelines.readers.batch import Batch
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.opened import compression_of

COMPRESSION_RATIO = 4  # uncompressed bytes counted per stored byte of a compressed file


@dataclass(frozen=True)
class InputFile:
    """A file of a source: what to open, its path relative to the glob root, its stored bytes, the
    name of its format.
    """

    url: str
    path: str
    bytes: int
    format: str


def whole_file(file: InputFile, chunk_bytes: int) -> Iterator[tuple[Span, int]]:
    """The one piece of a file that cannot be cut, whatever ``chunk_bytes``."""
    ratio = 1 if compression_of(file.path) is None else COMPRESSION_RATIO
    yield Span(file.url, file.path), ratio * file.bytes


def any_fields(url: str, fields: Fields) -> None:
    """The check of a format whose files may have any field."""


def any_records(file: InputFile, fields: Fields) -> None:
    """The check of a format whose files say themselves which fields they have."""


@dataclass(frozen=True)
class Format:
    """How files of one format are found, divided into pieces, checked and read.

    name: in recipes and in :class:`InputFile`.
    suffixes: that tell it where ``auto`` is declared, lower case, with their dots.
    compressed: whether the suffix of a compression may follow.
    pieces: spans of a file, each with the uncompressed bytes it counts for, given the size of a
        chunk; :func:`whole_file` where a file cannot be cut.
    check_fields: refuses, given a file's url, fields that it cannot have. Raises: UserError.
    read: batches of one span, given the source's name; see :func:`pipelines.readers.read`.
    libraries: those that decide what is read.
    check_records: refuses fields that a file's first records do not have, where nothing but the
        records tells; for who cannot look into quarantine later. Raises: UserError.
    """

    name: str
    suffixes: tuple[str, ...]
    compressed: bool
    pieces: Callable[[InputFile, int], Iterator[tuple[Span, int]]]
    check_fields: Callable[[str, Fields], None]
    read: Callable[[Span, str, Fields, Limits], Iterator[Batch]]
    libraries: tuple[str, ...]
    check_records: Callable[[InputFile, Fields], None] = any_records
