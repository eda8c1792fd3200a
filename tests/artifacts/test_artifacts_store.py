"""Stores write whole files or none, the same on every file system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from artifacts.errors import UserError
from artifacts.paths import DiskFullError, Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(
        tmp_path / "store" if request.param == "local" else f"memory://{tmp_path.name}/store"
    )


def test_a_written_file_is_read_back_with_its_checksum(store: Store) -> None:
    with store.writer("area/file.bin") as out:
        out.write(b"hello ")
        out.write(b"world")
    assert store.read("area/file.bin") == b"hello world"
    assert out.bytes == 11
    # xxh3_128 of b"hello world", from the xxhsum tool
    assert out.checksum == "df8d09e93f874900a99b8775cc15b6c7"
    assert store.names() == ["area/file.bin"]
    assert store.size("area/file.bin") == 11


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="half-way"), store.writer("file.bin") as out:
        out.write(b"half")
        raise RuntimeError("half-way")
    assert store.names() == []


def test_a_write_that_fails_leaves_the_old_file(store: Store) -> None:
    store.write("file.bin", b"old")
    with pytest.raises(RuntimeError), store.writer("file.bin") as out:
        out.write(b"new")
        raise RuntimeError
    assert store.read("file.bin") == b"old"


def test_missing_files_have_no_size_and_deleting_them_is_no_error(store: Store) -> None:
    assert store.size("nothing") is None
    assert not store.exists("nothing")
    store.delete("nothing")
    assert store.names("nothing") == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../outside"])
def test_names_outside_the_store_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a name inside the store"):
        store.full(name)


def test_the_root_of_a_local_store_opens_it_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("runs/one")
    store.write("file.bin", b"here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Store(store.root).read("file.bin") == b"here"


@pytest.mark.parametrize("root", ["foo://x", "s4://bucket/x"])
def test_a_store_nobody_knows_is_the_users_error(root: str) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        Store(root)


def test_a_probe_leaves_nothing_and_makes_no_folder(store: Store, tmp_path: Path) -> None:
    with store.probe() as path:
        assert store.fs.exists(path)
    assert not store.fs.exists(path)
    assert store.names() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["makedirs", "mkstemp"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_too_full_to_begin_with_and_a_used_up_quota_are_full_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(
        {"makedirs": "artifacts.paths.os.makedirs", "mkstemp": "artifacts.paths.tempfile.mkstemp"}[
            call
        ],
        full,
    )
    with pytest.raises(DiskFullError):
        Store(tmp_path).write("file.bin", b"x")


def test_a_full_disk_is_an_error_that_names_the_file_and_the_amounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full refuses every byte with ENOSPC, as a full disk does."""
    store = Store(tmp_path)
    real = os.fdopen
    monkeypatch.setattr(
        "artifacts.paths.os.fdopen",
        lambda handle, *args, **kwargs: (
            os.close(handle),
            real(os.open("/dev/full", os.O_WRONLY), *args, **kwargs),
        )[1],
    )
    with pytest.raises(DiskFullError) as caught, store.writer("big.bin") as out:
        out.write(b"x" * 100)
    assert isinstance(caught.value, UserError)
    assert str(tmp_path / "big.bin") in str(caught.value)
    assert "100 bytes" in str(caught.value)
    assert caught.value.__cause__.errno == errno.ENOSPC  # type: ignore[union-attr]
    monkeypatch.undo()
    assert store.names() == []
