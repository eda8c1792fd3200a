"""How far each source has come by the end of each phase: tokens, epochs, and how many different
documents were shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.paths import Store
from mixtures.inspect.accounting import documents_shown, realised
from mixtures.plan.format import Plan
from pipelines.report.training_metrics import Ending, Trainings, stretches
from tokenizer.shards.manifest import MANIFEST_NAME


@dataclass(frozen=True)
class SourceReached:
    """A source since the first step: tokens (padding included), epochs, and documents shown of
    those ``available``.

    ``documents`` is None where the shards are not there to be counted.
    """

    source: str
    tokens: int
    epochs: float
    documents: int | None
    available: int


@dataclass(frozen=True)
class PhaseEnd:
    """The end of a phase of one ending, after ``step`` updates, and its sources as they stood
    then.
    """

    ending: str
    phase: str
    step: int
    sources: tuple[SourceReached, ...]

    @property
    def counted(self) -> bool:
        return all(source.documents is not None for source in self.sources)


def phase_ends(store: Store, record: dict[str, Any], trainings: Trainings | None) -> list[PhaseEnd]:
    """Every phase that the endings have gone through, to its end or as far as they got; branches
    from where they left on.
    """
    if trainings is None:
        return []
    folders = (
        {name: Path(store.full(entry["folder"])) for name, entry in record["shards"].items()}
        if store.local
        else {}
    )
    return [end for ending in trainings.endings for end in _ends(ending, folders)]


def _ends(ending: Ending, folders: dict[str, Path]) -> Iterator[PhaseEnd]:
    plan = ending.plan
    if plan is None:
        return
    held = all(
        (folders[name] / MANIFEST_NAME).is_file() if name in folders else False
        for name in plan.names
    )
    for name, _, first, last in stretches(plan.segments):
        step = min(last, ending.last_step)
        if first < step > ending.from_step:
            documents = documents_shown(plan, step, folders) if held else {}
            yield PhaseEnd(ending.name, name, step, tuple(_reached(plan, step, documents)))


def _reached(plan: Plan, step: int, documents: dict[str, int]) -> Iterator[SourceReached]:
    for pinned, part in zip(plan.sources, realised(plan, step), strict=True):
        if part.tokens:
            available = sum(one.rows for one in pinned.parts)
            yield SourceReached(
                part.source, part.tokens, part.epochs, documents.get(part.source), available
            )
