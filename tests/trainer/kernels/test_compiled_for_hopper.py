"""Every kernel compiles for sm_90 at the presets' shapes without spilling, and touches memory 16
bytes at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.kernels.compiled import MODULES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compiled(root: Path) -> list[dict]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "trainer.kernels.compiled"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_file_is_compiled_at_both_shapes(root: Path, compiled: list[dict]) -> None:
    kernels = {
        name.stem
        for name in (root / "trainer" / "kernels").glob("*.py")
        if "@jit" in name.read_text()
    }
    assert kernels - {"language"} == set(MODULES)
    names = [
        {line["kernel"] for line in compiled if line["preset"] == preset}
        for preset in ("2.4B", "1.2B")
    ]
    assert names[0] == names[1]
    assert len(names[0]) >= len(MODULES)


def test_no_kernel_uses_local_memory(compiled: list[dict]) -> None:
    assert {line["kernel"]: line["local"] for line in compiled if line["local"]} == {}


def test_tensors_are_read_and_written_16_bytes_at_a_time(compiled: list[dict]) -> None:
    for line in compiled:
        widths = [line[kind] for kind in ("loads", "stores")]
        assert any("16" in found for found in widths), line
        narrow = sum(count for found in widths for width, count in found.items() if int(width) < 16)
        assert narrow <= line["narrow_allowed"], line


def test_registers_leave_room_for_the_programs_a_multiprocessor_is_to_hold(
    compiled: list[dict],
) -> None:
    for line in compiled:
        assert line["registers"] * 32 * line["warps"] * line["programs"] <= 65536, line
