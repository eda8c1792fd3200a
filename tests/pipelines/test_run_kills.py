"""kill -9 at random moments and inside checkpoint writing, of the driver or of a worker: the run
goes on to identical bytes.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.run.driver import RunOutcome
from tests.pipelines.run_trees import trained, tree

pytestmark = pytest.mark.kill

# the full proof is 20: WINDTUNNEL_KILLS=20 make test
KILLS = int(os.environ.get("WINDTUNNEL_KILLS", "6"))
COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"
WATCHED = """
import atexit, sys
from pathlib import Path
from tests.trainer.dying_writes import Dying
last, counted = int(sys.argv[1]), Path(sys.argv[2])
dying = Dying(last, torn=last % 2 == 1)
atexit.register(lambda: counted.write_text(str(dying.operations)))
del sys.argv[1:3]
"""


class Victim:
    """A run of recipes/tiny.yaml in a process group of its own, on two Dask workers or in one
    process.
    """

    def __init__(
        self, root: Path, runs: Path, workers: int, watched: tuple[int, Path] | None = None
    ) -> None:
        """``watched``: a file operation of checkpoint writing to die at (0: none), and a file that
        gets the number of those there were.
        """
        before = [] if watched is None else [str(part) for part in watched]
        code = COMMAND if watched is None else WATCHED + COMMAND
        command = [
            sys.executable,
            "-c",
            code,
            *before,
            "run",
            "recipes/tiny.yaml",
            "--runs",
            str(runs),
            "--workers",
            str(workers),
        ]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            command,
            cwd=root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            env=environment,
        )

    def worker(self) -> int | None:
        """Process id of a Dask worker, if there is one by now."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
            found = [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
        except psutil.Error:
            return None
        return found[0] if found else None

    def finish(self) -> int:
        _, errors = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, errors
        return self.process.returncode

    def killed_itself(self) -> None:
        """It died by SIGKILL at the operation it was to die at."""
        _, errors = self.process.communicate(timeout=240)
        assert self.process.returncode == -signal.SIGKILL, errors

    def kill(self) -> None:
        """The driver, at once; its workers notice and end."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def test_kills_at_random_moments_leave_the_bytes_of_an_undisturbed_run(
    root: Path, tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    """Documents, selection, evidence and shards, and the weights, moments and metrics of the
    training that follows.

    Every third kill is sure to fall into the writing of a checkpoint, at a file operation drawn
    from all there are.
    """
    dice = random.Random(20240404)
    reference, weights = tree(tiny[0]), trained(tiny[0])
    assert len(weights) > 10
    started = time.monotonic()
    Victim(root, tmp_path / "timing", 1, (0, tmp_path / "operations")).finish()
    seconds = time.monotonic() - started
    operations = int((tmp_path / "operations").read_text())
    assert operations > 40  # four checkpoints of more than ten each
    kills = 0
    while kills < KILLS:
        if kills % 3 == 2:
            kills += 1
            # begun anew, so that every operation is still to come
            shutil.rmtree(tmp_path / "tiny" / "training", ignore_errors=True)
            Victim(
                root, tmp_path, 1, (dice.randint(1, operations), tmp_path / "unwritten")
            ).killed_itself()
            assert not (tmp_path / "unwritten").exists()
            assert list((tmp_path / "tiny" / "training").rglob(".writing-*"))
            Victim(root, tmp_path, 1).finish()
            assert tree(tmp_path / "tiny") == reference
            assert trained(tmp_path / "tiny") == weights
            shutil.rmtree(tmp_path / "tiny")
            continue
        # most kills hit the quick in-process run, the last ones a cluster
        workers = 2 if kills >= KILLS * 3 // 4 else 1
        victim = Victim(root, tmp_path, workers)
        deadline = time.monotonic() + dice.uniform(0.1, 1.0) * seconds
        while time.monotonic() < deadline and victim.process.poll() is None:
            time.sleep(0.02)
        if victim.process.poll() is None:
            worker = victim.worker() if dice.random() < 0.5 else None
            kills += 1
            if worker is None:
                victim.kill()
                continue
            with contextlib.suppress(ProcessLookupError):  # it may just have ended by itself
                os.kill(worker, signal.SIGKILL)
        victim.finish()
        assert tree(tmp_path / "tiny") == reference
        assert trained(tmp_path / "tiny") == weights
        shutil.rmtree(tmp_path / "tiny")
    Victim(root, tmp_path, 1).finish()
    assert tree(tmp_path / "tiny") == reference
    assert trained(tmp_path / "tiny") == weights
    assert not list((tmp_path / "tiny").rglob(".writing-*")), (
        "half-written files of killed runs are swept up"
    )
