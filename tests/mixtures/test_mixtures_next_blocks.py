"""Asking for the blocks that come next: all of the next group in time, nothing else, and never
twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixtures.freeze.freeze import Plan, freeze
from mixtures.loader.loader import Loader, open_streams
from mixtures.loader.next_blocks import NextBlocks
from mixtures.order.interleave import counts_at_end
from mixtures.order.source_order import LEFT, SourceOrder, source_orders
from mixtures.parts.local_parts import LocalParts
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.conftest import Writer
from tokenizer.shards.reader import open_source

Records = set[tuple[int, int]]  # (part, number)
ONE = PhaseSpec(
    name="one", tokens=16_000, weights={"web": 0.7, "chat": 0.3}, sequence_length=4, batch_tokens=32
)
PHASES = {
    "one length": (ONE,),
    "three lengths": (
        ONE,
        ONE.model_copy(update={"name": "two", "sequence_length": 16}),
        ONE.model_copy(update={"name": "three"}),
    ),
}


def plan_of(shards: Any, *phases: PhaseSpec, open_tokens: int = 0) -> Plan:
    return freeze(
        MixtureSpec(phases=phases),
        shards.sources,
        sequence_length=4,
        batch_tokens=32,
        seed=1,
        open_tokens=open_tokens,
    )


@contextmanager
def heard() -> Iterator[list[tuple[str, int, int]]]:
    """What is asked for, record batch by record batch: (source, part, number). Nothing counts as
    being in the page cache.
    """
    found: list[tuple[str, int, int]] = []
    ask = LocalParts.ask

    def noted(
        self: LocalParts, part: int, first: int, last: int, leaving: Callable[[], bool]
    ) -> None:
        found.extend((self.folder.name, part, number) for number in range(first, last))
        ask(self, part, first, last, leaving)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalParts, "ask", noted)
        patch.setattr(LocalParts, "there", lambda *_: False)
        yield found


def tell(asking: NextBlocks, step: int) -> None:
    """Show a step and wait until all is read."""
    asking.shown(step)
    if asking._thread is not None:
        asking._thread.join()


def records_of(
    plan: Plan, folders: dict[str, Path], source: int, blocks: list[int], size: int
) -> Records:
    """The record batches with a token of some blocks, found by looking at each."""
    stream = open_streams(plan, folders)[source]
    found = set()
    for part in range(len(stream.pinned.parts)):
        starts = stream.layout(part)[0]
        for number in range(len(starts) - 1):
            if any(
                starts[number] < (block + 1) * size and starts[number + 1] > block * size
                for block in blocks
            ):
                found.add((part, number))
    return found


def following(order: SourceOrder, number: int) -> tuple[tuple[int, int] | None, tuple[int, int]]:
    """The group that a source's window is in, and the group behind it."""
    epoch, place = order.place_of(number)
    if epoch == LEFT:
        return None, (order.context.epoch + 1, 0)
    group = order.group_at(epoch, place)
    return (epoch, group), ((epoch, group + 1) if group + 1 < order.groups else (epoch + 1, 0))


@pytest.mark.parametrize(
    "phases",
    [
        pytest.param(PHASES["one length"], id="one length"),
        pytest.param(PHASES["three lengths"], id="three lengths", marks=pytest.mark.slow),
    ],
)
def test_the_next_group_is_asked_for_before_it_begins_and_nothing_behind_it(
    shards: Any, phases: tuple[PhaseSpec, ...]
) -> None:
    plan = plan_of(shards, *phases)
    asking = NextBlocks(plan, open_streams(plan, shards.folders))
    begun = 0
    with heard() as asked:
        for number in range(len(plan.contexts)):
            orders, before = (
                source_orders(plan, number),
                [following(order, 0) for order in source_orders(plan, number)],
            )
            # asked for while the group before was shown
            own: list[Records] = [set() for _ in orders]
            end = (
                plan.contexts[number + 1].first_step
                if number + 1 < len(plan.contexts)
                else plan.steps
            )
            for step in range(plan.contexts[number].first_step, end):
                asked.clear()
                tell(asking, step)
                counts = counts_at_end(plan, number, step + 1).tolist()
                for source, (order, count) in enumerate(zip(orders, counts, strict=True)):
                    size, now = order.context.block_tokens, following(order, count)
                    if now != before[source]:
                        here = now[0]
                        if (
                            here is not None
                            and here == before[source][1]
                            and before[source][0] is not None
                        ):
                            fresh = set(order.group_blocks(*here)) - set(
                                order.group_blocks(*before[source][0])
                            )
                            assert own[source] == records_of(
                                plan, shards.folders, source, sorted(fresh), size
                            )
                            begun += 1
                        before[source], own[source] = now, set()
                    new = [
                        (part, record) for name, part, record in asked if name == plan.names[source]
                    ]
                    behind = order.group_blocks(*now[1])
                    assert set(new) <= records_of(plan, shards.folders, source, behind, size)
                    own[source] |= set(new)
    assert begun > 10


def test_blocks_are_asked_for_at_the_pace_of_what_is_shown(shards: Any) -> None:
    plan = plan_of(shards, ONE.model_copy(update={"weights": {"web": 1.0}}))
    order = source_orders(plan, 0)[0]
    asking = NextBlocks(plan, open_streams(plan, shards.folders))
    steps = []
    with heard() as asked:
        for step in range(order.group_place(0, 1) // 8):
            tell(asking, step)
            if asked:
                steps.append(step)
                asked.clear()
    windows = order.group_place(0, 1)
    assert steps == [
        min(step for step in range(windows) if 4 * 8 * (step + 1) >= (block + 0.5) * windows)
        for block in range(4)
    ]


def test_a_step_that_comes_again_asks_for_nothing_and_a_source_of_one_group_never_does(
    shards: Any,
) -> None:
    for open_tokens in (0, 1 << 26):
        plan = plan_of(shards, ONE, open_tokens=open_tokens)
        asking = NextBlocks(plan, open_streams(plan, shards.folders))
        with heard() as asked:
            for step in range(plan.steps):
                tell(asking, step)
                times = len(asked)
                tell(asking, step)
                tell(asking, step // 2)
                assert len(asked) == times
        assert bool(asked) == (open_tokens == 0)


def test_a_loader_asks_while_it_reads_and_reads_the_same(shards: Any) -> None:
    plan = plan_of(shards, ONE)
    with heard() as asked:
        loader = Loader(plan, shards.folders)
        tokens = [loader.batch(step).tokens for step in range(plan.steps)]
        for thread in threading.enumerate():
            if thread.name == "windtunnel-next-blocks":
                thread.join()
    assert {name for name, _, _ in asked} == {"web", "chat"}
    again = Loader(plan, shards.folders)
    again._next_blocks._due = plan.steps  # never asks
    assert all(np.array_equal(one, again.batch(step).tokens) for step, one in enumerate(tokens))


def test_a_part_that_is_gone_is_told_by_the_batch_that_needs_it(shard_writer: Writer) -> None:
    folder = shard_writer("own", [[5] * 40] * 200)
    plan = freeze(
        MixtureSpec(phases=(ONE.model_copy(update={"weights": {"own": 1.0}}),)),
        {"own": open_source(folder)},
        sequence_length=4,
        batch_tokens=32,
        seed=1,
        open_tokens=0,
    )
    asking = NextBlocks(plan, open_streams(plan, {"own": folder}))
    for part in folder.glob("*.arrow"):
        part.unlink()
    for step in range(plan.steps):
        tell(asking, step)


def test_what_was_asked_for_is_in_the_page_cache(shard_writer: Writer) -> None:
    folder = shard_writer("own", [[5] * 1000] * 300, part_tokens=10_000_000)
    files = LocalParts.of(open_source(folder))
    place = files.index(0).batch(20)
    file = os.open(files.path(0), os.O_RDONLY)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        if cached(file, place.offset):
            pytest.skip("this file system does not let go of pages")
        assert not files.there(0, 20, 21)
        files.ask(0, 20, 21, leaving=lambda: False)
        assert files.there(0, 20, 21)
        assert cached(file, place.offset)
        assert cached(file, place.offset + place.bytes - 1)
    finally:
        os.close(file)


LEAVE = """
import sys, threading
from pathlib import Path
import numpy as np
from mixtures.loader.loader import Loader
from mixtures.order.sound_plan import load_plan
from mixtures.parts.local_parts import LocalParts
from mixtures.sequences.permutation import permuted_all

asked, key = threading.Event(), np.uint64(1)

def ask(self, part, first, last, leaving):
    asked.set()
    while not leaving():
        permuted_all(1000, key)

LocalParts.ask, LocalParts.there = ask, lambda *_: False
loader = Loader(load_plan(Path(sys.argv[1])), {"web": sys.argv[2], "chat": sys.argv[3]})
for step in range(loader.plan.steps):
    loader.batch(step)
assert asked.wait(60)
"""


@pytest.mark.slow
def test_a_process_that_ends_does_not_wait_for_what_is_asked_for(
    shards: Any, tmp_path: Path
) -> None:
    plan = plan_of(shards, ONE)
    (tmp_path / "plan.json").write_bytes(plan.to_json())
    command = [
        sys.executable,
        "-c",
        LEAVE,
        str(tmp_path / "plan.json"),
        *(str(shards.folders[name]) for name in ("web", "chat")),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


def cached(file: int, place: int) -> bool:
    try:
        return os.preadv(file, [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False
    except OSError:
        return True
