"""What a run writes about itself: ``run.json``, one ledger per step, and the digests of its inputs.

``run.json`` is the index of a run folder: which files are the current documents, signals,
selection, evidence, tokenizer and shards. It is for readers; the driver never trusts it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import orjson

from artifacts.books import DamageError, read_book, sealed, unsealed
from artifacts.commands import Command
from artifacts.errors import Setting, UserError
from artifacts.fingerprints import canonical_json
from artifacts.ledger import Ledger
from artifacts.paths import Store
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.document_files import DISK_PER_INPUT_BYTE
from pipelines.recipe.load import LoadedRecipe
from pipelines.run.earlier import take_over
from pipelines.run.work_plan import CorpusPlan

RECORD = "run.json"
LEDGERS = "ledgers"
DIGESTS = "cache/input-digests.json"
FORMAT = "run/1"


class RunRecord:
    """Collects and writes what is known of a run."""

    def __init__(self, store: Store, loaded: LoadedRecipe) -> None:
        self.store = store
        self.known_digests = _known_digests(store)
        self.chained = ["read"]  # steps whose ledgers follow one another
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "call": 1,
            "name": loaded.recipe.name,
            "recipe": loaded.resolved(),
            "reached": None,
            "quarantine": [],
            "selection": {},
            "languages": [],
            "evidence": {},
            "tokenizer": None,
            "encoded": {},
            "shards": {},
            "training": None,
            "branches": {},
            "samples": [],
            "made": {},
            "costs": {},
            "ledgers": [],
            "chunks": [],
            "units": [],
        }
        self._compression = loaded.recipe.corpus.compression
        self._units: set[str] = set()
        before = read_book(store, RECORD)
        self._earlier = before if before.get("format") == FORMAT else {}
        units = before.get("units")
        self._before = (
            {unit for unit in units if isinstance(unit, str)} if isinstance(units, list) else set()
        )
        self._stands = before.get("reached")
        self._last = (
            "train" if loaded.recipe.mixture else "shards" if loaded.recipe.tokenizer else "corpus"
        )

    def begin(self, plan: CorpusPlan) -> None:
        """First writes of a run: nothing was written before its inputs were found and checked.

        Raises: UserError when the disk has clearly too little room.
        """
        free = self.store.free_bytes()
        needed = int(plan.input_bytes * DISK_PER_INPUT_BYTE[self._compression])
        if free is not None and free < needed and not self.store.exists(RECORD):
            raise UserError(
                "too little room on the disk for this run",
                file=self.store.root,
                found=f"{free:,} bytes free",
                fix=(
                    f"about {needed:,} bytes are needed; free some, or choose another disk (",
                    Setting("runs"),
                    ")",
                ),
            )
        self._sweep()
        if self.known_digests:
            self.store.write(DIGESTS, canonical_json(sealed(self.known_digests)))

    def touch(self, results: Iterable[Any]) -> None:
        """Note the units that results rest on: what ``cache gc`` must keep."""
        for result in results:
            self._units.update(result.units)

    def write_ledger(self, number: int, ledger: Ledger) -> None:
        write_ledger(self.store, number, ledger)

    def save(self, chunks: tuple[Chunk, ...], ledgers: list[Ledger], reached: str) -> None:
        self.content["reached"] = reached
        self.content["units"] = sorted(
            self._units if reached == self._last else self._units | self._before
        )
        self.content["chunks"] = [chunk.to_json() for chunk in chunks]
        self.content["ledgers"] = [ledger.to_json() for ledger in ledgers]
        take_over(self.store, self.content, self._earlier, reached, self._last)
        write_record(self.store, self.content)

    def save_stopped(self, chunks: tuple[Chunk, ...], ledgers: list[Ledger]) -> None:
        """Record a run that stopped at what was read, so that one can look at it; the record of a
        call that got further stays.
        """
        if self._stands in (None, "read"):
            self.save(chunks, ledgers, "read")

    def _sweep(self) -> None:
        """Remove what a killed run left half written, and its ledgers, which this run writes
        anew.
        """
        if not self.store.local:
            return
        for name in self.store.names():
            begun = any(part.startswith(".writing-") for part in name.split("/"))
            if begun or name.startswith(f"{LEDGERS}/"):
                self.store.delete(name)


def write_record(store: Store, content: dict[str, Any]) -> None:
    """``run.json``, whole."""
    # what a reader will find: a number that is not finite is null, a tuple is a list
    plain = orjson.loads(orjson.dumps(content))
    store.write(RECORD, orjson.dumps(sealed(plain), option=orjson.OPT_INDENT_2) + b"\n")


def write_ledger(store: Store, number: int, ledger: Ledger) -> None:
    """A step's ledger in a file of its own."""
    step = ledger.step.replace(" (measure)", "-measure").replace(" ", "-")
    store.write(
        f"{LEDGERS}/{number:02d}-{step}.json",
        orjson.dumps(ledger.to_json(), option=orjson.OPT_INDENT_2) + b"\n",
    )


def load_run(runs: str, name: str) -> tuple[Store, dict[str, Any]]:
    """The record of a finished (part of a) run, for reports and inspection.

    ``name`` is a run's name under ``runs``, or the path of a run folder.
    Raises: UserError when there is none, naming the runs there are, or when it is damaged.
    """
    for root in (name,) if "://" in name else (f"{runs.rstrip('/')}/{name}", name):
        store = Store(root)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            record = read_record(store)
            if record.get("format") != FORMAT:
                raise UserError(
                    "a run record of another release",
                    file=store.full(RECORD),
                    field="format",
                    found=record.get("format"),
                    allowed=[FORMAT],
                )
            return store, record
    known = sorted(
        {path.split("/", 1)[0] for path in Store(runs).names() if path.endswith("/" + RECORD)}
    )
    raise UserError(
        "no such run, or it has not got as far as a first record",
        file=runs,
        found=name,
        allowed=known or None,
        fix=(Command("run RECIPE"), " makes one"),
    )


def read_record(store: Store) -> dict[str, Any]:
    """The content of ``run.json``. Raises: FileNotFoundError; UserError when it is damaged."""
    try:
        return unsealed(store.read(RECORD), required=False)
    except DamageError as error:
        raise UserError(
            "the run's record is damaged",
            file=store.full(RECORD),
            found=error,
            fix=(Command("run RECIPE"), " writes it anew and makes nothing again that is whole"),
        ) from None


def _known_digests(store: Store) -> dict[str, Any]:
    """Digests of input files by path, as :func:`artifacts.fingerprints.file_digest` keeps them."""
    return {
        path: entry
        for path, entry in read_book(store, DIGESTS).items()
        if isinstance(entry, list) and len(entry) == 5
    }
