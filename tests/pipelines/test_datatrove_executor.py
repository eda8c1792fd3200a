"""datatrove's executor under our runs: same bytes, same errors, resumable."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import multiprocess
import orjson
import psutil
import pytest

import pipelines.executors.datatrove as room
from artifacts.errors import UserError
from pipelines.executors import open_executor
from pipelines.executors.datatrove import DatatroveExecutor
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from tests.pipelines.run_trees import tree

pytestmark = pytest.mark.slow


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The environment before, which must be the one after."""
    before = dict(os.environ)
    yield before
    changed = {
        name
        for name in before.keys() | os.environ.keys()
        if before.get(name) != os.environ.get(name)
    }
    assert {name for name in changed if not name.startswith(("DATATROVE_", "PYTEST_"))} == set()


def test_datatroves_executor_writes_the_same_bytes_as_one_process(
    starter: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Two spawned workers as far as the corpus, datatrove's in-process loop for the rest."""
    run_recipe(load_recipe(starter), str(tmp_path / "here"))
    part = run_recipe(
        load_recipe(starter),
        str(tmp_path / "there"),
        workers=2,
        executor="datatrove",
        until="corpus",
    )
    rest = run_recipe(
        load_recipe(starter), str(tmp_path / "there"), workers=1, executor="datatrove"
    )
    assert part.computed > rest.computed > 0
    assert tree(tmp_path / "there" / "starter") == tree(tmp_path / "here" / "starter")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_tasks_and_each_is_reported(workers: int) -> None:
    reported: dict[int, int] = {}
    results = DatatroveExecutor(workers).map(_square, [5, 4, 3, 2], reported.__setitem__)
    assert results == [25, 16, 9, 4]
    assert reported == {0: 25, 1: 16, 2: 9, 3: 4}


def test_workers_are_spawned_with_one_thread_per_library_and_leave_the_start_method_alone() -> None:
    found = DatatroveExecutor(2).map(
        _worker_facts, ["OMP_NUM_THREADS", "PYTHONSAFEPATH"], lambda index, result: None
    )
    assert [value for value, _ in found] == ["1", "1"]
    assert os.getpid() not in {pid for _, pid in found}
    assert multiprocess.get_start_method(allow_none=True) is None


def test_no_tasks_start_nothing() -> None:
    assert DatatroveExecutor(2).map(_square, [], lambda index, result: None) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_one_rank_reaches_the_driver_with_its_message(
    workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as raised:
        DatatroveExecutor(workers).map(_refuse_three, [1, 3, 5], lambda index, result: None)
    assert (
        raised.value.message,
        raised.value.field,
        str(raised.value.found),
        raised.value.fix,
    ) == ("odd one", "task", "3", "give another")
    assert "Traceback" not in capfd.readouterr().err


def test_a_result_that_cannot_be_handed_over_is_an_error_not_a_wait() -> None:
    with pytest.raises(TypeError, match="cannot pickle 'generator' object"):
        DatatroveExecutor(1).map(_generator, [1], lambda index, result: None)


def test_a_killed_worker_is_a_user_error_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "GRACE_SECONDS", 0.5)
    with pytest.raises(UserError, match="a worker process died"):
        DatatroveExecutor(2).map(_kill_itself_on_three, [3, 1], lambda index, result: None)


def test_an_unknown_executor_and_a_scheduler_without_dask_are_user_errors(
    starter: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such executor") as raised:
        run_recipe(load_recipe(starter), str(tmp_path), executor="datatrov")
    assert raised.value.nearest == "datatrove"
    assert list(tmp_path.iterdir()) == [starter.parent]
    with pytest.raises(UserError, match="only Dask has a scheduler"):
        open_executor(scheduler="tcp://127.0.0.1:1", kind="datatrove")


def _square(value: int) -> int:
    return value * value


def _worker_facts(name: str) -> tuple[str | None, int]:
    return os.environ.get(name), os.getpid()


def _refuse_three(value: int) -> int:
    if value == 3:
        raise UserError("odd one", field="task", found=value, fix="give another")
    return value


def _generator(value: int) -> Iterator[int]:
    yield value


def _kill_itself_on_three(value: int) -> int:
    if value == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


RUN = """
import sys
from pipelines.launch import main

if __name__ == "__main__":
    sys.argv = ["windtunnel", "run", "recipe.yaml", "--executor", "datatrove", "--workers", "2", "--until", "corpus"]
    main()
"""
PIPELINE = """
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from pipelines.datatrove.steps import WindtunnelStep
from pipelines.executors.termination import sigterm_exits

if __name__ == "__main__":
    step = WindtunnelStep("datatrove", {"block": "PIIFormatter", "cpu_seconds": 600})
    reader = JsonlReader(".", glob_pattern="*.jsonl")
    with sigterm_exits():
        LocalPipelineExecutor([reader, step], tasks=2, workers=WORKERS, logging_dir="logs").run()
"""
RECIPE = """
name: stopped
corpus:
  sources:
    - {name: one, paths: [one.jsonl]}
    - {name: two, paths: [two.jsonl]}
  stages:
    - datatrove: {block: PIIFormatter, cpu_seconds: 600}
"""


@pytest.mark.parametrize(
    ("script", "number"),
    [
        (RUN, signal.SIGTERM),
        (RUN, signal.SIGKILL),
        (PIPELINE.replace("WORKERS", "1"), signal.SIGTERM),
        (PIPELINE.replace("WORKERS", "2"), signal.SIGTERM),
    ],
    ids=["run-SIGTERM", "run-SIGKILL", "pipeline-SIGTERM", "pipeline-of-two-SIGTERM"],
)
def test_a_signal_to_the_driver_ends_all_processes_at_work(
    root: Path, tmp_path: Path, script: str, number: signal.Signals
) -> None:
    """Every worker is inside a regular expression that takes hours."""
    for name in ("one", "two"):
        text = orjson.dumps({"id": name, "text": "1.1." * (1 << 18)})
        (tmp_path / f"{name}.jsonl").write_bytes(text + b"\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "script.py").write_text(script)
    driver = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    at_work = 1 if "workers=1" in script else 2
    with contextlib.ExitStack() as cleared:
        cleared.callback(driver.kill)
        while len(busy := _busy(driver.pid)) < at_work and driver.poll() is None:
            time.sleep(0.05)
        assert len(busy) == at_work, driver.communicate()[0]
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(number)
        said, _ = driver.communicate(timeout=20)
        assert driver.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        assert "Traceback" not in said
        _, alive = psutil.wait_procs(children, timeout=10)
        for process in alive:
            cleared.callback(process.kill)
        assert [process.cmdline() for process in alive] == []


def _busy(driver: int) -> list[psutil.Process]:
    """Processes below the driver that a block works in: they have worked longer than to start."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(driver).children(recursive=True):
            if "killable_child" in " ".join(process.cmdline()) and process.cpu_times().user > 1:
                found.append(process)
    return found
