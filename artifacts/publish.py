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

from artifacts.books import DamageError, sealed, tell_damage, unsealed
from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key
from artifacts.paths import HashingFile, Store

MANIFEST = "manifest.json"
UNIT_FORMAT = "unit/1"
_FIELD_TYPES = [str, str, int, int]


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
        """Raises: KeyError or TypeError when these are not the fields of one."""
        ref = FileRef(value["name"], value["checksum"], value["bytes"], value["rows"])
        types = [type(part) for part in (ref.name, ref.checksum, ref.bytes, ref.rows)]
        if types != _FIELD_TYPES or ".." in ref.name.split("/"):
            raise TypeError("not a file of a manifest")
        return ref


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
    store.write(f"{unit.prefix}/{MANIFEST}", canonical_json(sealed(manifest)) + b"\n")


def published(store: Store, prefix: str) -> Manifest | None:
    """The manifest of a unit, or None where the unit is not (wholly) there.

    A unit whose manifest is damaged, or one of whose files is missing or has another length,
    counts as not there, so that it is made again; whoever listens is told of it. Raises: UserError
    when the manifest is of another format.
    """
    name = f"{prefix}/{MANIFEST}"
    try:
        raw = store.read(name)
    except FileNotFoundError:
        return None
    try:
        value = unsealed(raw, required=False)
        found = value.get("format")
        if isinstance(found, str) and found != UNIT_FORMAT:
            raise UserError(
                "not a manifest this release can read",
                file=store.full(name),
                field="format",
                found=found,
                allowed=[UNIT_FORMAT],
                fix="choose another run folder, or delete this one",
            )
        manifest = _manifest(prefix, value)
    except DamageError as error:
        tell_damage(store.full(name), str(error))
        return None
    for ref in manifest.files:
        size = store.size(ref.name)
        if size != ref.bytes:
            found = "it is gone" if size is None else f"{size:,} bytes, written were {ref.bytes:,}"
            tell_damage(store.full(ref.name), found)
            return None
    return manifest


def _manifest(prefix: str, value: dict[str, Any]) -> Manifest:
    """The manifest that a book holds. Raises: DamageError when it holds none."""
    try:
        files = tuple(
            FileRef.from_json({**entry, "name": f"{prefix}/{entry['name']}"})
            for entry in value["files"]
        )
        inputs, facts = value["inputs"], value["facts"]
    except (KeyError, TypeError) as error:
        raise DamageError(f"not the fields of a manifest: {error}") from None
    if not (isinstance(inputs, dict) and isinstance(facts, dict)):
        raise DamageError("not the fields of a manifest")
    return Manifest(prefix, inputs, files, facts)


def read_file(store: Store, ref: FileRef) -> bytes:
    """The bytes of a published file, held against its checksum. Raises: UserError when it is gone
    or holds other bytes.
    """
    try:
        raw = store.read(ref.name)
    except FileNotFoundError:
        raise damaged_file(store, ref.name, "no such file") from None
    found = xxhash.xxh3_128_hexdigest(raw)
    if found != ref.checksum:
        raise damaged_file(store, ref.name, f"{len(raw):,} bytes with checksum {found}")
    return raw


def damaged_file(store: Store, name: str, found: object) -> UserError:
    """The error of a file of a unit that does not hold what was written."""
    full = store.full(name)
    return UserError(
        "a file of the run is damaged",
        file=full,
        found=found,
        fix=(
            f"delete the folder {full.rpartition('/')[0]}; ",
            Command("run RECIPE"),
            ", or the command that made it, makes it anew",
        ),
    )


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
