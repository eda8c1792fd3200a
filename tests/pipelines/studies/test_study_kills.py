"""An experiment killed at random moments comes to the table of one that was not, to the byte."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.studies.written import FINDINGS, TABLE

pytestmark = pytest.mark.kill

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import torch
from tests.pipelines.studies.endings import EndingsDesign
from trainer.experiments.designs.catalogue import DESIGNS
from pipelines.studies.experiment import load_experiment
from pipelines.studies.study import run_study
import trainer.loop.training, trainer.loop.provenance

DESIGNS[EndingsDesign.kind] = EndingsDesign
path, workers = Path(sys.argv[1]), int(sys.argv[2])
for after in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        if float(after):
            timer = threading.Timer(float(after), os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        began = time.monotonic()
        run_study(load_experiment(path), str(path.parent / "runs"), workers=workers)
        print("done", time.monotonic() - began, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def attempts(root: Path, path: Path, workers: int, *after: float) -> list[str]:
    """What calls printed, each killed after so many seconds; 0: not at all."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(workers), *map(str, after)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("workers", "kills"), [(1, 20), (2, 4)])
def test_kills_at_random_moments_change_no_byte(
    workers: int, kills: int, written: Callable[..., Path], bench: Path, root: Path
) -> None:
    path = written("endings", {"ends": [3, 6, 9]})
    folder = bench / "runs" / "trained" / "studies"
    said = attempts(root, path, workers, 0)
    seconds = float(said[0].split()[1])
    files = {name: (folder / "small" / name).read_bytes() for name in (TABLE, FINDINGS)}
    shutil.rmtree(folder)
    draw = random.Random(7)
    # short enough that several kills hit the work that is left
    moments = [draw.uniform(0.05, 1.0) * seconds / 3 for _ in range(kills)]
    said = attempts(root, path, workers, *moments, 0)
    assert said.count("-9") >= kills / 4
    assert said[-1] == "0"
    assert {name: (folder / "small" / name).read_bytes() for name in files} == files
