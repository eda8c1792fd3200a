"""An index on disk: a head that names its batches, and for each batch one immutable segment of
columns.

    INDEX/
      index.json                       format index/1: settings and batches; replaced whole, last
                                       of all
      batches/00001-KEY/kept.arrow     columns of the kept documents, in keep order
      batches/00001-KEY/removed.arrow  the removed ones, with who stands for each
      batches/00001-KEY/manifest.json  unit/1

A batch belongs to the index from the moment ``index.json`` names it. A process killed before leaves
a segment that nobody names, one killed afterwards (taking a batch back) a segment that is no longer
named. :func:`sweep` removes both, and ``reading/``, the documents of a batch while it is added;
every writer begins with it, under the lock. Segments are Arrow IPC without compression (hashes do
not compress), mapped on a local disk, read whole from a store.

Per kept document with b bands: 16 (id) + 16 (text hash) + 8 (where its text lies) + 8 b bytes, 152
with 14 bands; per removed document 63. To this come about 6 kB per batch and its entry in the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import pyarrow as pa
from pydantic import ConfigDict, ValidationError

from artifacts.books import DamageError, break_seal, parse_object, sealed
from artifacts.commands import Command
from artifacts.errors import Parameter, UserError
from artifacts.fingerprints import canonical_json
from artifacts.lock import NAME, run_lock
from artifacts.paths import Store
from artifacts.records import Record
from artifacts.schemas import FORMAT_KEY, ID, TEXT_HASH
from dedup.near.minhash import MinHashConfig
from dedup.near.settings import DEFAULTS

HEAD = "index.json"
BATCHES = "batches"
FORMAT, KEPT_FORMAT, REMOVED_FORMAT = "index/1", "index_kept/1", "index_removed/1"

_OURS = re.compile(
    r"index\.json|\.lock|\.writing-[^/]*|"
    r"(?P<folder>reading|batches/(?P<number>\d{5,})-[0-9a-f]{20})/(manifest\.json|documents\.arrow|kept\.arrow|removed\.arrow|\.writing-[^/]*)"
)
REBUILD = "use the release that wrote it, or make the index anew by adding its batches again"


def taken_back(batch: int) -> tuple[str, ...]:
    """How a user goes on without a batch whose files are gone: the end of a fix."""
    return (
        "take the batch back: ",
        Command("dedup index rollback INDEX BATCH --cascade", BATCH=batch),
    )


class _Strict(Record):
    model_config = ConfigDict(strict=True)


class IndexSettings(_Strict):
    """What an index compares by; the same for all its batches. ``algorithm``: of band keys and
    shingles, with its rule versions.
    """

    ngrams: int = DEFAULTS.ngrams
    bands: int = DEFAULTS.bands
    rows: int = DEFAULTS.rows
    seed: int = DEFAULTS.seed
    verify: float = DEFAULTS.verify
    max_comparisons: int = DEFAULTS.max_comparisons
    algorithm: str = ""

    @property
    def config(self) -> MinHashConfig:
        """Raises: UserError for numbers out of range."""
        return MinHashConfig(self.ngrams, self.bands, self.rows, self.seed)


class TextFile(_Strict):
    """A file with texts of kept documents: its name in the batch's folder, rows, bytes, checksum
    (xxh3_128).
    """

    name: str
    rows: int
    bytes: int
    checksum: str


class Texts(_Strict):
    """Where the kept documents of a batch lie: a folder, ``documents/1`` (parquet) or JSON Lines,
    and the fields their records have.
    """

    folder: str
    format: Literal["parquet", "jsonl"]
    text_field: str
    id_field: str | None
    files: list[TextFile]

    def url(self, file: TextFile) -> str:
        """What to open for a file."""
        return f"{self.folder.rstrip('/')}/{file.name}"


class InputRecord(_Strict):
    """A file that documents of the batch were read from: source, its path in the source, where it
    lay, its format.
    """

    source: str
    path: str
    url: str
    format: str
    text_field: str
    id_field: str | None


class BatchRecord(_Strict):
    """One batch. ``number`` from 1; ``segment``: its folder, ``checksum``: of that folder's files;
    ``documents``: digest of what was added, in order; ``keep``: order inside the batch; ``counts``
    by outcome; ``facts`` of the comparison.
    """

    number: int
    segment: str
    checksum: str
    documents: str
    keep: str
    counts: dict[str, int]
    facts: dict[str, int]
    texts: Texts
    inputs: list[InputRecord]


class IndexHead(_Strict):
    """The content of ``index.json``."""

    format: str = FORMAT
    settings: IndexSettings
    batches: list[BatchRecord] = []


def kept_schema(bands: int) -> pa.Schema:
    """Columns of kept.arrow."""
    keys = [pa.field(f"band_{band:03d}", pa.uint64(), nullable=False) for band in range(bands)]
    return pa.schema(
        [*_IDENTITY, _number("file"), _number("row"), *keys], {FORMAT_KEY: KEPT_FORMAT.encode()}
    )


def removed_schema() -> pa.Schema:
    """Columns of removed.arrow."""
    fields = [
        *_IDENTITY,
        _number("kept_batch"),
        _number("kept_row"),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("bands_hit", pa.uint16(), nullable=False),
        pa.field("reason", pa.uint8(), nullable=False),
        _number("place"),
        _number("input"),
        pa.field("offset", pa.uint64(), nullable=False),
    ]
    return pa.schema(fields, {FORMAT_KEY: REMOVED_FORMAT.encode()})


def _number(name: str) -> pa.Field:
    return pa.field(name, pa.uint32(), nullable=False)


_IDENTITY = [pa.field("id", ID, nullable=False), pa.field("text_hash", TEXT_HASH, nullable=False)]


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """The index's lock, with leftovers of killed writers gone. Raises: UserError while another
    process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(run_lock(store))
        except UserError as error:
            fix = "wait for it, or stop it; then give the command again"
            raise error.relocated(lambda address: (Parameter("index"),)).changed(
                message="another process is changing this index", fix=fix
            ) from None
        sweep(store, read_head(store))
        yield


def read_head(store: Store) -> IndexHead | None:
    """The head, None where there is no index. Raises: UserError for another format or version, or
    damage.
    """
    name = store.full(HEAD)
    try:
        raw = store.read(HEAD)
    except FileNotFoundError:
        return None
    restore = "bring the file back from a copy, or make the index anew by adding its batches again"
    try:
        value = parse_object(raw)
    except DamageError as error:
        raise UserError(
            "the head of this index is damaged", file=name, found=error, fix=restore
        ) from None
    found = value.get("format")
    if found != FORMAT:
        raise UserError(
            "not an index this release can read",
            file=name,
            field="format",
            found=found,
            allowed=[FORMAT],
            fix=REBUILD,
        )
    try:
        head = IndexHead.model_validate(break_seal(value))
    except DamageError as error:
        raise UserError(
            "the head of this index is damaged",
            file=name,
            field="checksum",
            found=error,
            fix=restore,
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"the head of this index is damaged: {first['msg']}",
            file=name,
            field=field,
            fix=restore,
        ) from None
    now = head.settings.config.algorithm
    if head.settings.algorithm != now:
        message = "this index was made with another rule for words or hashes"
        raise UserError(
            message,
            file=name,
            field="algorithm",
            found=head.settings.algorithm,
            allowed=[now],
            fix=REBUILD,
        )
    return head


def write_head(store: Store, head: IndexHead) -> None:
    """Replace the head at once: the moment at which a change happens."""
    store.write(HEAD, canonical_json(sealed(head.model_dump())) + b"\n")


def sweep(store: Store, head: IndexHead | None) -> None:
    """Remove what killed writers left: segments that the head does not name, files half written,
    documents half read.

    Raises: UserError, before anything is removed, for a folder without a head that holds other
    files or batches behind the first.
    """
    named = {batch.segment for batch in head.batches} if head is not None else set()
    left = set()
    for name in store.names():
        ours = _OURS.fullmatch(name)
        if head is None and ours is None:
            fix = "choose a folder that is empty, or not there yet"
            raise UserError(
                "this folder holds other files and no index",
                file=store.full(name),
                parameter="index",
                fix=fix,
            )
        if head is None and ours and ours["number"] and int(ours["number"]) > 1:
            fix = f"bring {HEAD} back from a copy, or choose another folder"
            raise UserError(
                "the head of this index is gone; its batches are there",
                file=store.full(HEAD),
                fix=fix,
            )
        if ours and ours["folder"] not in named and name not in (HEAD, NAME):
            left.add(ours["folder"] or name)
    for name in sorted(left):
        store.delete(name)
