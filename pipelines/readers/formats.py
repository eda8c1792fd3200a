"""Formats of inputs by name, told by the suffix of a path where a source declares none.

To add a format, write its :class:`~pipelines.readers.base.Format` in a file of its own and list it
in :data:`FORMATS`. The dictionary is read at each call, so a program may add to it while it runs;
worker processes know what they import themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from artifacts.errors import UserError
from pipelines.readers.archives.format import WARC
from pipelines.readers.base import Format
from pipelines.readers.jsonl.format import JSONL
from pipelines.readers.pages.format import HTML
from pipelines.readers.parquet.format import PARQUET
from pipelines.readers.streams.opened import COMPRESSIONS

AUTO = "auto"
FORMATS: dict[str, Format] = {format.name: format for format in (JSONL, PARQUET, WARC, HTML)}

LIBRARIES = ("pyarrow", "orjson", "zstandard", "xxhash", "FastWARC", "Resiliparse")
"""Libraries that are named in the key of all that is read, whatever the format."""


def format_of(path: str, declared: str = AUTO) -> str:
    """Format of an input: the declared one, or by suffix where ``auto`` is declared.

    Raises: UserError when the declared format is unknown or the suffix tells nothing.
    """
    if declared != AUTO:
        if declared not in FORMATS:
            raise UserError(
                "unknown format",
                file=path,
                field="format",
                found=declared,
                allowed=[AUTO, *FORMATS],
            )
        return declared
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    compressed = bool(suffixes) and suffixes[-1] in COMPRESSIONS
    name = suffixes[-1 - compressed] if len(suffixes) > compressed else ""
    known = {suffix: format for format in FORMATS.values() for suffix in format.suffixes}
    found = known.get(name)
    if found is None or (compressed and not found.compressed):
        raise UserError(
            "the suffix does not tell the format",
            file=path,
            field="format",
            found="".join(suffixes[-2:]) or "no suffix",
            allowed=sorted(known),
            fix=f"declare the format of the source, one of {', '.join(FORMATS)}",
        )
    return found.name


def libraries_of(formats: Iterable[str]) -> tuple[str, ...]:
    """Libraries that are named in the key of what is read from files of these formats:
    :data:`LIBRARIES`, and behind them what else a format takes, so that a new one changes no key of
    the others.
    """
    taken = [library for name in sorted(set(formats)) for library in FORMATS[name].libraries]
    return tuple(dict.fromkeys([*LIBRARIES, *taken]))
