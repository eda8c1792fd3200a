"""The verdict tables behind a chunk's selection: which rules each choosing step found broken."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.paths import Store
from artifacts.publish import FileRef, published
from pipelines.corpus.chunk import Chunk
from pipelines.signals.rules import Rule


@dataclass(frozen=True)
class Choosing:
    """One choosing step over one chunk. ``rules`` are in the order of the bits; empty where the
    step names none.
    """

    step: str
    verdicts: FileRef
    rules: tuple[Rule, ...]


def choosing_steps(store: Store, chunk: Chunk) -> list[Choosing]:
    """Choosing steps that made the chunk's selection, first to last; [] for a chunk nobody chose
    from.
    """
    found = []
    for step, verdicts in chunk.verdicts.items():
        manifest = published(store, verdicts.name.rpartition("/")[0])
        settings = {} if manifest is None else manifest.inputs["settings"]
        found.append(
            Choosing(step, verdicts, tuple(Rule(**rule) for rule in settings.get("rules", ())))
        )
    return found
