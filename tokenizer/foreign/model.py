"""A packed ``tokenizer.json``, carried out by the library ``tokenizers``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.books import parse_object
from artifacts.errors import UserError
from artifacts.extras import require
from tokenizer.foreign.packed import STOCK, Packed
from tokenizer.foreign.sound import check_same_ids, check_sound
from tokenizer.foreign.spaces import with_spaces
from tokenizer.foreign.surfaces import surfaces_of
from tokenizer.vocabulary import CONTROL, PairSet, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Stock


@dataclass(frozen=True)
class ForeignModel:
    """What :class:`tokenizer.encode.Tokenizer` asks of a tokenizer that is no SentencePiece
    model.
    """

    packed: Packed

    @classmethod
    def of(cls, packed: Packed) -> ForeignModel:
        """Of a ``tokenizer.json``. Raises: UserError when the extra is missing."""
        require("export")
        return cls(packed)

    @cached_property
    def stock(self) -> Stock:
        """The library's own object; text is never a special token to it."""
        from tokenizers import Tokenizer as Stock

        plain = with_spaces(parse_object(self.packed.files[STOCK]), STOCK).described
        given = self.packed.files[STOCK].decode()
        stock = Stock.from_str(given if plain is None else json.dumps(plain))
        stock.encode_special_tokens = True
        stock.no_truncation()
        stock.no_padding()
        return stock

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What its ids decode to. There are no safe cuts, since texts are not cut."""
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

    def control_id(self, name: str) -> int | None:
        """Id of a special token by its name."""
        token = self.stock.token_to_id(name)
        return token if token is not None and self.vocabulary.kinds[token] == CONTROL else None

    def encode(self, texts: pa.LargeStringArray) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids (t,) of all texts and their offsets (n + 1,)."""
        found = self.stock.encode_batch_fast(texts.to_pylist(), add_special_tokens=False)
        rows = [encoding.ids for encoding in found]
        ends = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=ends[1:])
        return np.fromiter(chain.from_iterable(rows), np.int32, int(ends[-1])), ends

    def check(self, file: object) -> None:
        """Raises: UserError when the library cannot read it, or a mark of documents is no piece."""
        size = self.vocabulary.size
        described = parse_object(self.packed.files[STOCK])
        spaced = with_spaces(described, file)
        check_sound(described if spaced.described is None else spaced.described, file)
        if spaced.prefix is not self.packed.prefix:
            raise UserError(
                "the space before texts is not the one that tokenizer.json has",
                file=file,
                field="prefix",
                found=self.packed.prefix.value,
                allowed=[spaced.prefix.value],
                fix="import the folder anew",
            )
        try:
            self.stock.encode("a")
            known = self.stock.get_vocab(with_added_tokens=True)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # it raises no class of its own, and panics are no Exception
            raise UserError(
                "not a tokenizer.json",
                file=file,
                found=str(error),
                fix="restore it from where it came from",
            ) from None
        check_same_ids(described, known, file)
        for name, token in (("BOS", self.packed.bos), ("EOS", self.packed.eos)):
            if not 0 <= token < size:
                raise UserError(
                    f"no such piece for {name}",
                    file=file,
                    found=token,
                    allowed=[f"0 to {size - 1}"],
                )
