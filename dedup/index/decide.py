"""Adding documents to those already deduplicated: the decision on a new batch, without the texts of
the old ones.

Documents of earlier batches always win, inside a batch the keep order does. So a new document is
compared with the kept documents of earlier batches and with those of its own batch already kept,
and nothing decided before changes: batches added one after another keep what one run over all of
them keeps when its keep order is (batch, order in the batch), document by document, with the same
evidence, also where ``max_comparisons`` binds: of every band key the kept documents are looked at
in keep order, and earlier batches come first in it.

What has to be known of an earlier document that was kept are its band keys and where its text lies;
of a removed one its id and text hash and who stands for it, since it never stands for another. Per
document, with b bands, 40 + 8 b bytes (152 for 14) or 63 (:mod:`dedup.index.files`).

Exact copies go first: a document whose text (by its 16-byte hash) is that of an earlier one, kept
or removed, shares its fate. A document whose id is there already is not added again.

>>> import numpy as np, pyarrow as pa
>>> from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
>>> from dedup.index.decide import decide, find_candidates
>>> from dedup.index.columns import NewDocuments, Segment
>>> from artifacts.ids import document_ids, text_hashes
>>> config = MinHashConfig()
>>> fox = "The quick brown fox jumps over the lazy dog while the cat sleeps in the warm kitchen"
>>> def batch(source, texts):
...     column = pa.array(texts, pa.large_string())
...     ids, hashes = document_ids(source, map(str.encode, texts)), text_hashes(column)
...     return column, NewDocuments.of(ids, hashes, *band_keys(column, config))
>>> _, first = batch("monday", [fox, "Something else altogether, about ships and the sea"])
>>> nothing = find_candidates([], first, max_comparisons=256)
>>> old = shingle_sets(pa.array([], pa.large_string()), config)
>>> new = shingle_sets(pa.array([fox, ""], pa.large_string()), config, nothing.wanted)
>>> decision = decide(first, nothing, old, new, 0.7)
>>> decision.kept.tolist()
[True, True]
>>> monday = Segment.kept_of(first, decision.kept)
>>> news = "News of the day, and nothing but the news of this day"
>>> texts, second = batch("tuesday", [news, fox.upper() + "!"])
>>> found = find_candidates([monday], second, max_comparisons=256)
>>> found.earlier.tolist()  # rows of monday whose texts are needed
[0]
>>> found.wanted.tolist()  # and of tuesday
[False, True]
>>> old = shingle_sets(pa.array([fox], pa.large_string()), config)
>>> decision = decide(second, found, old, shingle_sets(texts, config, found.wanted), 0.7)
>>> decision.kept.tolist(), decision.stands.tolist()
([True, False], [-1, 0])
>>> decision.similarity.tolist(), decision.bands_hit.tolist()
([0.0, 1.0], [0, 14])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dedup.exact import keep_first
from dedup.index.columns import (
    NewDocuments,
    Reasons,
    Segment,
    as_bytes,
    find16,
    starts_of,
    take_parts,
)
from dedup.index.lookup import key_table
from dedup.near.settings import DEFAULTS, check
from dedup.near.verify import jaccard, verify_in_order
from dedup.shingles import ShingleSets
from dedup.words import Rows

KEPT, EXACT, NEAR, LISTED, CHANGED = range(5)
REASONS = ("kept", "exact_duplicate", "near_duplicate", "repeated", "duplicate_key")
"""What becomes of a document, by code. ``repeated``: its id is there with the same text;
``duplicate_key``: with another.
"""
_NONE = np.int64(-1)


@dataclass(frozen=True)
class Candidates:
    """What a batch has to be compared with. Kept documents of earlier batches are numbered through:
    row + kept documents of the batches before, so that numbers are in keep order.

    reason (n,): LISTED, CHANGED, EXACT or NEAR where no comparison is needed, else KEPT. stands,
    similarity: for those, who stands for them. copy_of (n,): row of the same batch with the same
    text that comes first, -1 without one. earlier (m,): numbers of the earlier documents to compare
    with, ascending; wanted (n,): rows whose texts are needed. membership (n, bands): group of a row
    in each band, -1 without one; a group's members lie from offsets[group] on in ``members``, first
    ``stored[group]`` places in ``earlier``, then room; counts: earlier members in all. limit:
    max_comparisons.
    """

    reason: Reasons
    stands: Rows
    similarity: NDArray[np.float32]
    copy_of: Rows
    earlier: Rows
    wanted: NDArray[np.bool_]
    membership: Rows
    offsets: Rows
    members: Rows
    stored: Rows
    counts: Rows
    limit: int


@dataclass(frozen=True)
class Decision:
    """What becomes of each row: reason (n,) of REASONS. stands (n,): number of the kept document
    that stands for it, -1 for kept ones and those that are there already; rows of this batch are
    numbered on from ``before``. similarity, bands_hit: of the two. compared, skipped, bounded as in
    :class:`dedup.near.verify.Verdict`.
    """

    reason: Reasons
    stands: Rows
    similarity: NDArray[np.float32]
    bands_hit: NDArray[np.int32]
    compared: int
    skipped: int
    bounded: int

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which rows stay."""
        kept: NDArray[np.bool_] = self.reason == KEPT
        return kept


def find_candidates(
    earlier: Sequence[Segment],
    new: NewDocuments,
    max_comparisons: int = DEFAULTS.max_comparisons,
    *,
    alone: bool = False,
) -> Candidates:
    """Look a batch up: what is there already, what is a copy, what shares a band key with whom.

    One pass over the ids, text hashes and keys of ``earlier``, segments in the order in which they
    were added. ``alone``: for :func:`matches`, each row by itself, whether its id is there or not,
    and copies compared as well.
    Raises: UserError for a bound below 1; ValueError for another number of bands or two equal ids.
    """
    check("max_comparisons", max_comparisons)
    if any(len(segment.bands) != new.keys.shape[1] for segment in earlier):
        raise ValueError("the batch has another number of bands than the index")
    reason, stands = np.full(len(new), KEPT, np.uint8), np.full(len(new), _NONE)
    similarity = np.zeros(len(new), np.float32)
    copy_of = np.full(len(new), _NONE)
    if not alone:
        _mark_listed(earlier, new, reason)
        copy_of = _copies(new, reason == KEPT)
    _mark_copies(earlier, new, (reason == KEPT) & (copy_of < 0), reason, stands, similarity)
    fresh = np.flatnonzero(new.has_signature & (alone | ((reason == KEPT) & (copy_of < 0))))
    return Candidates(
        reason,
        stands,
        similarity,
        copy_of,
        *_groups(earlier, new, fresh, max_comparisons, alone),
        max_comparisons,
    )


def decide(
    new: NewDocuments,
    candidates: Candidates,
    earlier_sets: ShingleSets,
    new_sets: ShingleSets,
    threshold: float,
    before: int | None = None,
) -> Decision:
    """Decide on a batch: a row is removed if and only if a kept candidate is at least ``threshold``
    similar, or its text is there.

    earlier_sets: of ``candidates.earlier``, in their order; new_sets: of all rows, those not
    ``wanted`` empty. before: kept documents of earlier batches in all, from which rows of this
    batch are numbered on in ``stands``; by default one more than the last candidate.

    Raises: UserError for a threshold out of range; ValueError when a needed set is missing.
    """
    check("verify", threshold)
    m, n = len(candidates.earlier), len(new)
    sets = joined(earlier_sets, new_sets)
    needed = np.concatenate([np.ones(m, bool), candidates.wanted])
    if len(sets) != m + n or np.any(np.diff(sets.offsets)[needed] == 0):
        raise ValueError("a candidate has no shingle set")
    best, found, hits, (compared, skipped, bounded) = _verified(candidates, sets, threshold)
    if before is None:
        before = int(candidates.earlier[-1]) + 1 if m else 0
    numbers = np.concatenate([candidates.earlier, before + np.arange(n)])
    reason, stands, similarity = (
        candidates.reason.copy(),
        candidates.stands.copy(),
        candidates.similarity.copy(),
    )
    near = best >= 0
    reason[near], stands[near], similarity[near] = NEAR, numbers[best[near]], found[near]
    copies = np.flatnonzero(candidates.copy_of >= 0)
    first = candidates.copy_of[copies]
    alone = reason[first] == KEPT
    reason[copies] = np.where(alone, EXACT, reason[first])
    stands[copies] = np.where(alone, before + first, stands[first])
    similarity[copies] = np.where(alone, np.float32(1), similarity[first])
    return Decision(reason, stands, similarity, hits, int(compared), int(skipped), int(bounded))


def matches(
    candidates: Candidates, earlier_sets: ShingleSets, new_sets: ShingleSets, threshold: float
) -> dict[str, NDArray[Any]]:
    """Every earlier kept document at least ``threshold`` similar to a row: columns row, earlier
    (number), similarity, bands_hit.

    Rows are not compared with one another. Pairs by row, the most similar first; of every band key
    ``max_comparisons`` documents are looked at.
    """
    m = len(candidates.earlier)
    rows, bands = np.nonzero(candidates.membership >= 0)
    groups = candidates.membership[rows, bands]
    lengths = candidates.stored[groups]
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    others = candidates.members[np.repeat(candidates.offsets[groups], lengths) + place]
    pairs, hits = np.unique(np.repeat(rows, lengths) * max(m, 1) + others, return_counts=True)
    row, other = pairs // max(m, 1), pairs % max(m, 1)
    found = jaccard(joined(earlier_sets, new_sets), other, m + row)
    alike = found >= np.float32(threshold)
    row, other, found, hits = row[alike], other[alike], found[alike], hits[alike]
    order = np.lexsort((other, -found, row))
    columns = {
        "row": row,
        "earlier": candidates.earlier[other],
        "similarity": found,
        "bands_hit": hits.astype(np.int32),
    }
    return {name: values[order] for name, values in columns.items()}


def _verified(
    candidates: Candidates, sets: ShingleSets, threshold: float
) -> tuple[Rows, NDArray[np.float32], NDArray[np.int32], tuple[int, int, int]]:
    """The greedy loop over the batch, whose rivals of earlier batches are kept: of each row the
    candidate's number (-1 = kept), similarity, bands shared; what was compared.

    Candidates are numbered in keep order: those of earlier batches, then the batch's rows.
    """
    m, n = len(candidates.earlier), len(candidates.membership)
    grouped = candidates.membership >= 0
    offsets = np.zeros(m + n + 1, np.int64)
    np.cumsum(grouped.sum(axis=1), out=offsets[m + 1 :])
    best, similarity = np.full(m + n, _NONE), np.zeros(m + n, np.float32)
    hits, numbers = np.zeros(m + n, np.int32), np.arange(m + n)
    work = verify_in_order(
        numbers[m:], numbers, numbers, offsets, candidates.membership[grouped], candidates.offsets,
        candidates.members.copy(), candidates.counts.copy(), sets.offsets, sets.hashes, False,
        float(threshold), candidates.limit, best, similarity, hits,
    )  # fmt: skip
    return best[m:], similarity[m:], hits[m:], work


def joined(one: ShingleSets, other: ShingleSets) -> ShingleSets:
    """Two tables of sets as one."""
    offsets = np.concatenate([one.offsets, one.offsets[-1] + other.offsets[1:]])
    return ShingleSets(offsets, np.concatenate([one.hashes, other.hashes]))


def _mark_listed(earlier: Sequence[Segment], new: NewDocuments, reason: Reasons) -> None:
    if not keep_first(as_bytes(new.ids), np.arange(len(new)))[0].all():
        raise ValueError("two documents of the batch have the same id")
    ids = [part for segment in earlier for part in (segment.ids, segment.removed.ids)]
    hashes = [part for segment in earlier for part in (segment.hashes, segment.removed.hashes)]
    place = find16(ids, new.ids)
    there = np.flatnonzero(place >= 0)
    if not len(there):
        return
    same = (take_parts(hashes, place[there]) == new.hashes[there]).all(axis=1)
    reason[there] = np.where(same, LISTED, CHANGED)


def _copies(new: NewDocuments, mask: NDArray[np.bool_]) -> Rows:
    copy_of = np.full(len(new), _NONE)
    rows = np.flatnonzero(mask)
    kept, first, _ = keep_first(as_bytes(new.hashes[rows]), np.arange(len(rows)))
    copy_of[rows[~kept]] = rows[first[~kept]]
    return copy_of


def _mark_copies(
    earlier: Sequence[Segment],
    new: NewDocuments,
    mask: NDArray[np.bool_],
    reason: Reasons,
    stands: Rows,
    similarity: NDArray[np.float32],
) -> None:
    """Copies of a kept document, and those of a removed one, which go for the same reason."""
    rows = np.flatnonzero(mask)
    place = find16([segment.hashes for segment in earlier], new.hashes[rows])
    there = rows[place >= 0]
    reason[there], stands[there], similarity[there] = EXACT, place[place >= 0], 1
    rows = rows[place < 0]
    place = find16([segment.removed.hashes for segment in earlier], new.hashes[rows])
    there, place = rows[place >= 0], place[place >= 0]
    if not len(there):
        return
    gone = [segment.removed for segment in earlier]
    reason[there] = take_parts([part.reason for part in gone], place)
    similarity[there] = take_parts([part.similarity for part in gone], place)
    batch = take_parts([part.batch for part in gone], place).astype(np.int64)
    stands[there] = starts_of(earlier)[batch] + take_parts(
        [part.row for part in gone], place
    ).astype(np.int64)


def _groups(
    earlier: Sequence[Segment], new: NewDocuments, fresh: Rows, limit: int, alone: bool
) -> tuple[Rows, NDArray[np.bool_], Rows, Rows, Rows, Rows, Rows]:
    """Groups by shared band keys, as :class:`Candidates` holds them from ``earlier`` on."""
    membership = np.full(new.keys.shape, _NONE)
    # of each band: stored, counts, room, rows of the index
    parts: list[tuple[Rows, Rows, Rows, Rows]] = []
    total = 0
    for band in range(new.keys.shape[1]):
        keys, key_of, members = np.unique(
            new.keys[fresh, band], return_inverse=True, return_counts=True
        )
        places, rows, counts = key_table(keys).find(
            [segment.bands[band] for segment in earlier], limit
        )
        useful = (counts > 0) | ((members > 1) & (not alone))
        group = np.where(useful, total + np.cumsum(useful) - 1, _NONE)
        membership[fresh, band] = group[key_of]
        total += int(useful.sum())
        stored = np.minimum(counts, limit)
        room = np.minimum(limit, stored + members)
        parts.append(
            (stored[useful], counts[useful], room[useful], rows[np.argsort(places, kind="stable")])
        )
    stored, counts, room, rows = (
        np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*parts, strict=True)
    )
    offsets: Rows = np.cumsum(np.concatenate([np.zeros(1, np.int64), room]))
    numbers = np.unique(rows)
    members = np.full(int(offsets[-1]), _NONE)
    inside = np.arange(len(rows)) - np.repeat(np.cumsum(stored) - stored, stored)
    members[np.repeat(offsets[:-1], stored) + inside] = np.searchsorted(numbers, rows)
    wanted: NDArray[np.bool_] = np.any(membership >= 0, axis=1)
    return numbers, wanted, membership, offsets, members, stored, counts
