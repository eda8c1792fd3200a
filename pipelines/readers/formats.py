"""Formats of inputs, told by the suffix of a path."""

from __future__ import annotations

from pathlib import PurePosixPath

from artifacts.errors import UserError
from pipelines.readers.streams import COMPRESSIONS

AUTO = "auto"
FORMATS = ("jsonl", "parquet", "warc", "html")

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".warc": "warc",
    ".wet": "warc",
    ".arc": "warc",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
}
_NEVER_COMPRESSED = ("parquet", "html")


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
    found = _SUFFIXES.get(name)
    if found is None or (compressed and found in _NEVER_COMPRESSED):
        raise UserError(
            "the suffix does not tell the format",
            file=path,
            field="format",
            found="".join(suffixes[-2:]) or "no suffix",
            allowed=sorted(_SUFFIXES),
            fix=f"declare the format of the source, one of {', '.join(FORMATS)}",
        )
    return found
