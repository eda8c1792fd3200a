"""Tasks in the main threads of processes: order, deaths, signals, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from artifacts.errors import UserError
from pipelines.executors.process_worker import tell
from pipelines.executors.processes import ProcessExecutor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(2)
    yield executor
    executor.close()


def mapped(executor: ProcessExecutor, function: object, tasks: list[object]) -> list[object]:
    return executor.map(function, tasks, lambda place, result: None)  # type: ignore[arg-type]


def where(task: object) -> tuple[int, bool, str | None]:
    main = threading.current_thread() is threading.main_thread()
    return os.getpid(), main, os.environ.get("SLOT")


def meets(folder: str) -> bool:
    """Whether a second task runs at the same time."""
    Path(folder, str(os.getpid())).touch()
    for _ in range(2000):
        if len(list(Path(folder).iterdir())) == 2:
            return True
        time.sleep(0.01)
    return False


def test_results_are_in_the_order_of_the_tasks_and_told_as_they_come(
    executor: ProcessExecutor,
) -> None:
    told: dict[int, object] = {}
    tasks = [-5, 4, -3, 2, 1]
    assert executor.map(abs, tasks, told.__setitem__) == [5, 4, 3, 2, 1]
    assert told == dict(enumerate([5, 4, 3, 2, 1]))
    assert executor.map(abs, [], told.__setitem__) == []


def test_tasks_run_at_the_same_time_in_main_threads_of_kept_processes(tmp_path: Path) -> None:
    executor = ProcessExecutor(2, [{"SLOT": "a"}, {"SLOT": "b"}])
    try:
        assert mapped(executor, meets, [str(tmp_path)] * 2) == [True, True]
        places = [*mapped(executor, where, [0, 1, 2, 3])]
    finally:
        executor.close()
    assert {place[0] for place in places} <= {int(path.name) for path in tmp_path.iterdir()}  # type: ignore[index]
    assert {place[1] for place in places} == {True}  # type: ignore[index]
    assert {place[2] for place in places} <= {"a", "b"}  # type: ignore[index]


def tells(number: int) -> int:
    tell(number * 10)
    return number


def test_what_a_task_tells_of_itself_arrives_with_its_place() -> None:
    told: list[tuple[int, object]] = []
    executor = ProcessExecutor(2, told=lambda place, fact: told.append((place, fact)))
    assert mapped(executor, tells, [1, 2, 3]) == [1, 2, 3]
    executor.close()
    assert sorted(told) == [(0, 10), (1, 20), (2, 30)]


def test_nobody_hears_what_is_told_in_a_process_of_no_executor() -> None:
    assert tells(1) == 1


def dies_once(mark: str) -> str:
    if not os.path.exists(mark):
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark


def dies(task: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_whose_process_died_is_begun_again(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    marks = [str(tmp_path / name) for name in "abc"]
    assert mapped(executor, dies_once, [*marks]) == marks


def test_a_task_that_always_kills_its_process_is_given_up(executor: ProcessExecutor) -> None:
    with pytest.raises(UserError, match="died 3 times") as error:
        mapped(executor, dies, [1])
    assert "SIGKILL" in str(error.value)


def fails(number: int) -> int:
    if number == 1:
        raise UserError("no such thing", field="number", found=number)
    return number


def unsendable(number: int) -> object:
    return lambda: number


def test_what_a_task_raises_is_raised_here_and_the_workers_go_on(executor: ProcessExecutor) -> None:
    with pytest.raises(UserError, match="no such thing"):
        mapped(executor, fails, [1])
    with pytest.raises(TypeError, match="pickle"):
        mapped(executor, unsendable, [1])
    assert mapped(executor, fails, [2, 3]) == [2, 3]


STOPPED = """
import os, signal, sys, time
from pathlib import Path
from pipelines.executors.processes import ProcessExecutor
from pipelines.executors.termination import sigterm_exits
from tests.pipelines.test_process_executor import until_asked

folder = sys.argv[1]
executor = ProcessExecutor(2)
with sigterm_exits():
    executor.map(until_asked, [folder + "/a", folder + "/b"], lambda place, result: None)
"""


def until_asked(name: str) -> None:
    """As a training: a signal is noted, what is begun is finished and written."""
    asked: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    Path(f"{name}.begun").write_text(str(os.getpid()))
    while not asked:
        time.sleep(0.01)
    Path(f"{name}.written").touch()
    signal.signal(signal.SIGTERM, former)


def started(folder: Path) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    code = STOPPED
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    names = [folder / "a.begun", folder / "b.begun"]
    while not all(name.exists() and name.read_text() for name in names):
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        time.sleep(0.01)
    return process, [psutil.Process(int(name.read_text())) for name in names]


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_tasks_write_what_they_have(number: int, tmp_path: Path) -> None:
    process, tasks = started(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert {path.name for path in tmp_path.glob("*.written")} == {"a.written", "b.written"}
    psutil.wait_procs(tasks, timeout=30)
    assert not any(task.is_running() for task in tasks)


@pytest.mark.kill
def test_a_killed_process_leaves_no_worker(tmp_path: Path) -> None:
    process, tasks = started(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    gone, alive = psutil.wait_procs(tasks, timeout=30)
    assert (len(gone), alive) == (2, [])
