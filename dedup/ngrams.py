"""Decontamination: which word n-grams of benchmark items occur in documents.

An :class:`NgramIndex` holds the distinct n-grams (13 words by default, the length of GPT-3's
analysis, of the words of :mod:`dedup.words`, so case, punctuation and spacing do not hide a copy)
of a list of benchmark items. An item of fewer words than that, but at least :data:`SHORTEST`,
contributes one n-gram of all its words; a shorter one contributes none, because eight words of
common language prove nothing.

An n-gram that occurs in more than ``max_document_frequency`` items is the wording of the
benchmark's form ("which of the following statements best describes ..."), not of an item, and is
left out; :attr:`NgramIndex.item_ngrams` says what remains of each item. Whether an overlap is
contamination is a threshold on ``fraction`` and belongs to the recipe: a single shared 13-gram is
often a quotation or a licence.

Cost per word of a document: its hash, ``ngrams`` multiplications (an n-gram of 9 words extends that
of 8), and for each length in use one probe of a bitmap that turns away 99 % of the n-grams that are
not in the index. Short n-grams are few and have a bitmap of their own in the near cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.text_buffers import text_buffers
from dedup.ngram_kernels import Counts, fill_bitmap, fill_table, find_overlaps, hash_items
from dedup.shingles import MAX_NGRAMS, place_constants
from dedup.words import ALGORITHM, Hashes, Rows, character_table, word_hashes

SHORTEST = 8  # words; below, an item is not looked for
MAX_DOCUMENT_FREQUENCY = 10

OVERLAP = pa.schema(
    [
        pa.field("matched", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("fraction", pa.float32(), nullable=False),
        pa.field("fullest_item", pa.int32(), nullable=False),
        pa.field("fullest_fraction", pa.float32(), nullable=False),
        pa.field("first_offset", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class NgramIndex:
    """The n-grams of benchmark items in columns.

    hashes: (n-grams,) uint64 ascending. item_offsets (n-grams + 1,) int64 and items int32: the
    items that hold each n-gram, ascending. item_ngrams: (items,) int32, distinct n-grams of each
    item in the index; 0 = cannot be found (too short, or all its n-grams are too frequent).
    lengths: (n-grams,) int32, words in each n-gram.
    """

    ngrams: int
    hashes: Hashes
    item_offsets: Rows
    items: Counts
    item_ngrams: Counts
    lengths: Counts
    _bitmap: Hashes = field(init=False, repr=False, compare=False)
    _short_bitmap: Hashes = field(init=False, repr=False, compare=False)
    _table: Counts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        short = self.lengths < self.ngrams
        object.__setattr__(self, "_bitmap", _bitmap(self.hashes[~short]))
        object.__setattr__(self, "_short_bitmap", _bitmap(self.hashes[short]))
        object.__setattr__(
            self, "_table", np.full(_power_of_two(2 * len(self.hashes)), -1, np.int32)
        )
        fill_table(self.hashes, self._table)

    @classmethod
    def build(
        cls,
        items: pa.LargeStringArray,
        ngrams: int = 13,
        max_document_frequency: int = MAX_DOCUMENT_FREQUENCY,
    ) -> NgramIndex:
        """Index benchmark items; the row of an item is its number.

        Raises: UserError when ngrams is not from 8 to 256 or max_document_frequency is below 1.
        """
        if not SHORTEST <= ngrams <= MAX_NGRAMS:
            raise UserError(
                "decontamination: n-gram length out of range",
                parameter="ngrams",
                found=ngrams,
                fix=f"give {SHORTEST} to {MAX_NGRAMS} words",
            )
        if max_document_frequency < 1:
            raise UserError(
                "decontamination: no n-gram could be indexed",
                parameter="max_document_frequency",
                found=max_document_frequency,
                fix="give a number from 1 on",
            )
        word_offsets, words = word_hashes(items)
        per_item = np.diff(word_offsets)
        counts = np.where(
            per_item >= ngrams, per_item - ngrams + 1, (per_item >= SHORTEST).astype(np.int64)
        )
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        hashes = np.empty(int(offsets[-1]), np.uint64)
        hash_items(word_offsets, words, place_constants(ngrams), offsets, hashes)
        owners = np.repeat(np.arange(len(items)), counts)
        lengths = np.repeat(np.minimum(per_item, ngrams), counts)
        return cls(ngrams, *_postings(hashes, owners, lengths, max_document_frequency, len(items)))

    @property
    def algorithm(self) -> str:
        """Name of the rules that decide an overlap, for fingerprints."""
        return f"ngrams/1 {ALGORITHM} ngrams {self.ngrams} shortest {SHORTEST}"

    def overlap(self, texts: pa.LargeStringArray) -> pa.RecordBatch:
        """What of the index occurs in each text, one row per text (:data:`OVERLAP`).

        matched: distinct n-grams of the index found. item: the item with most n-grams found, of
        several the lowest, -1 = none; fraction: the share of its n-grams found. fullest_item,
        fullest_fraction: the item with the largest share found, which a short item embedded beside
        a long one's passage is. first_offset: byte in the text where the first n-gram found begins,
        -1 = none.
        """
        return self.overlap_and_coverage(texts)[0]

    def overlap_and_coverage(
        self, texts: pa.LargeStringArray
    ) -> tuple[pa.RecordBatch, NDArray[np.float32]]:
        """The rows of :meth:`overlap`, and of each item (items,) the largest share of its n-grams
        that one of the texts holds. A text of many items has one row, and covers them all.
        """
        values, offsets = text_buffers(texts)
        documents = len(texts)
        matched, item, fullest = (
            np.zeros(documents, np.int32),
            np.full(documents, -1, np.int32),
            np.full(documents, -1, np.int32),
        )
        fraction, fullest_fraction = (
            np.zeros(documents, np.float32),
            np.zeros(documents, np.float32),
        )
        first_offset = np.full(documents, -1, np.int64)
        most = np.zeros_like(self.item_ngrams)
        find_overlaps(
            values, offsets, character_table(), place_constants(self.ngrams),
            np.unique(self.lengths).astype(np.int64),
            self.hashes, self._bitmap, self._short_bitmap, self._table, self.item_offsets,
            self.items, self.item_ngrams, np.full_like(self.items, -1, shape=len(self.hashes)),
            np.full_like(self.item_ngrams, -1), np.zeros_like(self.item_ngrams), most,
            matched, item, fraction, fullest, fullest_fraction, first_offset,
        )  # fmt: skip
        overlap = pa.record_batch(
            [matched, item, fraction, fullest, fullest_fraction, first_offset], schema=OVERLAP
        )
        return overlap, (most / np.maximum(self.item_ngrams, 1)).astype(np.float32)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The index as arrays, for Arrow or npz; the inverse of :meth:`from_arrays`."""
        return {
            "ngrams": np.array([self.ngrams], np.int64),
            "hashes": self.hashes,
            "item_offsets": self.item_offsets,
            "items": self.items,
            "item_ngrams": self.item_ngrams,
            "lengths": self.lengths,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> NgramIndex:
        """An index from :meth:`to_arrays`. Raises: ValueError when the arrays do not fit
        together.
        """
        types = {
            "hashes": np.uint64,
            "item_offsets": np.int64,
            "items": np.int32,
            "item_ngrams": np.int32,
            "lengths": np.int32,
        }
        missing = sorted({"ngrams", *types} - set(arrays))
        if missing:
            raise ValueError(f"not an n-gram index: {', '.join(missing)} missing")
        columns = {name: np.ascontiguousarray(arrays[name], kind) for name, kind in types.items()}
        _check_columns(int(arrays["ngrams"][0]), columns)
        return cls(int(arrays["ngrams"][0]), **columns)


def _check_columns(ngrams: int, columns: dict[str, NDArray[Any]]) -> None:
    hashes, offsets, items, lengths = (
        columns[name] for name in ("hashes", "item_offsets", "items", "lengths")
    )
    fits = (
        SHORTEST <= ngrams <= MAX_NGRAMS
        and len(offsets) == len(hashes) + 1
        and len(lengths) == len(hashes)
        and offsets[0] == 0
        and offsets[-1] == len(items)
        and bool(np.all(np.diff(offsets) > 0))
        and bool(np.all(hashes[1:] > hashes[:-1]))
        and (len(items) == 0 or (items.min() >= 0 and items.max() < len(columns["item_ngrams"])))
        and bool(np.all((lengths >= SHORTEST) & (lengths <= ngrams)))
    )
    if not fits:
        raise ValueError("not an n-gram index: the arrays contradict each other")


def _postings(
    hashes: Hashes, owners: Rows, lengths: Rows, max_document_frequency: int, items: int
) -> tuple[Hashes, Rows, Counts, Counts, Counts]:
    """Columns of the index: distinct n-grams ascending, their items, n-grams left to each item,
    lengths; too frequent ones left out.
    """
    # owners are ascending, so they stay so within an n-gram
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners, lengths = hashes[new], owners[new], lengths[order[new]]
    distinct, first, frequency = np.unique(hashes, return_index=True, return_counts=True)
    rare = frequency <= max_document_frequency
    owners = owners[np.repeat(rare, frequency)]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(frequency[rare])])
    item_ngrams = np.bincount(owners, minlength=items).astype(np.int32)
    return (
        distinct[rare],
        offsets,
        owners.astype(np.int32),
        item_ngrams,
        lengths[first[rare]].astype(np.int32),
    )


def _power_of_two(least: int) -> int:
    return 1 << max(6, least.bit_length())


def _bitmap(hashes: Hashes) -> Hashes:
    """Bloom filter of at least 16 bits per n-gram, three of them set, all in one 64-bit word:
    (words,).
    """
    bitmap = np.zeros(_power_of_two(len(hashes) // 4), np.uint64)
    fill_bitmap(hashes, bitmap)
    return bitmap
