"""Ids of documents as users write them: 32 hex digits, or SOURCE:NATIVE_ID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifacts.errors import Place, UserError
from artifacts.ids import document_ids, native_key

FORMS = "32 hex digits, or SOURCE:NATIVE_ID"


def sources_of(record: Mapping[str, Any]) -> list[str]:
    """The sources that an id of a run's document may name."""
    return [source["name"] for source in record["recipe"]["corpus"]["sources"]]


def parse_id(document: str, sources: Sequence[str] | None = None) -> bytes:
    """The 16 bytes of an id given in either form; ``sources``: names that SOURCE may be, None: any.

    Raises: UserError.
    """
    source, colon, native = document.partition(":")
    if colon:
        if sources is not None and source not in sources:
            raise UserError(
                "no such source",
                parameter="document",
                found=source,
                allowed=sources,
                fix="name one of the sources above",
            )
        found: bytes = document_ids(source, [native_key(native)])[0].as_py()
        return found
    try:
        raw = bytes.fromhex(document)
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise UserError(
            "not a document id", parameter="document", found=document, fix=f"give {FORMS}"
        )
    return raw


def read_ids(path: Path, sources: Sequence[str] | None) -> list[bytes]:
    """Ids in a file, one a line in either form, each once; blank lines and lines that start with #
    are skipped.

    ``sources``: names that SOURCE may be; None: any. Raises: UserError with the file, the line of
    the first that is no id, and how many more there are.
    """
    ids: list[bytes] = []
    wrong: list[tuple[int, UserError]] = []
    for number, line in enumerate(_lines(path), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        try:
            ids.append(parse_id(entry, sources))
        except UserError as error:
            wrong.append((number, error))
    if wrong:
        number, first = wrong[0]
        place = Place((), str(path), number, _others([line for line, _ in wrong[1:]]))
        raise first.relocated(lambda address: place) from None
    return list(dict.fromkeys(ids))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(
            f"cannot read the ids: {reason}",
            file=path,
            parameter="ids",
            fix="name a text file with one id a line, as UTF-8",
        ) from None


def _others(lines: Sequence[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:20])
    return f"and {len(lines)} more: lines {shown}" if lines else ""
