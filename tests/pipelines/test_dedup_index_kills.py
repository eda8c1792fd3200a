"""An index killed at every file operation is as it was before or as it is afterwards, and the same
command goes on to the same bytes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.paths import Store
from dedup.index.files import read_head
from pipelines.deduplicate.index.changes import add_batch, describe_index, merge_index, roll_back
from tests.pipelines.test_dedup_index import LOOSE, add_all, texts_of, tree, write_batches

pytestmark = pytest.mark.kill

KILLED = """
import os, shutil, sys
from tests.pipelines.dying_operations import Dying
from tests.pipelines.test_dedup_index_kills import change

kind, start, work, aside, *numbers = sys.argv[1:]
shutil.copytree(start, work)
change(kind, work)  # loads the kernels that every child then has
shutil.rmtree(work)
for number in map(int, numbers):
    shutil.copytree(start, work)
    child = os.fork()
    if child == 0:
        dying = Dying(work, number)
        change(kind, work)
        os._exit(dying.operations)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.rename(work, f"{aside}-{number}")
"""


def change(kind: str, folder: str) -> None:
    """What is interrupted, in a folder with an index of two batches and another one."""
    if kind == "add":
        add_batch(
            f"{folder}/index", [f"{folder}/b2/*.jsonl"], f"{folder}/index-kept/2", id_field="id"
        )
    elif kind == "first":
        add_batch(
            f"{folder}/new", [f"{folder}/b2/*.jsonl"], f"{folder}/new-kept", id_field="id", **LOOSE
        )
    elif kind == "merge":
        merge_index(f"{folder}/index", f"{folder}/other", f"{folder}/merged")
    else:
        roll_back(f"{folder}/index", 1, cascade=True)


def attempts(kind: str, root: Path, tmp_path: Path, *numbers: int) -> list[int]:
    """Exit codes of the change, each time from the same start and killed at an operation (0: not
    killed, the code says how many there were); each leaves its folder at ``aside-NUMBER``.
    """
    folders = [str(tmp_path / name) for name in ("start", "work", "aside")]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, kind, *folders, *map(str, numbers)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(code) for code in done.stdout.split()]


def batches_of(folder: Path, index: str) -> list[int]:
    head = read_head(Store(f"{folder}/{index}"))
    return [] if head is None else [batch.number for batch in head.batches]


@pytest.mark.parametrize(
    ("kind", "index", "before", "after"),
    [
        ("add", "index", [1, 2], [1, 2, 3]),
        ("first", "new", [], [1]),
        ("merge", "index", [1, 2], [1, 2, 3]),
        ("rollback", "index", [1, 2], []),
    ],
)
def test_a_change_killed_at_every_file_operation_happened_or_did_not(
    tmp_path: Path, root: Path, kind: str, index: str, before: list[int], after: list[int]
) -> None:
    # every attempt finds its files under the same names
    dice, work = random.Random(3), tmp_path / "work"
    paths = write_batches(work, [texts_of(dice, 12) for _ in range(4)])
    add_all(work, paths[:2])
    add_all(work, paths[3:], "other")
    os.rename(work, tmp_path / "start")
    (operations,) = attempts(kind, root, tmp_path, 0)
    assert operations > 5
    whole = tree(tmp_path / "aside-0" / index)
    assert (
        attempts(kind, root, tmp_path, *range(1, operations + 1)) == [-signal.SIGKILL] * operations
    )
    seen = set()
    for number in range(1, operations + 1):
        os.rename(tmp_path / f"aside-{number}", work)
        found = batches_of(work, index)
        seen.add(tuple(found))
        assert found in (before, after), number
        if found:
            describe_index(f"{work}/{index}", check=True)
        if kind != "rollback" or found == before:
            change(kind, str(work))
        else:
            # the next writer, whatever it does, removes what was left
            with pytest.raises(Exception, match="no batch"):
                roll_back(f"{work}/{index}")
        assert tree(work / index) == whole, number
        shutil.rmtree(work)
    assert seen == {tuple(before), tuple(after)}
