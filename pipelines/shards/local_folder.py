"""A source's shards as a folder on a local disk, wherever they lie.

    with local_folder(store, "shards/web-en/KEY") as folder:
        take_down(folder, places, reason)

Checking every byte and finding documents by id read whole parts, so those on a store are copied
first; a manifest that changed goes back when the block ends.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from artifacts.paths import Store
from tokenizer.shards.manifest import MANIFEST_NAME


@contextlib.contextmanager
def local_folder(store: Store, folder: str) -> Iterator[str]:
    """The folder itself, or a copy of what the store has below it, for the length of the block."""
    if store.local:
        yield store.full(folder)
        return
    with tempfile.TemporaryDirectory(prefix="windtunnel-shards-") as copy:
        for name in store.names(folder):
            store.fs.get_file(store.full(name), str(Path(copy) / name.rsplit("/", 1)[-1]))
        before = _manifest(copy)
        yield copy
        if (after := _manifest(copy)) != before:
            store.write(f"{folder}/{MANIFEST_NAME}", after)


def _manifest(folder: str) -> bytes:
    path = Path(folder) / MANIFEST_NAME
    return path.read_bytes() if path.is_file() else b""
