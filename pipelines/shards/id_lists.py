"""Ids of documents as users write them."""

from __future__ import annotations

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key


def parse_id(document: str, sources: list[str]) -> bytes:
    """The 16 bytes of an id given in either form. Raises: UserError."""
    source, colon, native = document.partition(":")
    if colon:
        if source not in sources:
            raise UserError("no such source", field="ID", found=source, allowed=sources)
        found: bytes = document_ids(source, [native_key(native)])[0].as_py()
        return found
    try:
        raw = bytes.fromhex(document)
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise UserError(
            "not a document id",
            field="ID",
            found=document,
            fix="give 32 hex digits, or SOURCE:NATIVE_ID",
        )
    return raw
