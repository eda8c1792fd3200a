"""What near-duplicate removal keeps does not depend on workers, on the order of the input, or on
kills.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.comparisons.near import compare as near
from tests.pipelines.run_trees import tree
from tests.pipelines.test_near_parts import corpus, kept_and_evidence, run, write

# the full proof is 20: WINDTUNNEL_KILLS=20 make test
KILLS = int(os.environ.get("WINDTUNNEL_KILLS", "6"))
PARTS = {"PARTITION_KEYS": 128, "SHARD_BYTES": 8192, "LARGE_CLUSTER": 8}
CHILD = """
import sys
from pathlib import Path
from tests.pipelines.dying_operations import Dying
from tests.pipelines.test_near_identity import PARTS, near, run
for name, value in PARTS.items():
    setattr(near, name, value)
dying = Dying(sys.argv[2] + "/near/", int(sys.argv[3]))
run(Path(sys.argv[1]), Path(sys.argv[2]))
print(dying.operations)
"""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PARTS.items():
        monkeypatch.setattr(near, name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_one_two_and_four_workers_write_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "in", corpus(400, 11), 4)
    run(tmp_path / "in", tmp_path / "one")
    alone = tree(tmp_path / "one" / "near")
    assert sum(name.startswith("work/") for name in alone) > 50
    for workers in (2, 4):
        run(tmp_path / "in", tmp_path / str(workers), workers=workers)
        assert tree(tmp_path / str(workers) / "near") == alone


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_the_order_of_the_input_changes_neither_selection_nor_evidence(
    tmp_path: Path, seed: int
) -> None:
    texts = corpus(300, 12)
    write(tmp_path / "in", texts, 2)
    expected = kept_and_evidence(run(tmp_path / "in", tmp_path / "runs"))
    assert len(expected[1]) > 50
    write(tmp_path / "shuffled", texts, 3)
    dice = random.Random(seed)
    for file in (tmp_path / "shuffled").iterdir():
        lines = file.read_bytes().splitlines(keepends=True)
        dice.shuffle(lines)
        file.write_bytes(b"".join(lines))
    assert kept_and_evidence(run(tmp_path / "shuffled", tmp_path / "shuffled-runs")) == expected


@pytest.mark.kill
@pytest.mark.usefixtures("small_parts")
def test_a_kill_at_any_file_operation_of_the_comparison_is_made_good(
    root: Path, tmp_path: Path
) -> None:
    write(tmp_path / "in", corpus(200, 13), 2)
    run(tmp_path / "in", tmp_path / "undisturbed")
    expected = tree(tmp_path / "undisturbed" / "near")
    whole = child(root, tmp_path, "counted", 0)
    assert whole.returncode == 0, whole.stderr
    operations = int(whole.stdout)
    assert operations > 200
    dice = random.Random(20)
    for number in range(KILLS):
        killed = child(root, tmp_path, f"kill-{number}", dice.randint(1, operations))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        run(tmp_path / "in", tmp_path / f"kill-{number}")
        assert tree(tmp_path / f"kill-{number}" / "near") == expected
        assert not list((tmp_path / f"kill-{number}").rglob(".writing-*"))


def child(root: Path, folder: Path, runs: str, last: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, str(folder / "in"), str(folder / runs), str(last)]
    return subprocess.run(
        command,
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
