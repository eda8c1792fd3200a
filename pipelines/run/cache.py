"""What a run folder holds, and removing what its newest recipe does not use.

Old units stay so that going back to an earlier setting costs nothing; ``collect`` removes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artifacts.lock import run_lock
from artifacts.paths import Store
from artifacts.publish import MANIFEST
from pipelines.run.record import read_record

AREAS = (
    "documents",
    "signals",
    "selection",
    "evidence",
    "quarantine",
    "tokenizer",
    "shards",
    "work",
)


@dataclass
class StepUsage:
    """Units and bytes of one step; ``used`` ones belong to the newest run."""

    step: str
    units: int = 0
    bytes: int = 0
    used_units: int = 0
    used_bytes: int = 0


def usage(store: Store, record: dict[str, Any]) -> list[StepUsage]:
    """What each step's units take, sorted by step."""
    used = set(record["units"])
    rows: dict[str, StepUsage] = {}
    for prefix, size in _units(store).items():
        row = rows.setdefault(prefix.rsplit("/", 1)[0], StepUsage(prefix.rsplit("/", 1)[0]))
        row.units += 1
        row.bytes += size
        if prefix in used:
            row.used_units += 1
            row.used_bytes += size
    return [rows[step] for step in sorted(rows)]


def collect(store: Store, dry_run: bool = False) -> tuple[int, int]:
    """Remove units the newest run did not use; returns how many and their bytes.

    The manifest goes first, so that a kill half-way leaves no unit that looks whole.
    A run that stopped early keeps the later units of the run before it.
    Raises: UserError when a run is writing to the folder, or its record is damaged.
    """
    with run_lock(store):
        # read under the lock: no run can end in between
        used = set(read_record(store)["units"])
        stale = {prefix: size for prefix, size in _units(store).items() if prefix not in used}
        for prefix in () if dry_run else stale:
            store.delete(f"{prefix}/{MANIFEST}")
            store.delete(prefix)
    return len(stale), sum(stale.values())


def _units(store: Store) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for area in AREAS:
        for name in store.names(area):
            prefix, _, _ = name.rpartition("/")
            if prefix.count("/") >= 2:  # AREA/STEP/KEY; shards of a band: AREA/SOURCE/BAND/KEY
                sizes[prefix] = sizes.get(prefix, 0) + (store.size(name) or 0)
    return sizes
