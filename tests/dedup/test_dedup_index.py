"""Batches added one after another are one run: same kept documents, same evidence, whatever the
cuts and the bound on comparisons.
"""

from __future__ import annotations

import doctest
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dedup.index.decide
from artifacts.errors import UserError
from artifacts.ids import document_ids, text_hashes
from dedup.exact import keep_first
from dedup.index.columns import NewDocuments, Removed, Segment, find16, starts_of
from dedup.index.decide import (
    CHANGED,
    EXACT,
    KEPT,
    LISTED,
    NEAR,
    Decision,
    decide,
    find_candidates,
    matches,
)
from dedup.index.lookup import key_table
from dedup.near.lsh import candidate_groups
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.near.verify import greedy_keep
from tests.dedup.dedup_model import column, jaccard_of, shingles_of

CONFIG = MinHashConfig(ngrams=2, bands=6, rows=1)  # so loose that most pairs are candidates


@dataclass
class Index:
    """An index in memory that remembers the texts of kept documents."""

    threshold: float
    limit: int
    config: MinHashConfig = CONFIG
    segments: list[Segment] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of kept documents, by number
    texts: list[str] = field(default_factory=list)
    evidence: dict[str, tuple[str, float, int]] = field(default_factory=dict)
    skipped: int = 0

    def add(self, names: list[str], texts: list[str]) -> Decision:
        """Documents in keep order."""
        values = column(texts)
        new = new_documents(names, texts, self.config)
        found = find_candidates(self.segments, new, self.limit)
        old = shingle_sets(column([self.texts[number] for number in found.earlier]), self.config)
        before = len(self.texts)
        decision = decide(
            new, found, old, shingle_sets(values, self.config, found.wanted), self.threshold, before
        )
        row_of = {
            before + row: before + place
            for place, row in enumerate(np.flatnonzero(decision.kept).tolist())
        }
        self.names += [names[row] for row in np.flatnonzero(decision.kept)]
        self.texts += [texts[row] for row in np.flatnonzero(decision.kept)]
        gone = np.flatnonzero((decision.reason == EXACT) | (decision.reason == NEAR))
        number = np.array([row_of.get(n, n) for n in decision.stands[gone].tolist()], np.int64)
        for row, n in zip(gone.tolist(), number.tolist(), strict=True):
            self.evidence[names[row]] = (
                self.names[n],
                float(decision.similarity[row]),
                int(decision.bands_hit[row]),
            )
        starts = np.append(starts_of(self.segments), len(self.texts))
        batch = np.searchsorted(starts, number, side="right") - 1
        removed = Removed(
            new.ids[gone],
            new.hashes[gone],
            batch.astype(np.uint32),
            (number - starts[batch]).astype(np.uint32),
            decision.similarity[gone],
            decision.bands_hit[gone].astype(np.uint16),
            decision.reason[gone],
        )
        self.segments.append(Segment.kept_of(new, decision.kept, removed))
        self.skipped += decision.skipped
        return decision


def new_documents(
    names: list[str], texts: list[str], config: MinHashConfig = CONFIG
) -> NewDocuments:
    values = column(texts)
    return NewDocuments.of(
        document_ids("s", [name.encode() for name in names]),
        text_hashes(values),
        *band_keys(values, config),
    )


def one_run(
    names: list[str], texts: list[str], threshold: float, limit: int
) -> tuple[list[str], dict[str, tuple[str, float, int]], int]:
    """Exact, then near deduplication of everything, first come first kept: kept names, evidence of
    near copies, comparisons skipped.
    """
    values = column(texts)
    first = np.flatnonzero(keep_first(text_hashes(values), np.arange(len(texts)))[0])
    left = values.take(pa.array(first))
    groups = candidate_groups(*band_keys(left, CONFIG))
    sets = shingle_sets(left, CONFIG, groups.candidates(len(left)))
    verdict = greedy_keep(np.arange(len(left)), groups, sets, threshold, limit)
    evidence = {
        names[first[row]]: (names[first[kept]], float(similarity), int(bands))
        for row, kept, similarity, bands in zip(
            verdict.document,
            verdict.kept_document,
            verdict.similarity,
            verdict.bands_hit,
            strict=True,
        )
    }
    return [names[row] for row in first[verdict.kept]], evidence, verdict.skipped


@st.composite
def corpora(draw: st.DrawFn) -> list[list[str]]:
    """Batches of texts: a few themes, each varied by changed words, some repeated, some too short
    for a shingle.
    """
    themes = [[f"t{theme}w{place}" for place in range(12)] for theme in range(3)]
    texts = []
    for _ in range(draw(st.integers(0, 24))):
        words = list(themes[draw(st.integers(0, 2))])[: draw(st.sampled_from([1, 6, 12]))]
        for place in draw(st.lists(st.integers(0, len(words) - 1), max_size=4)):
            words[place] = f"x{draw(st.integers(0, 3))}"
        texts.append(" ".join(words))
    cuts = sorted(draw(st.lists(st.integers(0, len(texts)), max_size=5)))
    return [texts[a:b] for a, b in zip([0, *cuts], [*cuts, len(texts)], strict=True)]


TEMPLATE = [
    " ".join(f"w{place}" if place != hole else f"h{hole}" for place in range(12))
    for hole in range(12)
]


@given(corpora(), st.sampled_from([0.2, 0.5, 0.7, 1.0]), st.sampled_from([1, 2, 3, 256]))
# a template group in which the bound binds in every batch
@example([TEMPLATE[:4], TEMPLATE[4:5], TEMPLATE[5:]], 0.9, 2)
@settings(max_examples=250, deadline=None)
def test_batches_one_after_another_are_one_run(
    batches: list[list[str]], threshold: float, limit: int
) -> None:
    index = Index(threshold, limit)
    names = [
        [f"{number}-{row}" for row in range(len(texts))] for number, texts in enumerate(batches)
    ]
    for own, texts in zip(names, batches, strict=True):
        index.add(own, texts)
    flat, texts = (
        [name for own in names for name in own],
        [text for batch in batches for text in batch],
    )
    kept, evidence, skipped = one_run(flat, texts, threshold, limit)
    assert index.names == kept
    assert {name: index.evidence[name] for name in evidence} == evidence
    assert index.skipped == skipped
    text_of = dict(zip(flat, texts, strict=True))
    copies = set(index.evidence) - set(evidence)
    for name in copies:  # of a kept document, or gone with the document they are a copy of
        stands, similarity, _ = index.evidence[name]
        one, other = (frozenset(shingles_of(text_of[n], CONFIG.ngrams)) for n in (name, stands))
        assert text_of[name] == text_of[stands] or similarity == np.float32(
            jaccard_of(one, other)
        ) >= np.float32(threshold)
    assert set(kept) | set(index.evidence) == set(flat)
    assert not set(kept) & set(index.evidence)


def test_the_bound_binds_in_the_template_example() -> None:
    assert one_run([str(n) for n in range(12)], TEMPLATE, 0.9, 2)[2] > 0


@given(corpora(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_segments_taken_back_leave_an_index_to_which_they_were_never_added(
    batches: list[list[str]], left: int
) -> None:
    index, never = Index(0.5, 256), Index(0.5, 256)
    for number, texts in enumerate(batches):
        names = [f"{number}-{row}" for row in range(len(texts))]
        index.add(names, texts)
        if number < left:
            never.add(names, texts)
    del index.segments[left:]
    kept = sum(len(segment) for segment in index.segments)
    del index.texts[kept:], index.names[kept:]
    one, other = (
        index.add(["new"] * bool(batches[0]), batches[0][:1]),
        never.add(["new"] * bool(batches[0]), batches[0][:1]),
    )
    assert one.reason.tolist() == other.reason.tolist()
    assert one.stands.tolist() == other.stands.tolist()
    assert index.names == never.names


def test_a_document_that_is_there_is_not_added_again() -> None:
    index = Index(0.5, 256)
    index.add(["a", "b", "c"], [TEMPLATE[0], "tiny", "tiny"])
    decision = index.add(["c", "a", "b", "d"], ["tiny", "another text", "tiny", "tiny"])
    assert decision.reason.tolist() == [LISTED, CHANGED, LISTED, EXACT]
    assert index.evidence["d"] == ("b", 1.0, 0)


def test_a_copy_of_a_removed_document_goes_for_the_same_reason() -> None:
    index = Index(0.5, 256)
    near = TEMPLATE[0] + " and"
    index.add(["a", "b"], [TEMPLATE[0], near])
    assert index.evidence["b"][0] == "a"
    decision = index.add(["c"], [near])
    assert decision.reason.tolist() == [NEAR]
    assert index.evidence["c"][:2] == index.evidence["b"][:2]


def test_matches_are_all_kept_documents_alike_and_rows_are_not_compared_with_one_another() -> None:
    index = Index(0.95, 256)
    index.add([str(n) for n in range(12)], TEMPLATE)
    asked = [TEMPLATE[3] + " more", TEMPLATE[3], TEMPLATE[3]]
    new = new_documents(["x", "y", "z"], asked)
    found = find_candidates(index.segments, new, alone=True)
    old = shingle_sets(column([index.texts[number] for number in found.earlier]), CONFIG)
    table = matches(found, old, shingle_sets(column(asked), CONFIG, found.wanted), 0.5)
    sets = [frozenset(shingles_of(text, CONFIG.ngrams)) for text in [*index.texts, *asked]]
    pairs = [
        (-np.float32(jaccard_of(sets[12 + row], sets[n])), n, row)
        for row in range(3)
        for n in range(12)
    ]
    expected = [
        (row, n, -similarity)
        for similarity, n, row in sorted(pairs, key=lambda pair: (pair[2], *pair[:2]))
        if -similarity >= 0.5
    ]
    assert (
        list(
            zip(table["row"].tolist(), table["earlier"].tolist(), table["similarity"], strict=True)
        )
        == expected
    )
    assert len(expected) > 2
    shared = (new.keys[:, None, :] == np.stack(index.segments[0].bands, 1)[None]).sum(axis=2)
    assert table["bands_hit"].tolist() == shared[table["row"], table["earlier"]].tolist()


# -- look-ups -----------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=4),
    st.sets(st.integers(0, 60)),
    st.sampled_from([1, 2, 3, 1000]),
)
@settings(max_examples=200, deadline=None)
def test_a_look_up_finds_the_first_rows_of_each_key_and_counts_all(
    columns: list[list[int]], wanted: set[int], limit: int
) -> None:
    keys = np.array(sorted(wanted), np.uint64)
    flat = [value for values in columns for value in values]
    places, rows, counts = key_table(keys).find(
        [np.array(values, np.uint64) for values in columns], limit
    )
    assert counts.tolist() == [flat.count(int(key)) for key in keys]
    found = {int(key): rows[places == place].tolist() for place, key in enumerate(keys)}
    assert found == {
        int(key): [row for row, value in enumerate(flat) if value == int(key)][:limit]
        for key in keys
    }
    assert (np.diff(rows) > 0).all()


def test_a_look_up_with_more_matches_than_room_loses_none() -> None:
    column = np.full(200_001, 7, np.uint64)
    places, rows, counts = key_table(np.array([7, 9], np.uint64)).find([column], 1 << 60)
    assert counts.tolist() == [200_001, 0]
    assert rows.tolist() == list(range(200_001))
    assert not places.any()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20),
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3))),
)
@settings(max_examples=200, deadline=None)
def test_values_of_16_bytes_are_found_also_where_halves_meet(
    rows: list[tuple[int, int]], wanted: set[tuple[int, int]]
) -> None:
    asked = np.array(sorted(wanted), np.uint64).reshape(-1, 2)
    columns = [np.array(part, np.uint64).reshape(-1, 2) for part in (rows[:7], rows[7:])]
    found = find16(columns, asked)
    assert found.tolist() == [rows.index(pair) if pair in rows else -1 for pair in sorted(wanted)]


# -- mistakes -----------------------------------------------------------------------------------


def test_bounds_out_of_range_and_equal_ids_are_refused() -> None:
    new = new_documents(["a"], [TEMPLATE[0]])
    with pytest.raises(UserError) as caught:
        find_candidates([], new, 0)
    assert caught.value.field == "max_comparisons"
    found, nothing = find_candidates([], new), shingle_sets(column([]), CONFIG)
    with pytest.raises(UserError) as caught:
        decide(new, found, nothing, shingle_sets(column(["a"]), CONFIG), 0.0)
    assert caught.value.field == "verify"
    with pytest.raises(ValueError, match="same id"):
        find_candidates([], new_documents(["a", "a"], ["one", "two"]))
    with pytest.raises(ValueError, match="number of bands"):
        find_candidates(
            [Segment.kept_of(new, np.ones(1, bool))],
            new_documents(["b"], ["text"], MinHashConfig(bands=3)),
        )
    two = new_documents(["a", "b"], TEMPLATE[:2])
    found = find_candidates([], two)
    assert found.wanted.all()
    with pytest.raises(ValueError, match="no shingle set"):
        decide(two, found, nothing, shingle_sets(column(["", ""]), CONFIG), 0.5)


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(dedup.index.decide)
    assert result.attempted > 10
    assert result.failed == 0
    assert KEPT == 0
