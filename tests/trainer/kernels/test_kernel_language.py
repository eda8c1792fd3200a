"""Triton keeps compiled kernels where no other user could have put them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ASK = """
import os
from trainer.kernels.language import triton
folder = triton.knobs.cache.dir
os.makedirs(folder, exist_ok=True)
print(folder, oct(os.stat(folder).st_mode & 0o777))
"""


def cache(root: Path, home: Path) -> tuple[Path, str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=True, env=environment
    )
    folder, mode = done.stdout.split()
    return Path(folder), mode


@pytest.mark.slow
def test_tritons_own_folder_is_used_where_it_is_its_users_alone(root: Path, tmp_path: Path) -> None:
    assert cache(root, tmp_path) == (tmp_path / ".triton" / "cache", "0o700")


@pytest.mark.slow
def test_in_a_home_that_others_can_write_each_process_has_a_folder_and_removes_it(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / ".triton").mkdir()
    (tmp_path / ".triton").chmod(0o777)
    folder, mode = cache(root, tmp_path)
    assert not folder.is_relative_to(tmp_path)
    assert mode == "0o700"
    assert not folder.exists()
