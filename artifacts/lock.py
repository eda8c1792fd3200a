"""One writer per run folder.

On a local disk the lock is the operating system's (``flock``): it goes with its process, so a
killed run leaves nothing to clean up. On an object store it is an object with the owner's host,
process and a time stamp that its owner renews; one that was not renewed for two minutes, or whose
process on this host is gone, is stale. So is an object that is no such record, two minutes after it
was written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator

from artifacts.errors import Setting, UserError
from artifacts.paths import Store

NAME = ".lock"
STALE_SECONDS = 120.0
RENEW_SECONDS = 20.0


@contextlib.contextmanager
def run_lock(store: Store, fix: str | None = None) -> Iterator[None]:
    """Hold the run's lock. ``fix``: what to do where another process holds it, of a folder that is
    no run's. Raises: UserError naming the owner when another process holds it.
    """
    held = _local_lock(store, fix) if store.local else _remote_lock(store, fix)
    with held:
        yield


@contextlib.contextmanager
def _local_lock(store: Store, fix: str | None) -> Iterator[None]:
    path = store.full(NAME)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a+", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise _held(store, file.read().strip(), fix) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextlib.contextmanager
def _remote_lock(store: Store, fix: str | None) -> Iterator[None]:
    token = uuid.uuid4().hex
    owner = _owner(store)
    if owner is not None and not _stale(owner):
        raise _held(store, f"process {owner['process']} on {owner['host']}", fix)
    done = threading.Event()

    def renew() -> None:
        record = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "token": token,
            "time": time.time(),
        }
        store.write(NAME, json.dumps(record).encode())

    def keep() -> None:
        while not done.wait(RENEW_SECONDS):
            renew()

    renew()
    time.sleep(0.2)  # two that start at once both write; the last writer owns it
    owner = _owner(store)
    if owner is None or owner.get("token") != token:
        raise _held(store, "another process that started at the same moment", fix)
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        store.delete(NAME)


def _owner(store: Store) -> dict[str, object] | None:
    store.fs.invalidate_cache()
    try:
        raw = store.read(NAME)
    except FileNotFoundError:
        return None
    try:
        record = json.loads(raw)
        return {
            "host": str(record["host"]),
            "process": int(record["process"]),
            "time": float(record["time"]),
            "token": record["token"],
        }
    except (ValueError, KeyError, TypeError):
        return {
            "host": "an unknown host",
            "process": "unknown",
            "time": store.fs.modified(store.full(NAME)).timestamp(),
        }


def _stale(owner: dict[str, object]) -> bool:
    if time.time() - float(str(owner["time"])) > STALE_SECONDS:
        return True
    if owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(str(owner["process"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is there, and another user's
        return False
    return False


def _held(store: Store, owner: str, fix: str | None) -> UserError:
    return UserError(
        "another run is writing here",
        file=store.root,
        found=owner or "an unknown process",
        fix=fix
        or (
            "wait for it, stop it, or give this run another name (",
            Setting("overrides", "name=…"),
            ")",
        ),
    )
