"""Ids of documents as users write them: 32 hex digits, or SOURCE:NATIVE_ID."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifacts.errors import Place, UserError
from artifacts.ids import document_ids, native_key

FORMS = "32 hex digits, or SOURCE:NATIVE_ID"
SHOWN = 120  # characters of what is no id, in an error
_DIGITS = re.compile("[0-9a-fA-F]{32}")


def sources_of(record: Mapping[str, Any]) -> list[str]:
    """The sources that an id of a run's document may name."""
    return [source["name"] for source in record["recipe"]["corpus"]["sources"]]


def parse_id(document: str, sources: Sequence[str] | None = None) -> bytes:
    """The 16 bytes of an id given in either form; ``sources``: names that SOURCE may be, None: any.

    Raises: UserError.
    """
    source, colon, native = document.partition(":")
    if colon and native:
        if sources is not None and source not in sources:
            raise UserError(
                "no such source",
                parameter="document",
                found=shortened(source),
                allowed=sources,
                fix="name one of the sources above",
            )
        found: bytes = document_ids(source, [native_key(native)])[0].as_py()
        return found
    if not _DIGITS.fullmatch(document):
        raise UserError(
            "not a document id",
            parameter="document",
            found=shortened(document),
            fix=f"give {FORMS}",
        )
    return bytes.fromhex(document)


def read_ids(path: Path, sources: Sequence[str] | None) -> dict[bytes, str]:
    """Ids in a file, one a line in either form, each once, with how it was written first; blank
    lines and lines that start with # are skipped.

    ``sources``: names that SOURCE may be; None: any. Raises: UserError with the file, the line of
    the first that is no id, and how many more there are.
    """
    ids: dict[bytes, str] = {}
    wrong: list[tuple[int, UserError]] = []
    for number, line in enumerate(_lines(path), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        try:
            ids.setdefault(parse_id(entry, sources), entry)
        except UserError as error:
            wrong.append((number, error))
    if wrong:
        number, first = wrong[0]
        place = Place((), str(path), number, _others([line for line, _ in wrong[1:]]))
        raise first.relocated(lambda address: place) from None
    return ids


def _lines(path: Path) -> list[str]:
    try:
        # lines end as in a file: an id may hold what Unicode calls a line's end
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(
            f"cannot read the ids: {reason}",
            file=path,
            parameter="ids",
            fix="name a text file with one id a line, as UTF-8",
        ) from None


def shortened(text: str) -> str:
    """A text as an error shows it."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"


def _others(lines: Sequence[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:20])
    return f"and {len(lines)} more: lines {shown}" if lines else ""
