"""The order inside a source: each window once per epoch, near its neighbours, and as a slow reading
of the rule gives it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mixtures.freeze.freeze import freeze
from mixtures.order.block_sizes import (
    BLOCK_TOKENS,
    LEAST_BLOCKS,
    OPEN_BLOCKS,
    OPEN_TOKENS,
    block_tokens,
    open_blocks,
)
from mixtures.order.source_order import SourceOrder, source_orders
from mixtures.plan.format import PinnedSource, SourceContext
from mixtures.sequences.permutation import permuted, permuted_all, unpermuted
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec

WORD = (1 << 64) - 1


def order_of(
    windows: int, size: int, opened: int, key: int = 99, tail: int = 0, **rest: object
) -> SourceOrder:
    """An order of windows of 2 tokens in blocks of ``size`` windows; ``tail`` tokens are left at
    the stream's end.
    """
    pinned = PinnedSource(
        name="own",
        tokenizer_hash="a" * 32,
        dtype="uint16",
        vocab_size=100,
        eos_id=2,
        tokens=2 * windows + tail,
        open_blocks=opened,
        key=f"{key:016x}",
        parts=(),
    )
    return SourceOrder(pinned, SourceContext(block_tokens=2 * size, windows=windows, **rest), 2, 0)


def epoch_of(order: SourceOrder, epoch: int) -> list[int]:
    """The windows of one epoch in the order shown."""
    epochs, shown = order.shown(np.arange(epoch * order.windows, (epoch + 1) * order.windows))
    assert (epochs == epoch).all()
    return shown.tolist()


def plain_mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def plain_permutation(size: int, key: int) -> list[int]:
    """Where each of 0 ... size - 1 goes: six Feistel rounds, again while outside."""
    half = 1
    while 4**half < size:
        half += 1
    out = []
    for value in range(size):
        while True:
            left, right = value >> half, value & ((1 << half) - 1)
            for number in range(6):
                salt = (key + number * 0xD1B54A32D192ED03) & WORD
                left, right = right, left ^ (plain_mix(right ^ salt) & ((1 << half) - 1))
            value = left << half | right
            if value < size:
                break
        out.append(value)
    return out


def plain_epoch(windows: int, size: int, opened: int, key: int, epoch: int) -> list[int]:
    """The rule read aloud with lists: permute blocks, then the windows of each few neighbours."""
    blocks = [list(range(start, min(start + size, windows))) for start in range(0, windows, size)]
    block_key = plain_mix(key ^ plain_mix(epoch))
    line = [blocks[block] for block in plain_permutation(len(blocks), block_key)]
    shown: list[int] = []
    for group, first in enumerate(range(0, len(line), opened)):
        together = [window for block in line[first : first + opened] for window in block]
        group_key = plain_mix((block_key + plain_mix(group)) & WORD)
        shown += [together[place] for place in plain_permutation(len(together), group_key)]
    return shown


SHAPES = st.tuples(st.integers(1, 300), st.sampled_from([1, 2, 4, 8, 32, 64]), st.integers(1, 5))


@given(SHAPES, st.integers(0, WORD), st.integers(0, 1000), st.integers(0, 1))
@settings(max_examples=60)
def test_an_epoch_is_the_rule_read_aloud(
    shape: tuple[int, int, int], key: int, epoch: int, tail: int
) -> None:
    windows, size, opened = shape
    order = order_of(windows, size, opened, key, tail)
    if order.blocks == -(-windows // size):  # else the tail is a block of its own, without a window
        assert epoch_of(order, epoch) == plain_epoch(windows, size, opened, key, epoch)


@given(SHAPES, st.integers(0, WORD), st.integers(0, 3), st.integers(0, 1))
@settings(max_examples=60)
def test_an_epoch_shows_every_window_once_and_can_be_inverted(
    shape: tuple[int, int, int], key: int, epoch: int, tail: int
) -> None:
    order = order_of(*shape, key, tail)
    shown = epoch_of(order, epoch)
    assert sorted(shown) == list(range(shape[0]))
    assert [order.number(epoch, window) for window in shown] == list(
        range(epoch * shape[0], (epoch + 1) * shape[0])
    )


@given(SHAPES, st.integers(0, WORD), st.integers(0, 3))
@settings(max_examples=40)
def test_groups_hold_the_windows_of_their_blocks(
    shape: tuple[int, int, int], key: int, epoch: int
) -> None:
    windows, size, opened = shape
    order = order_of(windows, size, opened, key)
    shown = epoch_of(order, epoch)
    for group in range(order.groups):
        first, last = order.group_place(epoch, group), order.group_place(epoch, group + 1)
        blocks = order.group_blocks(epoch, group)
        assert sorted(shown[first:last]) == sorted(
            window for window in range(windows) if window // size in blocks
        )
        assert all(order.group_at(epoch, place) == group for place in range(first, last))
    assert order.group_at(epoch, windows) == order.groups


@given(SHAPES, st.integers(0, 2), st.data())
@settings(max_examples=40)
def test_a_context_that_begins_at_a_group_goes_on_from_there(
    shape: tuple[int, int, int], epoch: int, data: st.DataObject
) -> None:
    whole = order_of(*shape)
    group = data.draw(st.integers(0, whole.groups))
    later = order_of(*shape, epoch=epoch, group=group)
    first = whole.group_place(epoch, group)
    epochs, shown = later.shown(np.arange(later.head + shape[0]))
    assert shown.tolist() == epoch_of(whole, epoch)[first:] + epoch_of(whole, epoch + 1)
    assert [later.number(int(e), int(w)) for e, w in zip(epochs, shown, strict=True)] == list(
        range(len(shown))
    )
    assert all(later.number(epoch, window) is None for window in epoch_of(whole, epoch)[:first])


def test_epochs_and_keys_give_other_orders() -> None:
    order = order_of(500, 16, 4)
    assert epoch_of(order, 0) != epoch_of(order, 1)
    assert epoch_of(order, 0) != epoch_of(order_of(500, 16, 4, key=100), 0)


def test_only_a_few_blocks_are_open_at_a_time() -> None:
    blocks = np.array(epoch_of(order_of(64 * 40, 64, 4), 2)) // 64
    groups = blocks.reshape(10, 256)
    assert [len(np.unique(group)) for group in groups] == [4] * 10
    # and they are mixed with one another
    assert all((group[:64] != group[0]).any() for group in groups)


def test_blocks_are_powers_of_two_of_windows_of_the_planned_size() -> None:
    assert block_tokens(10**12, 4096) == BLOCK_TOKENS
    assert block_tokens(10**12, 1 << 25) == 1 << 25
    for tokens in (256, 2000, 8 * 256, 25600, 3_000_000):
        size = block_tokens(tokens, 256) // 256
        assert size & (size - 1) == 0
        assert size == 1 or LEAST_BLOCKS <= -(-tokens // (size * 256)) <= 2 * LEAST_BLOCKS


@given(
    st.integers(1, OPEN_TOKENS),
    st.integers(1, 1 << 18),
    st.sampled_from([OPEN_TOKENS, 1 << 31]),
    st.integers(0, 5),
)
def test_a_small_source_has_all_its_blocks_open_whatever_the_window(
    tokens: int, window: int, small: int, times: int
) -> None:
    tokens = min(tokens << times, small)
    assert -(-tokens // block_tokens(tokens, window)) <= open_blocks(tokens, small)


def test_an_epoch_of_a_small_source_is_one_group_and_a_large_one_has_groups_of_four(
    shards: Any,
) -> None:
    spec = MixtureSpec(
        phases=(PhaseSpec(name="one", tokens=9000, weights={"web": 0.6, "chat": 0.4}),)
    )
    plans = [
        freeze(spec, shards.sources, sequence_length=8, batch_tokens=64, seed=1, open_tokens=small)
        for small in (OPEN_TOKENS, 1000)
    ]
    whole, parted = ([(order, order.groups) for order in source_orders(plan, 0)] for plan in plans)
    for order, groups in whole:
        assert groups == 1
        assert order.blocks > 2 * OPEN_BLOCKS
    for order, groups in parted:
        assert order.pinned.open_blocks == OPEN_BLOCKS
        assert groups == -(-order.blocks // OPEN_BLOCKS) > 2
    assert open_blocks(OPEN_TOKENS + 1) == OPEN_BLOCKS


def test_windows_of_a_small_source_are_shown_anywhere_in_the_epoch() -> None:
    order = order_of(64 * 16, 64, open_blocks(2 * 64 * 16))
    # place of each window, (epochs, windows)
    where = np.argsort(np.array([epoch_of(order, epoch) for epoch in range(40)]), axis=1)
    table = np.zeros((16, 16), np.int64)
    np.add.at(table, (np.arange(1024) // 64 * np.ones((40, 1), np.int64), where // 64), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4
    # neighbours in the stream: a third of the epoch apart, as at random
    together = np.abs(where[:, 1:] - where[:, :-1]).mean()
    assert abs(together / 1024 - 1 / 3) < 0.01
    assert np.abs(np.corrcoef(where)[np.triu_indices(40, 1)]).max() < 0.15


@given(st.integers(1, 1 << 40), st.integers(0, WORD), st.data())
def test_the_permutation_has_its_inverse_at_any_size(
    size: int, key: int, data: st.DataObject
) -> None:
    for value in data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5)):
        there = permuted(value, size, np.uint64(key))
        assert 0 <= there < size
        assert unpermuted(there, size, np.uint64(key)) == value


@given(st.integers(1, 300), st.integers(0, WORD))
@settings(max_examples=40)
def test_the_whole_permutation_is_that_of_plain_python(size: int, key: int) -> None:
    assert permuted_all(size, np.uint64(key)).tolist() == plain_permutation(size, key)


def test_a_window_is_equally_likely_to_be_first() -> None:
    counts = np.bincount([permuted(0, 10, np.uint64(key)) for key in range(2000)], minlength=10)
    assert counts.min() > 140
    assert counts.max() < 260
