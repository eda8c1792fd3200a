"""Folders that appear whole: what a killed process left is removed, what a living one fills not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.errors import UserError
from trainer.checkpoints.checkpoint import Checkpoint
from trainer.export.appearing import WRITING, appearing
from trainer.export.export import export_model

Made = Callable[[str], Checkpoint]

FILLING = """
import sys
from pathlib import Path
from trainer.export.appearing import appearing
with appearing(Path(sys.argv[1])) as place:
    (place / "half").write_text("half")
    print("filling", flush=True)
    sys.stdin.read()
"""


def filling(folder: Path) -> subprocess.Popen[bytes]:
    """A process that is half way through filling a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", FILLING, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"filling\n"
    return process


def left(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{WRITING}*"))


def test_the_next_export_beside_it_removes_what_a_killed_one_left(
    made: Made, tmp_path: Path
) -> None:
    process = filling(tmp_path / "model")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(left(tmp_path)) == 1
    export_model(made("MHA"), tmp_path / "another")
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_what_a_living_process_fills_stays_and_appears(tmp_path: Path) -> None:
    process = filling(tmp_path / "slow")
    with appearing(tmp_path / "quick") as place:
        (place / "file").write_text("whole")
    assert len(left(tmp_path)) == 1
    process.communicate(b"")
    assert process.returncode == 0
    assert (tmp_path / "slow/half").read_text() == "half"
    assert left(tmp_path) == []


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".writing-step", ".hidden", f"{WRITING}link")]
    for path in kept[:2]:
        path.mkdir()
    kept[2].symlink_to(kept[1])
    with appearing(tmp_path / "model") as place:
        (place / "file").write_text("whole")
    assert all(path.exists() for path in kept)


def test_nothing_is_left_where_filling_fails(tmp_path: Path) -> None:
    def fails() -> None:
        with appearing(tmp_path / "model") as place:
            (place / "file").write_text("half")
            raise UserError("no")

    with pytest.raises(UserError):
        fails()
    assert list(tmp_path.iterdir()) == []
