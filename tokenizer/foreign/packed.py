"""A foreign tokenizer as one value: its files and which ids begin and end a document.

Checkpoints and runs keep a tokenizer as the bytes of a model. Of a foreign one these are JSON: the
files of its folder as they were, and the ids of BOS and EOS, which ``tokenizer.json`` does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.books import DamageError, parse_object
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json

STOCK = "tokenizer.json"
FILES = (STOCK, "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""What is kept of a folder, where it is there; ``tokenizer.json`` has to be."""

FORMAT = "foreign-tokenizer/1"
_BEGINS = b'{"bos":'  # canonical JSON sorts keys


@dataclass(frozen=True)
class Packed:
    """The content of a packed tokenizer: ``files`` by name, ids of BOS and EOS."""

    files: Mapping[str, bytes]
    bos: int
    eos: int


def is_packed(model: bytes) -> bool:
    """Whether the bytes of a model are a foreign tokenizer. SentencePiece's never begin like
    this.
    """
    return model.startswith(_BEGINS)


def pack(files: Mapping[str, bytes], bos: int, eos: int) -> bytes:
    """The bytes that a checkpoint keeps. Raises: UserError for a file that is not UTF-8."""
    texts = {}
    for name in FILES:
        if name in files:
            try:
                texts[name] = files[name].decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    "a file of the tokenizer is not UTF-8", file=name, found=str(error)
                ) from None
    return canonical_json({"bos": bos, "eos": eos, "files": texts, "format": FORMAT})


def unpack(model: bytes, file: object) -> Packed:
    """Raises: UserError when the bytes are none that :func:`pack` made."""
    try:
        values = parse_object(model)
        return _content(values)
    except (DamageError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "not a packed tokenizer", file=file, found=str(error), fix="restore it"
        ) from None


def _content(values: Mapping[str, Any]) -> Packed:
    if values["format"] != FORMAT:
        raise KeyError(f"format {values['format']!r}")
    files = {name: values["files"][name].encode() for name in FILES if name in values["files"]}
    if STOCK not in files:
        raise KeyError(STOCK)
    ids = values["bos"], values["eos"]
    if any(not isinstance(one, int) or isinstance(one, bool) for one in ids):
        raise TypeError(f"ids {ids}")
    return Packed(files, *ids)
