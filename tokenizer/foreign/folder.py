"""The tokenizer of a folder that another program wrote.

A ``tokenizer.model`` that is alone, or puts no space before texts, is the tokenizer; otherwise it
is packed with the files beside it, and so is a ``tokenizer.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifacts.errors import UserError
from artifacts.foreign_json import foreign_object
from artifacts.paths import Store
from tokenizer.encode import Tokenizer
from tokenizer.foreign.packed import CONFIG, SENTENCEPIECE, STOCK, WITH_MODEL, pack, pack_with_model
from tokenizer.foreign.spaces import with_spaces
from tokenizer.foreign.surfaces import added_tokens
from tokenizer.prefix import Prefix

_LARGEST = 256 << 20
_LARGEST_CONFIG = 16 << 20


def read_folder(folder: Store, bos: int | None = None, eos: int | None = None) -> Tokenizer | None:
    """The tokenizer of a folder, None where it has none. ``bos`` and ``eos``: ids where they are
    known, of a ``tokenizer.json`` otherwise by the names in ``tokenizer_config.json``.

    Raises: UserError when it is not known or changes texts, or when nothing says which ids begin
    and end a document.
    """
    files = _files(folder, (SENTENCEPIECE, *WITH_MODEL))
    config = _config(files, folder)
    if SENTENCEPIECE in files:
        return _of_model(files, config, folder)
    return _of_stock(files, config, folder, bos, eos) if STOCK in files else None


def read_foreign(folder: Path, bos: int | None, eos: int | None) -> Tokenizer:
    """The tokenizer of a folder by its ``tokenizer.json`` alone. Raises: UserError as
    :func:`read_folder`, and where there is none.
    """
    store = Store(folder)
    files = _files(store, WITH_MODEL)
    return _of_stock(files, _config(files, store), store, bos, eos)


def _of_model(files: Mapping[str, bytes], config: Mapping[str, Any], folder: Store) -> Tokenizer:
    where = folder.full(SENTENCEPIECE)
    given = Tokenizer.load(files[SENTENCEPIECE], file=where)
    if given.prefix is Prefix.NONE or len(files) == 1 or given.packed is not None:
        return given
    prefix = _prefix_said(files, config, folder)
    packed = pack_with_model(files, given.bos_id, given.eos_id, prefix)
    return Tokenizer.load(packed, file=where)


def _prefix_said(files: Mapping[str, bytes], config: Mapping[str, Any], folder: Store) -> Prefix:
    """Which texts get a space before them, as transformers reads it off the files beside a
    SentencePiece model that puts one there.
    """
    if _switch(config, "add_prefix_space", folder) is False:
        return Prefix.NONE
    legacy = _switch(config, "legacy", folder)
    if legacy is not None:
        return Prefix.EACH if legacy else Prefix.FIRST
    if STOCK in files:
        where = folder.full(STOCK)
        spaced = with_spaces(foreign_object(files[STOCK], where, _LARGEST), where)
        if spaced.described is not None:
            return spaced.prefix
    return Prefix.FIRST


def _of_stock(
    files: Mapping[str, bytes],
    config: Mapping[str, Any],
    folder: Store,
    bos: int | None,
    eos: int | None,
) -> Tokenizer:
    where = folder.full(STOCK)
    if STOCK not in files:
        raise UserError("no tokenizer here", file=where, fix="name a folder that has one")
    described = foreign_object(files[STOCK], where, _LARGEST)
    begins = _known_id(described, config, "bos", bos, folder)
    ends = _known_id(described, config, "eos", eos, folder)
    packed = pack(files, begins, ends, with_spaces(described, where).prefix)
    return Tokenizer.load(packed, file=where)


def _known_id(
    described: Mapping[str, Any],
    config: Mapping[str, Any],
    mark: str,
    known: int | None,
    folder: Store,
) -> int:
    if known is not None:
        return known
    name = config.get(f"{mark}_token")
    name = name.get("content") if isinstance(name, dict) else name
    for entry in added_tokens(described, folder.full(STOCK)):
        if entry["content"] == name:
            return int(entry["id"])
    raise UserError(
        f"nothing says which id {'begins' if mark == 'bos' else 'ends'} a document",
        file=folder.full(CONFIG),
        field=f"{mark}_token",
        found=name,
        fix="name a special token of tokenizer.json",
    )


def _config(files: Mapping[str, bytes], folder: Store) -> dict[str, Any]:
    """The settings beside a tokenizer; none where there is no such file."""
    if CONFIG not in files:
        return {}
    return foreign_object(files[CONFIG], folder.full(CONFIG), _LARGEST_CONFIG)


def _switch(config: Mapping[str, Any], name: str, folder: Store) -> bool | None:
    """A setting that is true, false, or left out. Raises: UserError for anything else."""
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise UserError(
            "neither true nor false",
            file=folder.full(CONFIG),
            field=name,
            found=value,
            allowed=["true", "false"],
        )
    return value


def _files(folder: Store, names: Sequence[str]) -> dict[str, bytes]:
    return {name: _read(folder, name) for name in names if _is_file(folder, name)}


def _is_file(folder: Store, name: str) -> bool:
    """Whether there is one; a pipe would never end."""
    return Path(folder.full(name)).is_file() if folder.local else folder.exists(name)


def _read(folder: Store, name: str) -> bytes:
    size = folder.size(name)
    if size is not None and size > _LARGEST:
        raise UserError(
            "the file is too large for a tokenizer",
            file=folder.full(name),
            found=f"{size:,} bytes",
            allowed=[f"up to {_LARGEST:,} bytes"],
        )
    return folder.read(name)
