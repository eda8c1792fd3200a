"""Runs killed and stopped, between steps and at every file operation of a checkpoint: they end in
the bits of one that was not.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.paths import Store
from tests.trainer import dying_writes
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import run, traces
from trainer.checkpoints.checkpoint import saved

pytestmark = pytest.mark.kill

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.trainer import dying_writes, loop_corpus, loop_runs
from tokenizer.encode import Tokenizer
from trainer.checkpoints import checkpoint
from trainer.loop import training as loop

base, folder = Path(sys.argv[1]), Path(sys.argv[2])
names = ("web", "code", "chat")
corpus = loop_corpus.Corpus(
    {name: base / name for name in names}, {name: base / f"{name}-validation" for name in names}, Tokenizer.load(base / "tokenizer.model")
)

def dying(real, number):
    calls = 0
    def call(*arguments):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    return call

def attempt(kind, number, folder):
    if kind in ("operation", "torn"):
        dying_writes.Dying(number, torn=kind == "torn")
    if kind == "count":
        counted = dying_writes.Dying(0)
        loop_runs.run(corpus, folder, until_step=8)
        os._exit(counted.operations)
    def at_step(report):
        if kind in ("SIGKILL", "SIGTERM") and report.step == number:
            os.kill(os.getpid(), getattr(signal, kind))
    if kind == "write":
        checkpoint.flush = dying(checkpoint.flush, number)
    if kind == "publish":
        os.rename = dying(os.rename, number)
    os._exit(loop_runs.run(corpus, folder, on_step=at_step).exit_code)

for where in sys.argv[3:]:
    kind, number, *inside = where.split(":")
    child = os.fork()
    if child == 0:
        attempt(kind, int(number), folder.joinpath(*inside))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def attempts(corpus: Corpus, folder: Path, root: Path, *wheres: str) -> list[int]:
    """Exit codes of runs one after the other, each interrupted where it is said: ``KIND:NUMBER``,
    or ``KIND:NUMBER:FOLDER`` inside.
    """
    base = corpus.folders["web"].parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(base), str(folder), *wheres],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(code) for code in done.stdout.split()]


def test_a_run_killed_between_steps_and_inside_checkpoint_writing_is_bitwise_the_same(
    corpus: Corpus, whole: Path, tmp_path: Path, root: Path
) -> None:
    # between steps; while the files of step 8 are written; before the folder of step 10 appears
    assert (
        attempts(corpus, tmp_path, root, "SIGKILL:7", "write:3", "publish:2")
        == [-signal.SIGKILL] * 3
    )
    assert saved(Store(tmp_path)) == [5, 8]
    run(corpus, tmp_path)
    assert traces(tmp_path) == traces(whole)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == sorted(os.listdir(whole / "checkpoints"))


def test_a_run_killed_at_every_file_operation_of_a_checkpoint_is_bitwise_the_same(
    corpus: Corpus, whole: Path, tmp_path: Path, root: Path
) -> None:
    """The checkpoint of step 8: every other kill also leaves the file written last torn."""
    run(corpus, tmp_path / "before", until_step=7)
    shutil.copytree(tmp_path / "before", tmp_path / "counted")
    (operations,) = attempts(corpus, tmp_path / "counted", root, "count:0")
    assert operations > 10  # four files to write, five to flush, four to check, the folder
    numbers = range(1, operations + 1)
    for number in numbers:
        shutil.copytree(tmp_path / "before", tmp_path / f"killed-{number}")
    wheres = [
        f"{'torn' if number % 2 else 'operation'}:{number}:killed-{number}" for number in numbers
    ]
    assert attempts(corpus, tmp_path, root, *wheres) == [-signal.SIGKILL] * operations
    for number in numbers:
        folder = tmp_path / f"killed-{number}"
        assert saved(Store(folder)) == [5, 7], "what was being written is not there"
        assert any(
            name.startswith(dying_writes.WRITING) for name in os.listdir(folder / "checkpoints")
        )
        run(corpus, folder)
        assert traces(folder) == traces(whole), number
        assert sorted(os.listdir(folder / "checkpoints")) == sorted(
            os.listdir(whole / "checkpoints")
        )


def test_a_signal_lets_the_step_finish_and_says_so_in_the_exit_code(
    corpus: Corpus, whole: Path, tmp_path: Path, root: Path
) -> None:
    assert attempts(corpus, tmp_path, root, "SIGTERM:6") == [128 + signal.SIGTERM]
    assert saved(Store(tmp_path)) == [5, 6]
    run(corpus, tmp_path)
    assert saved(Store(tmp_path)) == [5, 8, 10, 12]  # step 6 was nobody's wish
    assert traces(tmp_path) == traces(whole)
