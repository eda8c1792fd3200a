"""What is in sight while a text grows, and what is counted as out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from trainer.generation.settings import GenerateSettings
from trainer.generation.window import Prompt, Window, halved, in_sight


@given(st.integers(1, 40), st.integers(0, 30), st.integers(2, 30))
def test_the_beginning_and_the_newest_are_in_sight(ids: int, kept: int, context: int) -> None:
    kept = min(kept, ids, context - 1)
    seen = in_sight(range(ids), kept, context)
    assert len(seen) == min(ids, context)
    assert list(seen) == sorted(seen)
    assert set(range(kept)) <= set(seen) >= set(range(max(kept, ids - context + kept), ids))
    assert list(in_sight(range(ids), kept, None)) == list(range(ids))


@given(st.integers(1, 60), st.integers(1, 30), st.integers(2, 30), st.integers(0, 90))
def test_a_window_keeps_the_beginning_and_moves_by_half(
    ids: int, kept: int, context: int, more: int
) -> None:
    kept = min(kept, ids, context - 1)
    window = Window(Prompt(range(ids), kept), context)
    reads = 0
    for token in range(ids, ids + more):
        reads += len(window.pending())
        before = [*range(token)][token - window.length + kept :] if kept else []
        window.read()
        assert window.pending() == []
        window.add(token)
        assert window.length <= context
        assert window.unseen == token + 1 - window.length
        seen = [*range(kept), *range(token + 1 - window.length + kept, token + 1)]
        if window.fresh:
            assert len(before) == context - kept
            assert window.length == kept + max(1, (context - kept + 1) // 2)
            assert window.pending() == seen
        else:
            assert window.pending() == [token]
    first = min(ids, context)
    assert reads <= first + more + more * context / max(1, (context - kept) // 2)


def test_half_of_what_need_not_stay_leaves_the_older_half() -> None:
    assert list(halved(range(11), 3)) == [0, 1, 2, 7, 8, 9, 10]
    assert list(halved(range(5), 4)) == [0, 1, 2, 3, 4]
    assert list(halved(range(6), 4)) == [0, 1, 2, 3, 5]


def test_without_a_context_all_stays_in_sight() -> None:
    window = Window(Prompt([5, 6, 7]), None)
    window.read()
    for token in range(500):
        window.add(token)
    assert (window.length, window.unseen, len(window.pending())) == (503, 0, 500)


def test_what_cannot_be_continued_is_refused_with_what_can() -> None:
    with pytest.raises(UserError, match="nothing to continue"):
        Prompt([]).check(GenerateSettings())
    with pytest.raises(UserError, match="sees nothing but the first") as alone:
        Prompt([1]).check(GenerateSettings(context=1))
    assert (alone.value.field, alone.value.allowed) == ("context", ["from 2"])
    with pytest.raises(UserError, match="fills all that the model looks back") as full:
        Prompt(range(12), kept=12).check(GenerateSettings(context=12, tokens=5))
    assert (full.value.found, full.value.allowed) == ("12 tokens", ["up to 11 tokens"])
    assert full.value.fix == "shorten it, or give context=17"
    Prompt(range(12), kept=12).check(GenerateSettings(context=13))
