from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.near.lsh import Groups, candidate_groups
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.near.verify import Verdict, greedy_keep, jaccard
from dedup.shingles import ShingleSets
from tests.dedup.dedup_model import column, components, containment_of, greedy_of, jaccard_of

MEASURES = {"jaccard": jaccard_of, "containment": containment_of}


@dataclass(frozen=True)
class Case:
    priority: list[int]
    groups: list[list[int]]
    sets: list[frozenset[int]]
    threshold: float
    limit: int
    measure: str = "jaccard"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    documents = draw(st.integers(1, 12))
    values = st.frozensets(st.integers(0, 9), min_size=1, max_size=8)
    return Case(
        priority=draw(st.permutations(range(documents))),
        groups=[
            sorted(g)
            for g in draw(st.lists(st.sets(st.integers(0, documents - 1), min_size=2), max_size=6))
        ]
        if documents > 1
        else [],
        sets=[draw(values) for _ in range(documents)],
        threshold=draw(st.sampled_from([0.01, 0.3, 0.5, 2 / 3, 0.7, 1.0])),
        limit=draw(st.sampled_from([1, 2, 3, 100])),
        measure=draw(st.sampled_from(["jaccard", "containment"])),
    )


def sets_of(sets: list[frozenset[int]]) -> ShingleSets:
    offsets = np.cumsum([0, *[len(values) for values in sets]])
    return ShingleSets(
        offsets.astype(np.int64),
        np.array([v for values in sets for v in sorted(values)], np.uint64),
    )


def groups_of(groups: list[list[int]]) -> Groups:
    offsets = np.cumsum([0, *[len(members) for members in groups]])
    return Groups(
        offsets.astype(np.int64), np.array([m for members in groups for m in members], np.int64)
    )


def judged(case: Case) -> Verdict:
    return greedy_keep(
        np.array(case.priority),
        groups_of(case.groups),
        sets_of(case.sets),
        case.threshold,
        case.limit,
        case.measure,
    )


@given(cases())
@settings(max_examples=400, deadline=None)
def test_the_verdict_is_that_of_the_plain_model(case: Case) -> None:
    verdict = judged(case)
    removed, compared = greedy_of(
        case.priority, case.groups, case.sets, case.threshold, case.limit, MEASURES[case.measure]
    )
    clusters = components(case.groups, len(case.priority))
    assert verdict.kept.tolist() == [d not in removed for d in range(len(case.priority))]
    evidence = zip(
        verdict.document,
        verdict.kept_document,
        verdict.similarity,
        verdict.bands_hit,
        verdict.cluster_size,
        strict=True,
    )
    expected = [
        (d, kept, np.float32(s), bands, len(clusters[d]))
        for d, (kept, s, bands) in sorted(removed.items())
    ]
    assert list(evidence) == expected
    assert verdict.compared == compared


@given(cases(), st.data())
@settings(max_examples=200, deadline=None)
def test_the_order_of_rows_and_groups_changes_nothing(case: Case, data: st.DataObject) -> None:
    # document d moves to row place[d]
    place = data.draw(st.permutations(range(len(case.priority))))
    document = np.argsort(place)
    moved = Case(
        priority=[case.priority[d] for d in document],
        groups=data.draw(
            st.permutations([sorted(place[d] for d in members) for members in case.groups])
        ),
        sets=[case.sets[d] for d in document],
        threshold=case.threshold,
        limit=case.limit,
        measure=case.measure,
    )
    one, other = judged(case), judged(moved)
    assert other.kept[place].tolist() == one.kept.tolist()
    assert (one.compared, one.skipped) == (other.compared, other.skipped)

    def told(verdict: Verdict, name: np.ndarray) -> set[tuple[float, ...]]:
        return set(
            zip(
                name[verdict.document].tolist(),
                name[verdict.kept_document].tolist(),
                verdict.similarity.tolist(),
                verdict.bands_hit.tolist(),
                verdict.cluster_size.tolist(),
                strict=True,
            )
        )

    assert told(one, np.arange(len(place))) == told(other, document)


@given(cases())
@settings(deadline=None)
def test_every_removed_document_resembles_a_kept_one(case: Case) -> None:
    verdict = judged(case)
    for document, kept in zip(
        verdict.document.tolist(), verdict.kept_document.tolist(), strict=True
    ):
        assert verdict.kept[kept]
        assert case.priority[kept] < case.priority[document]
        assert MEASURES[case.measure](case.sets[document], case.sets[kept]) >= case.threshold


def test_a_chain_loses_only_what_resembles_a_kept_link() -> None:
    # a~b~c~d at 0.6 each, a and c at 0.33: the closure would leave one document.
    sets = [frozenset(range(k, k + 8)) for k in (0, 2, 4, 6)]
    verdict = judged(Case([0, 1, 2, 3], [[0, 1], [1, 2], [2, 3]], sets, 0.6, 100))
    assert verdict.kept.tolist() == [True, False, True, False]
    assert verdict.kept_document.tolist() == [0, 2]
    assert verdict.cluster_size.tolist() == [4, 4]


def test_a_template_removes_nothing_that_differs() -> None:
    # 300 documents in one group share a third of their shingles: candidates all, duplicates none, but two.
    sets = [frozenset(range(10)) | frozenset(range(1000 * k, 1000 * k + 20)) for k in range(1, 301)]
    sets[250] = sets[200] - {200_000} | {201_000}
    verdict = judged(Case(list(range(300)), [list(range(300))], sets, 0.7, 1000))
    assert (verdict.document.tolist(), verdict.kept_document.tolist()) == ([250], [200])
    assert verdict.skipped == 0
    bounded = judged(Case(list(range(300)), [list(range(300))], sets, 0.7, 16))
    assert bounded.kept.all()
    assert bounded.compared + bounded.skipped == 300 * 299 // 2
    assert bounded.compared == sum(min(k, 16) for k in range(300))
    assert bounded.bounded == 300 - 17
    assert (verdict.bounded, verdict.largest_cluster, bounded.largest_cluster) == (0, 300, 300)


def test_under_the_bound_documents_that_share_more_bands_come_first() -> None:
    sets = [frozenset({1, 2}), frozenset({1, 2}), frozenset({1, 2})]
    groups = [[0, 2], [1, 2], [1, 2]]
    sets[0] = frozenset({1})
    verdict = judged(Case([0, 1, 2], groups, sets, 0.9, 1))
    assert (verdict.kept_document.tolist(), verdict.bands_hit.tolist()) == ([1], [2])
    assert verdict.skipped == 1


def test_of_equally_similar_documents_the_most_wanted_is_named() -> None:
    sets = [frozenset({1, 2, 3, 4}), frozenset({1, 2, 3, 5}), frozenset({1, 2, 3})]
    verdict = judged(Case([1, 0, 2], [[0, 1, 2]], sets, 0.75, 100))
    assert verdict.kept.tolist() == [True, True, False]
    assert verdict.kept_document.tolist() == [1]


@given(
    st.lists(
        st.tuples(
            st.frozensets(st.integers(0, 300), max_size=250),
            st.frozensets(st.integers(0, 300), max_size=250),
        ),
        max_size=4,
    )
)
@settings(deadline=None)
def test_jaccard_is_exact(pairs: list[tuple[frozenset[int], frozenset[int]]]) -> None:
    sets = sets_of([values for pair in pairs for values in pair])
    left = np.arange(0, 2 * len(pairs), 2)
    assert jaccard(sets, left, left + 1).tolist() == [
        np.float32(jaccard_of(one, other)) for one, other in pairs
    ]


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 700))
@settings(max_examples=60, deadline=None)
def test_the_early_end_of_a_comparison_never_loses_a_pair_at_the_threshold(
    one: int, other: int, start: int
) -> None:
    sets = [frozenset(range(one)), frozenset(range(start, start + other))]
    similarity = jaccard_of(*sets)
    if similarity > 0:
        assert judged(Case([0, 1], [[0, 1]], sets, similarity, 10)).kept.tolist() == [True, False]
    if similarity < 1:
        assert judged(
            Case([0, 1], [[0, 1]], sets, float(np.nextafter(similarity, 2)), 10)
        ).kept.all()


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 700))
@settings(max_examples=60, deadline=None)
def test_the_early_end_never_loses_a_document_that_another_contains(
    one: int, other: int, start: int
) -> None:
    sets = [frozenset(range(one)), frozenset(range(start, start + other))]
    share = containment_of(sets[1], sets[0])
    if share > 0:
        assert judged(Case([0, 1], [[0, 1]], sets, share, 10, "containment")).kept.tolist() == [
            True,
            False,
        ]
    if share < 1:
        assert judged(
            Case([0, 1], [[0, 1]], sets, float(np.nextafter(share, 2)), 10, "containment")
        ).kept.all()


def test_an_excerpt_is_a_copy_by_containment_and_never_the_whole_of_the_excerpt() -> None:
    sets = [frozenset(range(100)), frozenset(range(20))]
    whole_first = judged(Case([0, 1], [[0, 1]], sets, 0.9, 10, "containment"))
    assert whole_first.kept.tolist() == [True, False]
    assert whole_first.similarity.tolist() == [1.0]
    assert judged(Case([1, 0], [[0, 1]], sets, 0.9, 10, "containment")).kept.all()
    assert judged(Case([0, 1], [[0, 1]], sets, 0.9, 10, "jaccard")).kept.all()


def test_from_texts_to_verdict() -> None:
    base = [
        f"{subject} {k} walks along the river bank and counts {k + 7} boats before the rain"
        for k, subject in enumerate("abcdefgh")
    ]
    texts = column(base + [text.upper() + " !!" for text in base] + [base[0] + " begins once more"])
    config = MinHashConfig(ngrams=2, bands=32, rows=4)
    keys, has_signature = band_keys(texts, config)
    groups = candidate_groups(keys, has_signature)
    sets = shingle_sets(texts, config, groups.candidates(len(texts)))
    verdict = greedy_keep(np.arange(len(texts)), groups, sets, 0.8)
    assert verdict.kept.tolist() == [True] * 8 + [False] * 9
    assert verdict.kept_document.tolist() == [*range(8), 0]
    assert verdict.similarity[:8].tolist() == [1.0] * 8
    assert verdict.bands_hit[:8].tolist() == [32] * 8


def test_no_documents() -> None:
    verdict = greedy_keep(np.zeros(0, np.int64), groups_of([]), sets_of([]), 0.7)
    assert (len(verdict.kept), len(verdict.document), verdict.compared, verdict.skipped) == (
        0,
        0,
        0,
        0,
    )
    assert (verdict.bounded, verdict.largest_cluster) == (0, 0)


@pytest.mark.parametrize(
    ("threshold", "limit", "field"),
    [
        (0.0, 1, "verify"),
        (1.1, 1, "verify"),
        (float("nan"), 1, "verify"),
        (0.5, 0, "max_comparisons"),
    ],
)
def test_a_wrong_threshold_or_bound_is_named(threshold: float, limit: int, field: str) -> None:
    with pytest.raises(UserError) as caught:
        greedy_keep(np.arange(1), groups_of([]), sets_of([frozenset({1})]), threshold, limit)
    assert caught.value.field == field


def test_columns_that_do_not_fit_are_refused() -> None:
    sets, groups = sets_of([frozenset({1}), frozenset()]), groups_of([[0, 1]])
    with pytest.raises(ValueError, match="has no shingle set"):
        greedy_keep(np.arange(2), groups, sets, 0.5)
    with pytest.raises(ValueError, match="permutation"):
        greedy_keep(np.array([0, 0]), groups_of([]), sets, 0.5)
    with pytest.raises(ValueError, match="permutation"):
        greedy_keep(np.array([-1, 1]), groups_of([]), sets, 0.5)
    with pytest.raises(ValueError, match="3 priorities but 2"):
        greedy_keep(np.arange(3), groups_of([]), sets, 0.5)
