"""A foreign tokenizer as one value: its files and which ids begin and end a document.

Checkpoints and runs keep a tokenizer as the bytes of a model. Of a foreign one these are JSON: the
files of its folder as they were, the ids of BOS and EOS, which ``tokenizer.json`` does not say, and
which texts get a space before them (:mod:`tokenizer.prefix`). ``tokenizer.model`` is in base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.books import DamageError, parse_object
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json
from tokenizer.prefix import Prefix

STOCK = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SENTENCEPIECE = "tokenizer.model"
FILES = (STOCK, CONFIG, "special_tokens_map.json", "chat_template.jinja")
"""What is kept of a folder, where it is there."""
WITH_MODEL = (*FILES, "added_tokens.json")
"""Likewise, beside a SentencePiece model."""

FORMAT = "foreign-tokenizer/1"
SPACED = "foreign-tokenizer/2"
"""With ``prefix``, and with the SentencePiece ``model`` where there is one."""
_BEGINS = b'{"bos":'  # canonical JSON sorts keys


@dataclass(frozen=True)
class Packed:
    """The content of a packed tokenizer: ``files`` by name, of which a SentencePiece model or
    ``tokenizer.json`` is carried out; ids of BOS and EOS; which texts get a space before them.
    """

    files: Mapping[str, bytes]
    bos: int
    eos: int
    prefix: Prefix = Prefix.NONE

    @property
    def sentencepiece(self) -> bytes | None:
        """The SentencePiece model, where the folder had one."""
        return self.files.get(SENTENCEPIECE)


def is_packed(model: bytes) -> bool:
    """Whether the bytes of a model are a foreign tokenizer. SentencePiece's never begin like
    this.
    """
    return model.startswith(_BEGINS)


def pack(files: Mapping[str, bytes], bos: int, eos: int, prefix: Prefix = Prefix.NONE) -> bytes:
    """The bytes that a checkpoint keeps of a ``tokenizer.json`` and the files beside it. Raises:
    UserError for a file that is not UTF-8.
    """
    values: dict[str, Any] = {"bos": bos, "eos": eos, "format": FORMAT}
    if prefix is not Prefix.NONE:
        values |= {"format": SPACED, "prefix": prefix.value}
    return canonical_json({**values, "files": _texts(files, FILES)})


def pack_with_model(files: Mapping[str, bytes], bos: int, eos: int, prefix: Prefix) -> bytes:
    """Likewise of a SentencePiece model."""
    return canonical_json(
        {
            "bos": bos,
            "eos": eos,
            "files": _texts(files, WITH_MODEL),
            "format": SPACED,
            "model": base64.b64encode(files[SENTENCEPIECE]).decode(),
            "prefix": prefix.value,
        }
    )


def _texts(files: Mapping[str, bytes], names: Sequence[str]) -> dict[str, str]:
    texts = {}
    for name in names:
        if name in files:
            try:
                texts[name] = files[name].decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    "a file of the tokenizer is not UTF-8",
                    file=name,
                    found=str(error),
                    fix="restore it from where it came from",
                ) from None
    return texts


def unpack(model: bytes, file: object) -> Packed:
    """Raises: UserError when the bytes are none that :func:`pack` made."""
    try:
        values = parse_object(model)
        return _content(values)
    except (DamageError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            "not a packed tokenizer", file=file, found=str(error), fix="restore it"
        ) from None


def _content(values: Mapping[str, Any]) -> Packed:
    if values["format"] not in (FORMAT, SPACED):
        raise KeyError(f"format {values['format']!r}")
    names = WITH_MODEL if "model" in values else FILES
    files = {name: values["files"][name].encode() for name in names if name in values["files"]}
    prefix = Prefix.NONE
    if values["format"] == SPACED:
        prefix = Prefix(values["prefix"])
        if "model" in values:
            files[SENTENCEPIECE] = _decoded(values["model"])
    if STOCK not in files and SENTENCEPIECE not in files:
        raise KeyError(STOCK)
    ids = values["bos"], values["eos"]
    if any(not isinstance(one, int) or isinstance(one, bool) for one in ids):
        raise TypeError(f"ids {ids}")
    return Packed(files, *ids, prefix)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"model: {error}") from None
