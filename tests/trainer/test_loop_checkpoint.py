"""Checkpoints: whole or not there, checked on reading, never taken for another."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import torch

from artifacts.errors import UserError
from artifacts.paths import DiskFullError, Store
from trainer.checkpoints import checkpoint
from trainer.checkpoints.checkpoint import (
    CheckpointState,
    at_step,
    clean,
    drop_unasked,
    latest,
    load,
    save,
    saved,
)
from trainer.checkpoints.paths import folder_name


def state(step: int, **facts: object) -> CheckpointState:
    values = {
        "step": step,
        "tokens": step * 64,
        "plan_hash": "p",
        "history": (),
        "schedule": {"peak": 0.1},
        "model": {"width": 2},
        "settings": {},
        "tokenizer_hash": "t",
        "seeds": {"init": 1},
        **facts,
    }
    return CheckpointState.model_validate(values)


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"embedding": torch.full((3, 2), float(step)), "norm": torch.arange(4.0)}


def write(store: Store, step: int, **facts: object) -> checkpoint.Checkpoint:
    moments = {f"mean.{name}": value * 2 for name, value in tensors(step).items()}
    return save(store, state(step, **facts), tensors(step), moments, {"plan.json": b"{}"})


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = write(Store(tmp_path), 7)
    found = latest(tmp_path)
    assert found is not None
    assert found.state == written.state
    assert found.state.tokens == 448
    weights, moments = found.weights(), found.moments()
    assert all(torch.equal(weights[name], value) for name, value in tensors(7).items())
    assert weights.keys() == tensors(7).keys()
    assert torch.equal(moments["mean.embedding"], torch.full((3, 2), 14.0))
    assert found.read("plan.json") == b"{}"
    assert load(found.folder).state == written.state


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(Store(tmp_path / name), 7)
    files = sorted(path.name for path in (tmp_path / "one" / folder_name(7)).iterdir())
    assert files == ["moments.safetensors", "plan.json", "state.json", "weights.safetensors"]
    for file in files:
        assert (tmp_path / "one" / folder_name(7) / file).read_bytes() == (
            tmp_path / "two" / folder_name(7) / file
        ).read_bytes()


def test_the_latest_is_the_one_with_most_steps_and_others_can_be_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert latest(store) is None
    for step in (20, 3, 100_000_000):
        write(store, step)
    assert saved(store) == [3, 20, 100_000_000]
    assert [
        found.state.step for found in (latest(store), latest(store, 99), at_step(store, 3)) if found
    ] == [100_000_000, 20, 3]
    with pytest.raises(UserError, match="no checkpoint of this step") as error:
        at_step(store, 4)
    assert error.value.allowed == ["3", "20", "100000000"]


def test_checkpoints_live_on_object_stores_too() -> None:
    store = Store("memory://loop-checkpoint/run")
    written = write(store, 5)
    found = latest(store)
    assert found is not None
    assert found.state == written.state
    assert torch.equal(found.weights()["embedding"], torch.full((3, 2), 5.0))
    fsspec.filesystem("memory").rm("/loop-checkpoint/run/checkpoints/step-00000005/state.json")
    assert latest(store) is None


@pytest.mark.parametrize("file", ["weights.safetensors", "moments.safetensors", "plan.json"])
def test_a_changed_byte_is_refused_wherever_it_is(tmp_path: Path, file: str) -> None:
    write(Store(tmp_path), 7)
    path = tmp_path / folder_name(7) / file
    readers = {
        "weights.safetensors": lambda found: found.weights(),
        "moments.safetensors": lambda found: found.moments(),
    }
    reader = readers.get(file, lambda found: found.read(file))
    for place in {0, path.stat().st_size // 2, path.stat().st_size - 1}:
        flip(path, place)
        found = latest(tmp_path)
        assert found is not None
        with pytest.raises(UserError, match="damaged") as error:
            reader(found)
        assert error.value.file == str(path)
        flip(path, place)
    reader(load(tmp_path / folder_name(7)))


def test_a_changed_byte_of_the_state_is_refused_wherever_it_is(tmp_path: Path) -> None:
    write(Store(tmp_path), 7)
    path = tmp_path / folder_name(7) / "state.json"
    for place in range(path.stat().st_size - 1):  # the last byte is the line end
        flip(path, place)
        with pytest.raises(UserError):
            latest(tmp_path)
        flip(path, place)
    assert latest(tmp_path) is not None


def test_a_cut_a_missing_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    write(Store(tmp_path), 7)
    folder = tmp_path / folder_name(7)
    shutil.copytree(folder, tmp_path / "whole")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged"):
        load(folder).weights()
    weights.unlink()
    with pytest.raises(UserError, match="damaged") as error:
        load(folder).weights()
    assert error.value.found == "the file is missing"
    (folder / "state.json").write_bytes(b'{"format":"checkpoint/9"}')
    with pytest.raises(UserError, match="not a checkpoint this release can read"):
        latest(tmp_path)
    with pytest.raises(UserError, match="no checkpoint here"):
        load(tmp_path)
    assert torch.equal(load(tmp_path / "whole").weights()["norm"], torch.arange(4.0))


def test_a_damaged_latest_is_not_passed_over_for_an_older_one(tmp_path: Path) -> None:
    for step in (1, 2):
        write(Store(tmp_path), step)
    (tmp_path / folder_name(2) / "state.json").write_bytes(b"{")
    with pytest.raises(UserError, match="damaged"):
        latest(tmp_path)


KILLED = """
import os, signal, sys
from artifacts.paths import Store
from trainer.checkpoints import checkpoint
from tests.trainer.test_loop_checkpoint import write

def counted(real):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call

calls = 0
checkpoint.save_file, checkpoint.flush, checkpoint.file_record = map(counted, (checkpoint.save_file, checkpoint.flush, checkpoint.file_record))
os.rename = counted(os.rename)
for limit in map(int, sys.argv[2:]):
    child = os.fork()
    if child == 0:
        write(Store(f"{sys.argv[1]}/{limit}"), 2)
        os._exit(0)
    print(limit, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
CALLS = 11  # two tensor files, three checksums, four files flushed, the folder flushed, the rename


@pytest.mark.kill
def test_a_kill_at_any_point_of_writing_leaves_the_checkpoint_before_and_nothing_else(
    tmp_path: Path, root: Path
) -> None:
    for call in range(1, CALLS + 1):
        write(Store(tmp_path / str(call)), 1)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *map(str, range(1, CALLS + 1))],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        str(value) for call in range(1, CALLS + 1) for value in (call, -signal.SIGKILL)
    ]
    for call in range(1, CALLS + 1):
        store = Store(tmp_path / str(call))
        found = latest(store)
        assert found is not None
        assert found.state.step == 1
        assert torch.equal(found.weights()["embedding"], torch.full((3, 2), 1.0))
        # the folder being written is still there
        assert len(os.listdir(store.full("checkpoints"))) == 2
        clean(store)
        assert os.listdir(store.full("checkpoints")) == ["step-00000001"]
        write(store, 2)
        assert saved(store) == [1, 2]


def test_a_checkpoint_nobody_asked_for_goes_when_a_later_one_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, 10)
    write(store, 13, asked=False)
    drop_unasked(store, 13)
    assert saved(store) == [10, 13]
    write(store, 20)
    drop_unasked(store, 20)
    assert saved(store) == [10, 20]


def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DiskFullError):
        write(Store(tmp_path), 1)
    assert os.listdir(tmp_path / "checkpoints") == []
