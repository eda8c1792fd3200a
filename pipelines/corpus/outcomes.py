"""What a step or a task did: entries of the ledger, files, facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artifacts.ledger import Entry
from artifacts.publish import FileRef
from pipelines.corpus.chunk import Chunk


@dataclass(frozen=True)
class StepOutcome:
    """What one step did to one chunk: its ledger entry, and whether it had to work for it."""

    step: str
    chooses: bool  # its ledger follows that of the choice before; a measure keeps everything
    source: str
    entry: Entry
    computed: bool
    seconds: float
    facts: dict[str, Any]
    units: tuple[str, ...] = ()
    idle: bool = False  # of a step that has a ledger only where it was about some chunk


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk. ``ahead``: steps carried out beyond the task's own, whose units a
    later task will find.
    """

    chunk: Chunk
    outcomes: tuple[StepOutcome, ...]
    peak_bytes: int
    ahead: tuple[StepOutcome, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """Units this task found or made."""
        return tuple(unit for outcome in self.outcomes for unit in outcome.units)


@dataclass(frozen=True)
class CorpusTask:
    """Work over all chunks; ``sources`` are all sources of the recipe, in its order."""

    root: str
    chunks: tuple[Chunk, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class CorpusOutcome:
    """What a step over the corpus did: the chunks moved on, ledger entries by source, files,
    facts.
    """

    chunks: tuple[Chunk, ...]
    entries: dict[str, Entry]
    files: tuple[FileRef, ...]
    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...]
