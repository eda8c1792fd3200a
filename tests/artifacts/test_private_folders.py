"""Compiled kernels come from folders that no other user could have written, or are made anew."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.private_folders import make_private, weakness

NOBODY = 65534

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")

# numba reads each file of its cache with pickle: this one runs a command when it is read
PLANT = """
import os, pickle, sys
class Plant:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            pickle.dump(Plant(), file)
"""
LOAD = "import artifacts.jit; artifacts.jit.start(); print(artifacts.jit.KEPT)"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return make_private(tmp_path / "a" / "kernels")


def test_a_folder_is_made_with_all_that_is_missing_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = make_private(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    for folder in (made, made.parent, made.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert weakness(made) is None


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o722])
def test_a_folder_that_others_can_write_is_not_used(own: Path, mode: int) -> None:
    own.chmod(mode)
    assert weakness(own) == f"{own} can be written by others"


def test_a_folder_in_one_where_others_can_rename_it_is_not_used(own: Path) -> None:
    own.parent.chmod(0o777)
    assert weakness(own) == f"{own.parent} can be written by others"
    own.parent.chmod(0o1777)
    assert weakness(own) is None, "in a sticky folder nobody renames what belongs to another"


def test_nothing_is_made_in_a_folder_that_others_can_rename(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    folder = make_private(tmp_path / "open" / "kernels")
    assert not folder.exists()
    assert weakness(folder) == f"{tmp_path / 'open'} can be written by others"


@as_root
@pytest.mark.parametrize("whose", ["folder", "parent", "inside", "link"])
def test_a_folder_that_another_user_owns_or_leads_to_is_not_used(own: Path, whose: str) -> None:
    (own / "k.nbi").write_bytes(b"")
    used, given = own, own
    if whose == "parent":
        given = own.parent
    elif whose == "inside":
        given = own / "k.nbi"
    elif whose == "link":
        used = given = own.parent / "elsewhere"
        used.symlink_to(own)
    os.chown(given, NOBODY, NOBODY, follow_symlinks=False)
    assert weakness(used) == f"{given} belongs to another user ({NOBODY})"


def test_a_link_of_ones_own_is_followed_and_what_it_leads_to_is_checked(own: Path) -> None:
    link = own.parent / "link"
    link.symlink_to("../a/kernels")
    assert weakness(link) is None
    own.chmod(0o777)
    assert weakness(link) == f"{own} can be written by others"
    turning = own.parent / "turning"
    turning.symlink_to(turning)
    assert "symbolic links" in (weakness(turning) or "")


def test_a_file_inside_that_others_can_write_or_a_link_is_found(own: Path) -> None:
    (own / "sub").mkdir(0o700)
    file = own / "sub" / "k.nbc"
    file.write_bytes(b"")
    file.chmod(0o666)
    assert weakness(own) == f"{file} can be written by others"
    file.unlink()
    file.symlink_to("/etc/hostname")
    assert weakness(own) == f"{file} is a link"


@as_root
def test_a_shared_group_may_not_write(own: Path) -> None:
    os.chown(own, -1, 12345)
    own.chmod(0o770)
    assert weakness(own) == f"{own} can be written by others"


def test_a_group_of_ones_own_may_write(own: Path) -> None:
    user = pwd.getpwuid(os.getuid())
    if grp.getgrgid(user.pw_gid).gr_name != user.pw_name:
        pytest.skip("this user has no group of its own")
    own.chmod(0o770)
    assert weakness(own) is None


# -- the kernel cache ------------------------------------------------------------------------------


def load(root: Path, cache: Path | None, home: Path | None = None) -> str:
    """Load a kernel in a process of its own; says whether the cache was used."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root)}
    if cache is not None:
        environment["WINDTUNNEL_KERNEL_CACHE"] = str(cache)
    if home is not None:
        environment["HOME"] = str(home)
    done = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def plant(cache: Path, marker: Path) -> None:
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert any(path.suffix == ".nbi" for path in files), "numba kept what it compiled"
    subprocess.run([sys.executable, "-c", PLANT, str(cache), str(marker)], check=True)


def give_away(cache: Path) -> None:
    for path in [cache, *cache.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)


def open_to_all(cache: Path) -> None:
    cache.chmod(0o777)


def open_below(cache: Path) -> None:
    next(path for path in cache.rglob("*") if path.is_dir()).chmod(0o777)


def open_above(cache: Path) -> None:
    cache.parent.chmod(0o777)


@pytest.mark.slow
@pytest.mark.parametrize(
    "open_up",
    [pytest.param(give_away, marks=as_root), open_to_all, open_below, open_above],
)
def test_a_planted_kernel_is_not_run_where_another_user_could_have_put_it(
    root: Path, tmp_path: Path, open_up: Callable[[Path], None]
) -> None:
    cache, marker = tmp_path / "shared" / "kernels", tmp_path / "was-run"
    assert load(root, cache) == "True"
    plant(cache, marker)
    open_up(cache)
    assert load(root, cache) == "False"
    assert not marker.exists()


@pytest.mark.slow
def test_the_plant_is_run_in_a_folder_that_only_its_owner_can_write(
    root: Path, tmp_path: Path
) -> None:
    """What makes the test above able to fail."""
    cache, marker = tmp_path / "kernels", tmp_path / "was-run"
    load(root, cache)
    plant(cache, marker)
    subprocess.run(
        [sys.executable, "-c", LOAD],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root), "WINDTUNNEL_KERNEL_CACHE": str(cache)},
    )
    assert marker.exists()


@pytest.mark.slow
def test_where_no_folder_can_be_written_kernels_compile_in_memory_and_none_is_left(
    root: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder")
    started = time.time()
    assert load(root, None, home=home) == "False"
    fresh = [
        path
        for path in (root / "artifacts" / "__pycache__").glob("jit.*.nb?")
        if path.stat().st_mtime >= started
    ]
    assert not fresh, "numba does not turn to a folder of its own choice"
