"""Which documents a tokenizer is trained on: each source's share in bytes, chosen by keyed hash.

The choice is a function of ids, byte counts, weights and seed; neither file order nor chunking
matters. Documents count with at most ``max_document_bytes``, so no single book fills a share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.keyed_hash import hash_key, keyed_order


@dataclass(frozen=True)
class Available:
    """The documents of one source: ``ids`` (n,) of 16 bytes, ``bytes`` (n,) int64 UTF-8 lengths."""

    ids: pa.FixedSizeBinaryArray
    bytes: NDArray[np.int64]


@dataclass(frozen=True)
class SourceShare:
    """What one source had and gave; bytes count after the cut at the longest document allowed."""

    source: str
    documents_available: int
    bytes_available: int
    documents_taken: int
    bytes_taken: int
    bytes_wanted: int

    @property
    def bytes_short(self) -> int:
        """Bytes the source lacks for its share, 0 when it had enough."""
        return max(0, self.bytes_wanted - self.bytes_taken)


@dataclass(frozen=True)
class Sample:
    """Chosen rows per source, ascending, and a report line per source, by name."""

    rows: dict[str, NDArray[np.int64]]
    shares: list[SourceShare]


def weighted_sample(
    available: Mapping[str, Available],
    weights: Mapping[str, float],
    budget_bytes: int,
    seed: int,
    max_document_bytes: int,
) -> Sample:
    """Choose documents until every source's share of ``budget_bytes`` is met or its documents end.

    ``weights`` are relative byte shares. The document that crosses the share is taken, so a share
    is exceeded by less than ``max_document_bytes``. A source that is too small gives all it has;
    the others do not make up for it, and :attr:`SourceShare.bytes_short` says how much is missing.
    Raises: UserError on an unknown source, a weight that is no positive number, or no bytes at all.
    """
    total = _checked_total(available, weights, budget_bytes, max_document_bytes)
    rows: dict[str, NDArray[np.int64]] = {}
    shares: list[SourceShare] = []
    for source in sorted(weights):
        documents = available[source]
        wanted = round(budget_bytes * weights[source] / total)
        order = keyed_order(documents.ids, hash_key(seed, f"tokenizer sample\0{source}"))
        counted = np.minimum(documents.bytes, max_document_bytes)[order]
        running = np.cumsum(counted)
        taken = min(int(np.searchsorted(running, wanted)) + 1, len(order)) if wanted else 0
        rows[source] = np.sort(order[:taken])
        available_bytes = int(running[-1]) if len(running) else 0
        taken_bytes = int(running[taken - 1]) if taken else 0
        shares.append(SourceShare(source, len(order), available_bytes, taken, taken_bytes, wanted))
    if not any(share.bytes_taken for share in shares):
        raise UserError(
            "the tokenizer sample is empty",
            field="tokenizer.sample",
            fix="name sources that hold documents",
        )
    return Sample(rows, shares)


def _checked_total(
    available: Mapping[str, Available],
    weights: Mapping[str, float],
    budget_bytes: int,
    max_document_bytes: int,
) -> float:
    for source, weight in weights.items():
        if source not in available:
            raise UserError(
                "no such source", field="tokenizer.sample", found=source, allowed=sorted(available)
            )
        if not (0 < weight < float("inf")):
            raise UserError(
                "a weight is a positive number",
                field=f"tokenizer.sample.{source}",
                found=weight,
                fix="leave the source out or give it a share",
            )
    if not weights:
        raise UserError(
            "no source is named",
            field="tokenizer.sample",
            allowed=sorted(available),
            fix="give at least one source a weight",
        )
    if budget_bytes < 1 or max_document_bytes < 1:
        raise UserError(
            "the sample's sizes are at least 1 byte",
            field="tokenizer.sample",
            found=f"{budget_bytes} and {max_document_bytes} bytes",
        )
    return float(sum(weights.values()))
