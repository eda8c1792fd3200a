"""Repeated passages against a dictionary of all windows and a suffix array, and what must hold of
every cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.spans.exact_words import scan_exact
from dedup.spans.passages import anchors, ends_with_separators, repeated, repeated_spans, windows
from dedup.spans.spans import Occurrences, Spans, concatenated, cut, join_runs, repeating, verified
from dedup.words import character_table, word_hashes
from tests.dedup.dedup_model import column
from tests.dedup.span_model import cut_words, cut_words_by_suffixes, placed_words, words_inside

WORDS = ("a", "b", "the", "cats", "Cat", "été", "中", "文", "한")
GAPS = (" ", " ", " ", ", ", ".\n\n", "-", "、", "。", "\u200b ", "")
LENGTH = 8

Corpus = tuple[list[str], list[int]]


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """A few texts put together from shared passages, few words and several separators, with their
    ranks.
    """
    word = st.sampled_from(
        draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5, unique=True))
    )
    gap = st.sampled_from(
        draw(st.lists(st.sampled_from(GAPS), min_size=1, max_size=3, unique=True))
    )
    passage = st.lists(st.tuples(word, gap), max_size=14).map(
        lambda pairs: "".join(word + gap for word, gap in pairs)
    )
    shared = draw(st.lists(passage, min_size=1, max_size=3))
    text = st.lists(st.one_of(st.sampled_from(shared), passage), max_size=6).map("".join)
    texts = draw(st.lists(text, min_size=1, max_size=5))
    return texts, draw(st.permutations(range(len(texts))))


def spans_of(texts: Sequence[str], priority: Sequence[int], length: int = LENGTH) -> Spans:
    return repeated_spans(column(texts), np.array(priority, np.int64), length)


def rows_of(spans: Spans) -> list[tuple[int, ...]]:
    return list(
        zip(
            *(
                values.tolist()
                for values in (spans.row, spans.start, spans.end, spans.kept_row, spans.kept_start)
            ),
            strict=True,
        )
    )


@given(st.lists(st.text("ab é中한\u0301\u200b\n,.１ßﬁ", max_size=30), max_size=4))
def test_words_lie_where_the_plain_model_says_and_are_as_many_as_folded_ones(
    texts: list[str],
) -> None:
    offsets, _ = word_hashes(column(texts))
    for text, folded in zip(texts, np.diff(offsets).tolist(), strict=True):
        raw = np.frombuffer(text.encode(), np.uint8)
        raw.flags.writeable = False
        room = max(len(raw), 1)
        starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
        bare, full = np.empty(room, np.uint64), np.empty(room, np.uint64)
        found = scan_exact(raw, 0, len(raw), character_table(), starts, ends, bare, full)
        assert list(
            zip(starts[:found].tolist(), ends[:found].tolist(), strict=True)
        ) == placed_words(text)
        assert found == folded
        own = [text.encode()[start:end] for start, end in placed_words(text)]
        assert len(set(own)) == len(set(bare[:found].tolist()))


@given(corpora())
def test_the_words_cut_are_those_of_every_repeated_window_and_no_other(corpus: Corpus) -> None:
    texts, priority = corpus
    found = words_inside(spans_of(texts, priority), texts)
    assert found == cut_words(texts, priority, LENGTH)
    assert found == cut_words_by_suffixes(texts, priority, LENGTH)


@given(corpora())
def test_a_span_is_a_copy_of_an_earlier_place_byte_by_byte_and_long_enough(corpus: Corpus) -> None:
    texts, priority = corpus
    raw = [text.encode() for text in texts]
    for row, start, end, kept_row, kept_start in rows_of(spans_of(texts, priority)):
        assert raw[row][start:end] == raw[kept_row][kept_start : kept_start + end - start]
        assert (priority[kept_row], kept_start) < (priority[row], start)
        assert len(placed_words(raw[row][start:end].decode())) >= LENGTH


@given(corpora())
def test_every_word_that_goes_leads_to_an_equal_word_that_stays(corpus: Corpus) -> None:
    texts, priority = corpus
    raw, spans = [text.encode() for text in texts], rows_of(spans_of(texts, priority))
    gone = words_inside(spans_of(texts, priority), texts)
    places = [placed_words(text) for text in texts]
    for row, word in gone:
        start, end = places[row][word]
        here, place = row, start
        while covering := [
            span for span in spans if span[0] == here and span[1] <= place < span[2]
        ]:
            here, place = covering[0][3], covering[0][4] + place - covering[0][1]
        assert raw[here][place : place + end - start] == raw[row][start:end]


@given(corpora())
def test_no_window_is_left_twice_in_what_stays(corpus: Corpus) -> None:
    texts, priority = corpus
    gone = words_inside(spans_of(texts, priority), texts)
    seen: dict[bytes, tuple[int, int]] = {}
    for row, text in enumerate(texts):
        words = placed_words(text)
        for word in range(len(words) - LENGTH + 1):
            if not any((row, word + k) in gone for k in range(LENGTH)):
                window = text.encode()[words[word][0] : words[word + LENGTH - 1][1]]
                other = seen.setdefault(window, (row, word))
                assert other[0] == row
                assert word - other[1] < LENGTH


@given(corpora(), st.randoms())
def test_the_order_of_rows_changes_nothing(corpus: Corpus, random: object) -> None:
    texts, priority = corpus
    order = list(range(len(texts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    moved = spans_of([texts[row] for row in order], [priority[row] for row in order])
    back = [
        (order[row], start, end, order[kept], kept_start)
        for row, start, end, kept, kept_start in rows_of(moved)
    ]
    assert sorted(back) == sorted(rows_of(spans_of(texts, priority)))


@given(corpora(), st.integers(1, 3), st.integers(1, 4))
def test_work_divided_by_texts_and_by_hash_finds_the_same(
    corpus: Corpus, parts: int, shares: int
) -> None:
    texts, priority = corpus
    bounds = np.linspace(0, len(texts), parts + 1).astype(int)
    chunks = [column(texts[first:last]) for first, last in zip(bounds, bounds[1:], strict=False)]
    found = [anchors(chunk, LENGTH)[0] for chunk in chunks]
    flags = [np.zeros(len(hashes), np.bool_) for hashes in found]
    for share in range(shares):
        inside = [np.flatnonzero(hashes % np.uint64(shares) == share) for hashes in found]
        twice = np.split(
            repeated(
                np.concatenate([hashes[rows] for hashes, rows in zip(found, inside, strict=True)])
            ),
            np.cumsum([len(rows) for rows in inside])[:-1],
        )
        for flag, rows, marks in zip(flags, inside, twice, strict=True):
            flag[rows] = marks
    own = [windows(chunk, LENGTH, flag) for chunk, flag in zip(chunks, flags, strict=True)]
    whole = concatenated(
        Occurrences,
        [
            Occurrences(w.key, w.row + int(first), w.start, w.end)
            for w, first in zip(own, bounds, strict=False)
        ],
    )
    ranks = np.array(priority, np.int64)
    proposed = []
    for share in range(shares):
        part = whole.take(whole.key % np.uint64(shares) == share)
        proposed.append(repeating(part, ranks[part.row]))
    spans = join_runs(concatenated(Spans, proposed))
    everything = column(texts)
    assert rows_of(
        verified(everything, spans, ends_with_separators(everything, spans.row, spans.end))
    ) == rows_of(spans_of(texts, priority))


@given(corpora(), st.data())
def test_equal_keys_alone_cut_nothing(corpus: Corpus, data: st.DataObject) -> None:
    """Proposals as a hash that always collides would make them: only true copies pass."""
    texts, _ = corpus
    raw = [text.encode() for text in texts]
    places = [
        (row, start, words[-1][1])
        for row, text in enumerate(texts)
        if (words := placed_words(text))
        for start, _ in words
    ]
    if not places:
        return
    pairs = data.draw(
        st.lists(st.tuples(st.sampled_from(places), st.sampled_from(places)), max_size=10)
    )
    claims = [
        (row, start, end, kept, kept_start) for (row, start, end), (kept, kept_start, _) in pairs
    ]
    spans = Spans(*(np.array([claim[k] for claim in claims], np.int64) for k in range(5)))
    passed = rows_of(verified(column(texts), spans, spans.end))
    true = [
        claim
        for claim in claims
        if raw[claim[0]][claim[1] : claim[2]] == raw[claim[3]][claim[4] :][: claim[2] - claim[1]]
    ]
    assert all(
        raw[row][start:end] == raw[kept][at : at + end - start]
        for row, start, end, kept, at in passed
    )
    assert {(row, place) for row, start, end, *_ in true for place in range(start, end)} == {
        (row, place) for row, start, end, *_ in passed for place in range(start, end)
    }


@given(corpora(), st.data())
def test_cutting_takes_out_the_stretches_and_nothing_else(
    corpus: Corpus, data: st.DataObject
) -> None:
    texts = corpus[0]
    taken = [set() for _ in texts]
    stretches = []
    for row, text in enumerate(texts):
        places = [len(text[:k].encode()) for k in range(len(text) + 1)]
        for first, last in sorted(
            data.draw(
                st.lists(
                    st.tuples(st.sampled_from(places), st.sampled_from(places)).map(sorted),
                    max_size=4,
                )
            )
        ):
            stretches.append((row, first, last))
            taken[row] |= set(range(first, last))
    columns = [np.array([stretch[k] for stretch in stretches], np.int64) for k in range(3)]
    whole = column(["unseen", *texts]).slice(1)
    rest, sizes = cut(whole, *columns)
    assert rest.to_pylist() == [
        bytes(byte for place, byte in enumerate(text.encode()) if place not in gone).decode()
        for text, gone in zip(texts, taken, strict=True)
    ]
    assert sizes.tolist() == [len(gone) for gone in taken]


LATIN = [f"word{number}" for number in range(4000)]
HAN = [chr(0x4E00 + number) for number in range(4000)]


@pytest.mark.parametrize(("words", "gap"), [(LATIN, " "), (HAN, "")])
@pytest.mark.parametrize("length", [50, 51, 77, 128, 250, 500])
def test_a_planted_span_is_found_whole_and_cut_once(
    words: list[str], gap: str, length: int
) -> None:
    random = np.random.default_rng(length)

    def passage(count: int) -> str:
        return gap.join(random.choice(words, count)) + gap

    planted = passage(length)
    texts = [
        passage(300) + planted + passage(200),
        passage(40),
        planted + passage(90),
        passage(70) + planted,
    ]
    spans = spans_of(texts, [2, 0, 1, 3], 50)
    assert spans.row.tolist() == [0, 3]
    assert spans.kept_row.tolist() == [2, 2]
    rest, _ = cut(column(texts), spans.row, spans.start, spans.end)
    assert rest.to_pylist() == [
        text if row in (1, 2) else text.replace(planted, "") for row, text in enumerate(texts)
    ]


@pytest.mark.parametrize(("words", "gap"), [(LATIN, " "), (HAN, "")])
def test_below_the_threshold_nothing_is_cut(words: list[str], gap: str) -> None:
    random = np.random.default_rng(5)
    planted = gap.join(random.choice(words, 49)) + gap
    texts = [
        gap.join(random.choice(words, 80)) + gap + planted + gap.join(random.choice(words, 80))
        for _ in range(5)
    ]
    assert len(spans_of(texts, range(5), 50)) == 0


@pytest.mark.parametrize("period", [1, 3, 8, 11, 30])
def test_a_text_that_repeats_itself_keeps_one_whole_run(period: int) -> None:
    text = " ".join(f"w{place % period}" for place in range(200))
    spans = spans_of([text], [0], LENGTH)
    rest, _ = cut(column([text]), spans.row, spans.start, spans.end)
    words = rest[0].as_py().split()
    assert words == text.split()[: len(words)]
    assert max(period, LENGTH) <= len(words) < max(period, LENGTH) + period


def test_what_separates_words_counts_inside_a_span_and_not_around_it() -> None:
    passage = " ".join(f"x{number}" for number in range(20))
    other = passage.replace("x7 x8", "x7+x8")
    texts = [f"One {passage}. Two", f"Three {passage}! Four", f"Five {other}. Six"]
    spans = spans_of(texts, [0, 1, 2], 20)
    assert rows_of(spans) == [(1, 6, 6 + len(passage), 0, 4)]
    assert len(spans_of(texts, [0, 1, 2], 13)) == 1
    assert len(spans_of(texts, [0, 1, 2], 12)) == 2


def test_two_passages_with_one_different_character_between_them_are_two_spans() -> None:
    words = [f"x{number}" for number in range(40)]
    texts = [" ".join(words), " ".join(words[:20]) + "+" + " ".join(words[20:])]
    behind = len(" ".join(words[:20]))
    assert rows_of(spans_of(texts, [0, 1], 20)) == [
        (1, 0, behind, 0, 0),
        (1, behind + 1, len(texts[0]), 0, behind + 1),
    ]


def test_what_a_span_takes_with_it_ends_with_a_whole_character() -> None:
    passage = " ".join(f"x{number}" for number in range(20))
    texts = [passage + "、one", passage + "。two"]
    assert rows_of(spans_of(texts, [0, 1], 20)) == [(1, 0, len(passage), 0, 0)]


def test_a_span_takes_the_separators_behind_it_where_they_are_equal() -> None:
    passage = " ".join(f"x{number}" for number in range(20))
    texts = [f"{passage}.\n\nEnd", f"Begin {passage}.\n\nNow", f"Start {passage}.\nNow"]
    spans = spans_of(texts, [0, 1, 2], 20)
    rest, _ = cut(column(texts), spans.row, spans.start, spans.end)
    assert rest.to_pylist() == [texts[0], "Begin Now", "Start Now"]


@pytest.mark.parametrize("length", [7, 4097, True, 50.0])
def test_a_length_out_of_range_is_a_users_error(length: int) -> None:
    with pytest.raises(UserError, match="length"):
        repeated_spans(pa.array([], pa.large_string()), np.empty(0, np.int64), length)
