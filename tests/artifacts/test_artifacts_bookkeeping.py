"""Ledgers balance or raise; locks hold; keys change with what decides bytes; errors say what to
do.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key, file_digest, library, stamp
from artifacts.jit import cache_folder
from artifacts.ledger import Entry, Ledger, LedgerError
from artifacts.lock import run_lock
from artifacts.paths import Store


def entry(entered: int, kept: int, dropped: dict[str, int], quarantined: dict[str, int]) -> Entry:
    made = Entry()
    made.entered.add(entered, entered * 10)
    made.kept.add(kept, kept * 10)
    for reason, count in dropped.items():
        made.drop(reason, count, count * 10)
    for reason, count in quarantined.items():
        made.quarantine(reason, count, count * 10)
    return made


def test_a_ledger_that_balances_passes() -> None:
    ledger = Ledger(
        "step", {"web": entry(10, 6, {"short": 3}, {"bad": 1}), "code": entry(0, 0, {}, {})}
    )
    ledger.check()
    assert ledger.total().to_json()["in"] == {"documents": 10, "bytes": 100}


@pytest.mark.parametrize("lost", [-1, 1])
def test_a_lost_or_invented_document_is_an_error_naming_step_and_source(lost: int) -> None:
    with pytest.raises(LedgerError, match=r"step choose, source web: 10 documents"):
        Ledger("choose", {"web": entry(10, 6 + lost, {"short": 4}, {})}).check()


def test_lost_bytes_are_an_error_even_if_documents_balance() -> None:
    broken = entry(10, 10, {}, {})
    broken.kept.bytes -= 1
    with pytest.raises(LedgerError):
        broken.check("step", "web")


def test_a_step_must_get_what_the_step_before_kept() -> None:
    first = Ledger("first", {"web": entry(10, 6, {"short": 4}, {})})
    Ledger("second", {"web": entry(6, 6, {}, {})}).follows(first)
    with pytest.raises(LedgerError, match="first kept 6 documents, second got 5"):
        Ledger("second", {"web": entry(5, 5, {}, {})}).follows(first)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=10))
def test_merged_entries_balance_and_survive_json(drops: list[tuple[str, int]]) -> None:
    total = Entry()
    for reason, count in drops:
        total.merge(entry(count + 2, 1, {reason: count}, {"bad": 1}))
    total.check("step", "source")
    assert Entry.from_json(total.to_json()).to_json() == total.to_json()


HOLD = "import sys, time\nfrom artifacts.lock import run_lock\nfrom artifacts.paths import Store\nwith run_lock(Store(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"


def test_a_second_run_is_refused_and_a_killed_one_leaves_no_lock(
    tmp_path: Path, root: Path
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match="another run is writing here") as caught,
            run_lock(Store(tmp_path / "run")),
        ):
            pass
        assert f"process {holder.pid}" in str(caught.value)
    finally:
        holder.kill()
        holder.communicate()
    with run_lock(Store(tmp_path / "run")):
        pass


def test_a_lock_on_a_store_is_held_then_released(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}/run")
    with (
        run_lock(store),
        pytest.raises(UserError, match="another run is writing here"),
        run_lock(Store(store.root)),
    ):
        pass
    assert store.names() == []


def test_a_lock_of_another_users_process_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket
    import time

    def denied(process: int, signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    store = Store(f"memory://{tmp_path.name}/run")
    store.write(
        ".lock",
        f'{{"host":"{socket.gethostname()}","process":1,"token":"x","time":{time.time()}}}'.encode(),
    )
    monkeypatch.setattr("artifacts.lock.os.kill", denied)
    with pytest.raises(UserError, match="another run is writing here"), run_lock(store):
        pass


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"host": "h", "process": "p", "time": "now", "token": 1}'],
)
def test_an_unreadable_lock_on_a_store_is_stale_once_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    import time

    store = Store(f"memory://{tmp_path.name}/run")
    store.write(".lock", content)
    with pytest.raises(UserError, match="another run is writing here"), run_lock(store):
        pass
    later = time.time() + 121
    monkeypatch.setattr("artifacts.lock.time.time", lambda: later)
    with run_lock(store):
        assert store.read(".lock") != content
    assert store.names() == []


def test_a_stale_lock_on_a_store_is_taken_over(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}/run")
    store.write(".lock", b'{"host":"elsewhere","process":1,"token":"x","time":0}')
    with run_lock(store):
        assert b'"token": "x"' not in store.read(".lock")


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.integers() | st.text(max_size=5) | st.none() | st.booleans(),
        max_size=6,
    )
)
def test_a_key_depends_on_content_not_on_the_order_of_fields(parts: dict[str, object]) -> None:
    turned = dict(reversed(list(parts.items())))
    assert content_key(parts) == content_key(turned)
    assert canonical_json(parts) == canonical_json(turned)
    assert content_key({**parts, "one more": 1}) != content_key(parts)


def test_a_library_is_its_version_and_its_files() -> None:
    name, version, digest = library("pyarrow").split()
    assert name == "pyarrow"
    assert version.count(".") == 2
    assert len(digest) == 16


def test_a_local_file_is_digested_by_content_and_remembered_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"one\n")
    known: dict[str, list[object]] = {}
    first = file_digest(str(path), known)
    assert known == {}, "a file written a moment ago may change again within the clock's grain"
    monkeypatch.setattr("artifacts.fingerprints.SETTLED_NS", -1)
    assert file_digest(str(path), known) == first
    assert known[str(path)][4] == first
    known[str(path)][4] = "remembered"
    assert file_digest(str(path), known) == "remembered"
    times = path.stat()
    path.write_bytes(b"two\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_digest(str(path), known) == file_digest(str(path)) != first, (
        "same size and time, other content"
    )
    with pytest.raises(UserError, match="gone"):
        file_digest(str(tmp_path / "nothing"))


def test_the_mark_of_a_file_changes_with_its_content_though_its_time_is_set_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"one\n")
    times, before = path.stat(), stamp(str(path))
    assert stamp(str(path)) == before
    while stamp(str(path)) == before:  # the clock of the disk has a grain
        path.write_bytes(b"two\n")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    assert path.stat().st_size == times.st_size


def test_a_file_on_a_store_without_marks_is_digested_by_content() -> None:
    store = Store("memory://digests")
    store.write("a", b"one")
    store.write("b", b"two")
    assert file_digest("memory://digests/a") != file_digest("memory://digests/b")


def test_an_error_says_where_what_allowed_nearest_and_fix_even_after_pickling() -> None:
    error = UserError(
        "no such stage",
        file="r.yaml",
        line=3,
        field="corpus.stages[0]",
        found="minhash",
        allowed=["exact_dedup", "minhash_dedup"],
        fix="use one of them",
    )
    text = str(pickle.loads(pickle.dumps(error)))
    assert text == str(error)
    assert text.splitlines() == [
        "r.yaml:3: no such stage",
        "  field:   corpus.stages[0]",
        "  found:   minhash",
        "  allowed: exact_dedup, minhash_dedup",
        "  nearest: minhash_dedup",
        "  fix:     use one of them",
    ]


def test_the_kernel_cache_folder_changes_with_any_kernel_source(tmp_path: Path) -> None:
    house = tmp_path / "house"
    (house / "artifacts").mkdir(parents=True)
    (house / "dedup").mkdir()
    import artifacts.jit

    for module in ("jit", "floors", "private_folders"):
        source = Path(artifacts.jit.__file__).with_name(f"{module}.py")
        (house / "artifacts" / f"{module}.py").write_bytes(source.read_bytes())
    kernel = house / "dedup" / "k.py"
    names = []
    for source in ("x = 1", "x = 2"):
        kernel.write_text(f"from artifacts.jit import kernel\n{source}\n")
        names.append(
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "from artifacts.jit import cache_folder; print(cache_folder())",
                ],
                cwd=house,
                capture_output=True,
                text=True,
                check=True,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            ).stdout
        )
    kernel.write_text("x = 3  # compiles nothing\n")
    assert names[0] != names[1]
    assert str(cache_folder()).strip() not in names
