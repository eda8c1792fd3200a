"""Files that measures need, made once for all chunks."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from artifacts.publish import found_or_made
from pipelines.stages.base import PrepareStep, fingerprint
from pipelines.stages.chunk_work import Prepared, PreparedFiles


@dataclass(frozen=True)
class PrepareTask:
    root: str
    step: PrepareStep


@dataclass(frozen=True)
class PreparedUnit:
    """What a PrepareStep made. ``note``: something its user should know."""

    prepared: Prepared
    note: str | None
    computed: bool

    @property
    def units(self) -> tuple[str, ...]:
        return (self.prepared.prefix,)


def prepare(task: PrepareTask, compute: bool = True) -> PreparedUnit | None:
    """The files a measure needs, e.g. the n-grams of benchmark items."""
    store, rule = Store(task.root), task.step.rule
    inputs = fingerprint(rule)
    prefix = f"signals/{task.step.name}/{content_key(inputs)}"
    made = found_or_made(store, prefix, inputs, rule.prepare, compute)
    if made is None:
        return None
    manifest, computed = made
    prepared = Prepared(manifest.prefix, manifest.files)
    return PreparedUnit(prepared, rule.note(PreparedFiles(store, prepared)), computed)
