"""Tables that measures need, made once for all chunks."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made
from artifacts.tables import write_parquet
from pipelines.stages.base import (
    PrepareStep,
    fingerprint,
)


@dataclass(frozen=True)
class PrepareTask:
    root: str
    step: PrepareStep


@dataclass(frozen=True)
class PreparedTable:
    """The table a PrepareStep made."""

    ref: FileRef
    computed: bool
    units: tuple[str, ...]


def prepare(task: PrepareTask, compute: bool = True) -> PreparedTable | None:
    """The table a measure needs, e.g. the n-grams of benchmark items."""
    store = Store(task.root)
    inputs = fingerprint(task.step.rule)

    def make(unit: Publication) -> None:
        table = task.step.rule.prepare()
        write_parquet(unit, "table.parquet", table.schema, [table])

    made = found_or_made(
        store, f"signals/{task.step.name}/{content_key(inputs)}", inputs, make, compute
    )
    return (
        None
        if made is None
        else PreparedTable(made[0].file("table.parquet"), made[1], (made[0].prefix,))
    )
