"""``tokenizer.json`` with the interface of our own tokenizer."""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from artifacts.books import DamageError, parse_object
from artifacts.errors import UserError
from artifacts.extras import require
from tokenizer.encode import Tokenizer
from tokenizer.foreign.packed import FILES, STOCK, Packed, pack, unpack
from tokenizer.foreign.surfaces import surfaces_of
from tokenizer.vocabulary import CONTROL, PairSet, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Stock

_PROBES = ("a", " a", "  a  b ", "\t\r\n x", "\ufb01 \uff21 e\u0301", "\x7f", "é漢🙂")
_LARGEST = 256 << 20


class ForeignTokenizer(Tokenizer):
    """A tokenizer that the library ``tokenizers`` carries out. Make one with
    :meth:`~tokenizer.encode.Tokenizer.load`.
    """

    @classmethod
    def of(cls, model: bytes, file: object) -> ForeignTokenizer:
        """From packed bytes. Raises: UserError when the extra is missing, the kind is not known, or
        it changes texts.
        """
        require("export")
        tokenizer = cls(model)
        tokenizer._check_texts(file)
        return tokenizer

    @cached_property
    def packed(self) -> Packed:
        """Its files and ids."""
        return unpack(self.model, "tokenizer")

    @cached_property
    def stock(self) -> Stock:
        """The library's own object; text is never a special token to it."""
        from tokenizers import Tokenizer as Stock

        stock = Stock.from_str(self.packed.files[STOCK].decode())
        stock.encode_special_tokens = True
        stock.no_truncation()
        stock.no_padding()
        return stock

    @cached_property
    def vocabulary(self) -> Vocabulary:
        described = parse_object(self.packed.files[STOCK])
        surfaces, kinds = surfaces_of(described, STOCK)
        lengths = np.array([len(surface) for surface in surfaces], np.int64)
        return Vocabulary(
            len(surfaces),
            np.frombuffer(b"".join(surfaces), np.uint8),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            kinds,
            np.full(256, -1, np.int32),
            PairSet(np.zeros(128 * 128, np.uint8), np.zeros(16, np.uint64)),
        )

    @property
    def bos_id(self) -> int:
        return self.packed.bos

    @property
    def eos_id(self) -> int:
        return self.packed.eos

    def control_id(self, name: str) -> int | None:
        token = self.stock.token_to_id(name)
        return token if token is not None and self.vocabulary.kinds[token] == CONTROL else None

    def encode(self, texts: pa.Array | pa.ChunkedArray, eos: bool = False) -> pa.LargeListArray:
        column = texts.to_pylist()
        if None in column:
            raise UserError(
                "a document has no text",
                field="text",
                found=f"null in row {column.index(None)}",
                fix="quarantine it before encoding",
            )
        rows = [
            encoding.ids
            for encoding in self.stock.encode_batch_fast(column, add_special_tokens=False)
        ]
        if eos:
            rows = [[*row, self.eos_id] for row in rows]
        ends = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=ends[1:])
        flat = np.fromiter(chain.from_iterable(rows), self.token_type.to_pandas_dtype(), ends[-1])
        return pa.LargeListArray.from_arrays(pa.array(ends), pa.array(flat, self.token_type))

    def __reduce__(self) -> tuple[Any, ...]:
        return (ForeignTokenizer, (self.model, self.window_bytes))

    def _check_texts(self, file: object) -> None:
        """Raises: UserError where a text does not come back; one space more before it is let
        pass.
        """
        try:
            size = self.vocab_size
            for name, token in (("BOS", self.bos_id), ("EOS", self.eos_id)):
                if not 0 <= token < size:
                    raise UserError(
                        f"no such piece for {name}",
                        file=file,
                        found=token,
                        allowed=[f"0 to {size - 1}"],
                    )
            found = [(probe, self.decode_tokens(self.encode_text(probe))) for probe in _PROBES]
        except UserError:
            raise
        except Exception as error:  # the library raises no class of its own
            raise UserError(
                "not a tokenizer.json",
                file=file,
                found=str(error),
                fix="restore it from where it came from",
            ) from None
        for probe, kept in found:
            if kept.removeprefix(" ") != probe.removeprefix(" "):
                raise UserError(
                    "the tokenizer changes text",
                    file=file,
                    found=f"{probe!r} comes back as {kept!r}",
                    fix="take a tokenizer without a normaliser",
                )


def read_foreign(folder: Path, bos: int | None, eos: int | None) -> ForeignTokenizer:
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
    return ForeignTokenizer.of(pack(files, **ids), folder / STOCK)


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
