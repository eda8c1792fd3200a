"""The tokenizer of a folder with ``tokenizer.json``."""

from __future__ import annotations

from pathlib import Path

from artifacts.books import DamageError, parse_object
from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from tokenizer.foreign.packed import FILES, STOCK, pack

_LARGEST = 256 << 20


def read_foreign(folder: Path, bos: int | None, eos: int | None) -> Tokenizer:
    """The tokenizer of a folder with ``tokenizer.json``. ``bos`` and ``eos``: ids where they are
    known, otherwise by the names in ``tokenizer_config.json``.

    Raises: UserError when it is not there or not known, or when nothing says which ids begin and
    end a document.
    """
    files = {}
    for name in FILES:
        path = folder / name
        if path.is_file():
            if path.stat().st_size > _LARGEST:
                raise UserError("too large for a tokenizer", file=path)
            files[name] = path.read_bytes()
    ids = {
        "bos": _known_id(files, "bos", bos, folder),
        "eos": _known_id(files, "eos", eos, folder),
    }
    return Tokenizer.load(pack(files, **ids), file=folder / STOCK)


def _known_id(files: dict[str, bytes], mark: str, known: int | None, folder: Path) -> int:
    if known is not None:
        return known
    try:
        config = parse_object(files.get("tokenizer_config.json", b"{}"))
        described = parse_object(files[STOCK])
    except DamageError as error:
        raise UserError("not JSON", file=folder, found=str(error)) from None
    name = config.get(f"{mark}_token")
    name = name.get("content") if isinstance(name, dict) else name
    for entry in described.get("added_tokens") or ():
        if isinstance(entry, dict) and entry.get("content") == name and name is not None:
            return int(entry["id"])
    raise UserError(
        f"nothing says which id {'begins' if mark == 'bos' else 'ends'} a document",
        file=folder / "tokenizer_config.json",
        field=f"{mark}_token",
        found=name,
        fix="name a special token of tokenizer.json",
    )
