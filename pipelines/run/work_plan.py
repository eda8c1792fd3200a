"""From a recipe to the work of a run: files, chunks, and phases of steps.

Steps that concern one chunk alone are fused into a phase of tasks, one per chunk; a step that needs
all chunks (a comparison, an index) stands alone. Planning reads no documents, only names, sizes and
digests of inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Protocol

from artifacts.errors import UserError
from artifacts.fingerprints import file_digest, stamp
from pipelines.chunks.reading import ReadStep
from pipelines.corpus.chunk import Chunk
from pipelines.readers import discover, plan_chunks
from pipelines.readers.source_fields import check_fields
from pipelines.recipe.load import LoadedRecipe
from pipelines.shards.split_work import NumberOf, number_of
from pipelines.stages.base import (
    CompareStep,
    Driver,
    PrepareStep,
    RowStep,
    SpanStep,
    Step,
    Surroundings,
)
from pipelines.stages.conversations import conversation_steps
from pipelines.stages.size import size_step
from pipelines.stages.step_names import check_step_names, signal_columns


class Phase(Protocol):
    """What a run does to all chunks before it goes on."""

    def carry_out(self, driver: Driver) -> None: ...


@dataclass(frozen=True)
class Chain:
    """Steps that are carried out chunk by chunk, in one task for each."""

    steps: list[RowStep] = field(default_factory=list)

    def carry_out(self, driver: Driver) -> None:
        driver.chain(tuple(self.steps))


@dataclass(frozen=True)
class CorpusPlan:
    """Chunks with how to read them, and the phases that follow."""

    chunks: tuple[Chunk, ...]
    readers: dict[str, ReadStep]
    phases: tuple[Phase, ...]
    first_chain: tuple[RowStep, ...]
    numbers: dict[str, NumberOf]  # what each split source is cut by
    stored_bytes: dict[str, int]  # of each source's files, compressed where they are

    @property
    def input_bytes(self) -> int:
        """Stored bytes of all sources."""
        return sum(self.stored_bytes.values())

    def ahead(self) -> tuple[RowStep, ...]:
        """Steps that can be carried out while a chunk that was just read is in memory: those of the
        first chain up to one for which something has to be prepared, or which would be tried again
        when its own phase comes.
        """
        return tuple(
            takewhile(lambda step: step.resource is None and not step.tried_again, self.first_chain)
        )


def plan_corpus(loaded: LoadedRecipe, known_digests: dict[str, Any]) -> CorpusPlan:
    """Everything a run will do to documents, in order.

    Raises: UserError for an empty glob, a missing file, an unknown column, before anything is
    written.
    """
    steps = plan_steps(loaded)
    order = _Order()
    for step in steps:
        step.join(order)
    numbers = _numbers(loaded, steps)
    chunks: list[Chunk] = []
    readers: dict[str, ReadStep] = {}
    stored: dict[str, int] = {}
    corpus = loaded.recipe.corpus
    for index, source in enumerate(corpus.sources):
        try:
            files = discover(source.name, source.paths, source.format, base=loaded.folder)
            check_fields(files, source.fields())
        except UserError as error:
            raise error.relocated(loaded.place_in(("corpus", "sources", index, "paths"))) from None
        readers[source.name] = ReadStep(
            source.format, source.fields(), corpus.limits.limits(), corpus.compression
        )
        # before the digests: a change after this is noticed when reading
        stamps = {file.url: stamp(file.url) for file in files}
        digests = {file.url: file_digest(file.url, known_digests) for file in files}
        stored[source.name] = sum(file.bytes for file in files)
        for spans in plan_chunks(files, int(corpus.chunk_mib * (1 << 20))):
            marks = (
                tuple(digests[span.url] for span in spans),
                tuple(stamps[span.url] for span in spans),
            )
            chunks.append(Chunk(len(chunks), source.name, tuple(spans), *marks))
    return CorpusPlan(tuple(chunks), readers, order.phases(), order.first_chain(), numbers, stored)


def plan_steps(loaded: LoadedRecipe) -> list[Step]:
    """The steps of all stages in order, with the size measure after each new text version.

    Raises: UserError with the stage's place in the recipe.
    """
    steps: list[Step] = [size_step()]
    conversations = loaded.recipe.corpus.conversations()
    if conversations:
        steps += conversation_steps(conversations)
    names = tuple(source.name for source in loaded.recipe.corpus.sources)
    languages = _language_measures(loaded)
    current: list[Step] = []  # language measures of this text version that a stage before brought
    for index, (name, stage) in enumerate(loaded.stages):
        made_before = {step.name for step in steps}
        around = Surroundings(
            loaded.folder,
            names,
            signal_columns(steps),
            tuple(step.name for step in languages),
            tuple(step for step in languages if step.name not in made_before),
            loaded.recipe.corpus.limits.limits().quarantine_bytes,
        )
        try:
            made = stage.steps(around, name)
            own = stage.language_measure(name)
            check_step_names(
                [step for step in made if step == own or step not in languages],
                [step for step in steps if step != own],
            )
        except UserError as error:
            raise error.relocated(loaded.place_in(loaded.stage_address(index))) from None
        for step in made:
            if step in current:
                continue
            steps.append(step)
            if step in languages:
                current.append(step)
            if step.rewrites:
                steps.append(size_step())
                current = []
    return steps


def _language_measures(loaded: LoadedRecipe) -> list[Step]:
    """The measures of all stages that identify languages, in the order of the recipe."""
    found = (stage.language_measure(name) for name, stage in loaded.stages)
    return [step for step in found if step is not None]


def _numbers(loaded: LoadedRecipe, steps: Sequence[Step]) -> dict[str, NumberOf]:
    """What each split goes by. Raises: UserError with its place in the recipe."""
    numbers = {}
    for source, split in loaded.recipe.shards.split.items():
        try:
            numbers[source] = number_of(steps, source, split.by)
        except UserError as error:
            raise error.relocated(loaded.place_in(("shards", "split", source, "by"))) from None
    return numbers


class _Order:
    """Groups steps into phases.

    Measures move forward into the first chain that sees the same text version, past choices and
    comparisons, on which they do not depend: the text is then decoded once for all of them.
    """

    def __init__(self) -> None:
        self._first: list[PrepareStep] = []
        self._phases: list[Phase] = []
        self._chains: list[Chain] = []
        self._open: Chain | None = None  # to which the next step is added
        self._measuring: Chain | None = None  # the first that sees the current text version

    def before(self, step: PrepareStep) -> None:
        self._first.append(step)

    def alone(self, step: CompareStep | SpanStep) -> None:
        self._phases.append(step)
        self._open = None
        if step.rewrites:
            self._measuring = None

    def chained(self, step: RowStep) -> None:
        if step.needs_text_alone and self._measuring is not None:
            self._measuring.steps.append(step)
            return
        if self._open is None:
            self._open = Chain()
            self._chains.append(self._open)
            self._phases.append(self._open)
        self._open.steps.append(step)
        if self._measuring is None or step.rewrites:
            self._measuring = self._open

    def phases(self) -> tuple[Phase, ...]:
        """All phases, in order."""
        return (*self._first, *self._phases)

    def first_chain(self) -> tuple[RowStep, ...]:
        """Steps of the first chain; none without one."""
        return tuple(self._chains[0].steps) if self._chains else ()


__all__ = ["Chain", "CorpusPlan", "Phase", "plan_corpus", "plan_steps"]
