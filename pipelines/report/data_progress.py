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
from mixtures.inspect.cut_documents import CutDocuments, cut_documents
from mixtures.plan.format import PinnedSource, Plan
from pipelines.report.training_metrics import Ending, Trainings, stretches
from tokenizer.shards.manifest import MANIFEST_NAME, read_manifest


@dataclass(frozen=True)
class SourceReached:
    """A source since the first step: tokens (padding included), epochs, and documents shown of
    those ``available``.

    ``documents`` is None where the shards that were shown are not there to be counted.
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
    folders = _folders(store, record)
    return [end for ending in trainings.endings for end in _ends(ending, folders)]


def recorded_cuts(
    store: Store, record: dict[str, Any], trainings: Trainings | None
) -> list[CutDocuments]:
    """The sources of which the endings' windows cut documents; none where the shards are not there
    to be counted.
    """
    folders = _folders(store, record)
    endings = () if trainings is None else trainings.endings
    plans = [one.plan for one in endings if one.plan is not None and _held(one.plan, folders)]
    return cut_documents(plans, folders)


def _folders(store: Store, record: dict[str, Any]) -> dict[str, Path]:
    """Shard folders by source; none where they are not on a local disk."""
    entries = record["shards"].items() if store.local else ()
    return {name: Path(store.full(entry["folder"])) for name, entry in entries}


def _held(plan: Plan, folders: dict[str, Path]) -> bool:
    """Whether the shards of every source are there, and are those that the plan pins."""
    return all(_holds(folders.get(source.name), source) for source in plan.sources)


def _holds(folder: Path | None, source: PinnedSource) -> bool:
    if folder is None or not (folder / MANIFEST_NAME).is_file():
        return False
    there = {part.file: part.checksum for part in read_manifest(folder).parts}
    return all(there.get(part.file) == part.checksum for part in source.parts)


def _ends(ending: Ending, folders: dict[str, Path]) -> Iterator[PhaseEnd]:
    plan = ending.plan
    if plan is None:
        return
    held = _held(plan, folders)
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
