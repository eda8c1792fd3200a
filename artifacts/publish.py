"""Publishing: an output appears under its content key, whole or not at all.

A *unit* is a folder ``AREA/STEP/KEY/`` holding data files and, written last, ``manifest.json``. A
unit without a manifest does not exist; a kill between two files leaves nothing a reader could
take for a result. Because the key fixes every byte, two workers that write the same unit at once
do no harm, and a unit that is there never needs to be made again.

    with publish(store, "signals/language/3f2a", inputs) as unit:
        with unit.file("signals.parquet", rows=812) as out:
            pq.write_table(table, out)
        unit.facts["languages"] = {"en": 800, "zh": 12}
    manifest = published(store, "signals/language/3f2a")
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import xxhash

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key, load_json
from artifacts.paths import HashingFile, Store

MANIFEST = "manifest.json"
UNIT_FORMAT = "unit/1"


@dataclass(frozen=True)
class FileRef:
    """One published file: where it is and what it holds."""

    name: str  # relative to the store's root
    checksum: str  # xxh3_128, 32 hex digits
    bytes: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> FileRef:
        return FileRef(value["name"], value["checksum"], value["bytes"], value["rows"])


@dataclass(frozen=True)
class Manifest:
    """What a unit holds. ``facts`` are deterministic counts; times and memory go to the ledgers."""

    prefix: str
    inputs: dict[str, Any]
    files: tuple[FileRef, ...]
    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """Hash of the unit's content: its file names and checksums."""
        names = [(ref.name.rsplit("/", 1)[-1], ref.checksum) for ref in self.files]
        return xxhash.xxh3_128_hexdigest(canonical_json(names))

    def file(self, name: str) -> FileRef:
        """The file of that name inside the unit."""
        for ref in self.files:
            if ref.name == f"{self.prefix}/{name}":
                return ref
        raise KeyError(f"{self.prefix} holds no {name}")


@dataclass
class Publication:
    """A unit being written."""

    store: Store
    prefix: str
    inputs: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    files: list[FileRef] = field(default_factory=list)

    @contextlib.contextmanager
    def file(self, name: str, rows: int = 0) -> Iterator[CountedFile]:
        """Write one data file; ``rows`` may be set on the yielded file while it is written."""
        full = f"{self.prefix}/{name}"
        with self.store.writer(full) as raw:
            counted = CountedFile(raw, rows)
            yield counted
        self.files.append(FileRef(full, raw.checksum, raw.bytes, counted.rows))

    def observe(self, **observed: Any) -> None:
        """Say what was seen at work that no input decides, plain JSON values: a unit that holds it
        lies under a key of its own, and that of its inputs alone stays to be made. Before the first
        file.
        """
        assert not self.files, f"{self.prefix} has files"
        folder, _, key = self.prefix.rpartition("/")
        self.prefix = f"{folder}/{content_key({'unit': key, **observed})}"
        self.inputs = {**self.inputs, **observed}

    def begin_again(self) -> None:
        """Forget what was written; files of the same names take its place."""
        self.files.clear()


@dataclass
class CountedFile:
    """An open output file and the number of rows written to it."""

    raw: HashingFile
    rows: int


@contextlib.contextmanager
def publish(store: Store, prefix: str, inputs: dict[str, Any]) -> Iterator[Publication]:
    """Write a unit; its manifest is written when the block ends without an error."""
    unit = Publication(store, prefix, inputs)
    yield unit
    manifest = {
        "format": UNIT_FORMAT,
        "inputs": unit.inputs,
        "files": [
            {**ref.to_json(), "name": ref.name.removeprefix(f"{unit.prefix}/")}
            for ref in sorted(unit.files, key=lambda ref: ref.name)
        ],
        "facts": unit.facts,
    }
    store.write(f"{unit.prefix}/{MANIFEST}", canonical_json(manifest) + b"\n")


def published(store: Store, prefix: str) -> Manifest | None:
    """The manifest of a unit, or None where the unit is not (wholly) there.

    A unit one of whose files is missing or has another length counts as not there, so that it is
    made again. Raises: UserError when the manifest is of another format.
    """
    name = f"{prefix}/{MANIFEST}"
    try:
        raw = store.read(name)
    except FileNotFoundError:
        return None
    value = load_json(raw)
    if value.get("format") != UNIT_FORMAT:
        raise UserError(
            "not a manifest this release can read",
            file=store.full(name),
            field="format",
            found=value.get("format"),
            allowed=[UNIT_FORMAT],
            fix="choose another run folder, or delete this one",
        )
    files = tuple(
        FileRef(f"{prefix}/{entry['name']}", entry["checksum"], entry["bytes"], entry["rows"])
        for entry in value["files"]
    )
    if any(store.size(ref.name) != ref.bytes for ref in files):
        return None
    return Manifest(prefix, value["inputs"], files, value["facts"])


def found_or_made(
    store: Store,
    prefix: str,
    inputs: dict[str, Any],
    make: Callable[[Publication], None],
    compute: bool,
) -> tuple[Manifest, bool] | None:
    """The unit under a prefix; made if it is not there and ``compute`` is on. One that holds what
    was observed is never found: whoever asks makes it again.
    """
    manifest = published(store, prefix)
    if manifest is not None:
        return manifest, False
    if not compute:
        return None
    with publish(store, prefix, inputs) as unit:
        make(unit)
    manifest = published(store, unit.prefix)
    assert manifest is not None, f"{unit.prefix} was published and is gone"
    return manifest, True
