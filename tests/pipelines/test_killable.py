"""A process that can be killed: answers in order, values over the limit, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.executors.killable import OVER_LIMIT, KillableProcess, ProcessDiedError

NEVER = "a" * 60 + "b"
"""A text on which :func:`backtracks` does not end."""


@pytest.fixture
def process() -> Iterator[KillableProcess]:
    process = KillableProcess()
    yield process
    process.end()


def limited(
    process: KillableProcess,
    function: Callable[[Any], Any],
    values: list[Any],
    seconds: float,
    prepare: Callable[[], object] | None = None,
) -> list[Any]:
    """Answers under one limit for all values."""
    return process.map(function, values, [seconds] * len(values), prepare)


def backtracks(text: str) -> bool:
    return re.match(r"(a+)+$", text) is not None


def test_one_answer_for_each_value_in_order_by_one_child(process: KillableProcess) -> None:
    assert limited(process, backtracks, ["a", "b", "aaa"], 5.0) == [True, False, True]
    first, *others = {
        *limited(process, process_id, [1, 2], 5.0),
        *limited(process, process_id, [3], 5.0),
    }
    assert first != os.getpid()
    assert others == []
    assert limited(process, backtracks, [], 5.0) == []


def test_values_over_the_limit_are_said_to_be_and_the_others_are_answered(
    process: KillableProcess,
) -> None:
    answers = limited(process, backtracks, ["a", NEVER, "aa", NEVER, "b"], 0.1)
    assert answers == [True, OVER_LIMIT, True, OVER_LIMIT, False]


def test_the_limit_is_time_of_the_processor_and_what_is_prepared_has_none(
    process: KillableProcess,
) -> None:
    assert limited(process, waits, [0.4], 0.1) == [0.4]
    assert limited(process, backtracks, ["a"], 0.1, prepare=works_long) == [True]


def test_what_a_function_raises_is_raised_here_and_the_next_call_is_answered(
    process: KillableProcess,
) -> None:
    with pytest.raises(ZeroDivisionError):
        limited(process, inverse, [1, 0, 2, 4], 5.0)
    assert limited(process, inverse, [4], 5.0) == [0.25]
    with pytest.raises(TypeError, match="cannot pickle"):
        limited(process, generator, [1], 5.0)


def test_a_child_that_dies_is_an_error_that_names_the_value(process: KillableProcess) -> None:
    with pytest.raises(ProcessDiedError) as raised:
        limited(process, dies_on_two, [0, 1, 2, 3], 5.0)
    assert (raised.value.index, raised.value.how) == (2, "SIGKILL")
    with pytest.raises(ProcessDiedError) as raised:
        limited(process, leaves, [1], 5.0)
    assert (raised.value.index, raised.value.how) == (0, "exit status 3")
    assert limited(process, inverse, [1], 5.0) == [1.0]


def test_a_child_that_was_killed_without_a_task_is_replaced(process: KillableProcess) -> None:
    [before] = limited(process, process_id, [1], 5.0)
    os.kill(before, signal.SIGKILL)
    [after] = limited(process, process_id, [1], 5.0)
    assert after != before


def test_what_a_function_prints_does_not_reach_standard_output(
    process: KillableProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    limited(process, print, ["said by a child"], 5.0)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "said by a child\n")


PARENT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from pipelines.executors.killable import SHARED
from tests.pipelines.test_killable import NEVER, backtracks, process_id
print(*SHARED.map(process_id, [1], [5.0]), flush=True)
if sys.argv[1] == "at work":
    SHARED.map(backtracks, [NEVER], [600.0])
elif sys.argv[1] == "idle":
    sys.stdin.read()
"""


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("state", ["at work", "idle"])
def test_a_child_ends_with_its_parent(root: Path, state: str, number: signal.Signals) -> None:
    """At work it is inside a regular expression that does not end."""
    parent = started(root, state)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    if state == "at work":
        before = child.cpu_times().user
        while child.cpu_times().user < before + 0.1:
            time.sleep(0.01)
    parent.send_signal(number)
    parent.communicate(timeout=20)
    child.wait(timeout=20)


def test_a_child_ends_when_its_parent_ends_by_itself(root: Path) -> None:
    parent = started(root, "done")
    said, errors = parent.communicate(timeout=20)
    assert errors == ""
    assert not psutil.pid_exists(int(said))


def started(root: Path, state: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PARENT, state],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def process_id(value: object) -> int:
    return os.getpid()


def waits(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def works_long() -> None:
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass


def inverse(value: float) -> float:
    return 1 / value


def generator(value: int) -> Iterator[int]:
    yield value


def dies_on_two(value: int) -> int:
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def leaves(value: int) -> None:
    os._exit(3)
