"""From a recipe to the work of a run: files, chunks, and phases of steps.

Steps that concern one chunk alone are fused into a phase of tasks, one per chunk; a step that needs
all chunks (a comparison, an index) stands alone. Planning reads no documents, only names, sizes and
digests of inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from artifacts.errors import UserError
from artifacts.fingerprints import file_digest, stamp
from pipelines.chunks.reading import ReadStep
from pipelines.corpus.chunk import Chunk
from pipelines.readers import discover, plan_chunks
from pipelines.readers.source_fields import check_fields
from pipelines.recipe.load import LoadedRecipe
from pipelines.shards.split_work import NumberOf, number_of
from pipelines.stages.base import (
    ChooseStep,
    CompareStep,
    MeasureStep,
    PrepareStep,
    RewriteStep,
    SpanStep,
    Step,
    Surroundings,
    signal_columns,
)
from pipelines.stages.conversations import conversation_steps
from pipelines.stages.size import size_step
from pipelines.stages.step_names import check_step_names

ChunkPhase = tuple[MeasureStep | RewriteStep | ChooseStep, ...]
Phase = ChunkPhase | CompareStep | SpanStep | PrepareStep


@dataclass(frozen=True)
class CorpusPlan:
    """Chunks with how to read them, and the phases that follow."""

    chunks: tuple[Chunk, ...]
    readers: dict[str, ReadStep]
    phases: tuple[Phase, ...]
    numbers: dict[str, NumberOf]  # what each split source is cut by
    input_bytes: int  # as stored, compressed where the files are

    def ahead(self) -> ChunkPhase:
        """Steps that can be carried out while a chunk that was just read is in memory: those of the
        first chain up to one with an index.
        """
        chain = next((phase for phase in self.phases if isinstance(phase, tuple)), ())
        return tuple(
            takewhile(
                lambda step: not isinstance(step, MeasureStep) or step.resource is None, chain
            )
        )


def plan_corpus(loaded: LoadedRecipe, known_digests: dict[str, Any]) -> CorpusPlan:
    """Everything a run will do to documents, in order.

    Raises: UserError for an empty glob, a missing file, an unknown column, before anything is
    written.
    """
    steps = plan_steps(loaded)
    phases = tuple(_phases(steps))
    numbers = _numbers(loaded, steps)
    chunks: list[Chunk] = []
    readers: dict[str, ReadStep] = {}
    total = 0
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
        total += sum(file.bytes for file in files)
        for spans in plan_chunks(files, int(corpus.chunk_mib * (1 << 20))):
            marks = (
                tuple(digests[span.url] for span in spans),
                tuple(stamps[span.url] for span in spans),
            )
            chunks.append(Chunk(len(chunks), source.name, tuple(spans), *marks))
    return CorpusPlan(tuple(chunks), readers, phases, numbers, total)


def plan_steps(loaded: LoadedRecipe) -> list[Step]:
    """The steps of all stages in order, with the size measure after each new text version.

    Raises: UserError with the stage's place in the recipe.
    """
    steps: list[Step] = [size_step()]
    conversations = tuple(
        source.name for source in loaded.recipe.corpus.sources if source.messages_field
    )
    if conversations:
        steps += conversation_steps(conversations)
    for index, (name, stage) in enumerate(loaded.stages):
        names = tuple(source.name for source in loaded.recipe.corpus.sources)
        around = Surroundings(loaded.folder, names, signal_columns(steps))
        try:
            made = stage.steps(around, name)
            check_step_names(made, steps)
        except UserError as error:
            raise error.relocated(loaded.place_in(loaded.stage_address(index))) from None
        for step in made:
            steps.append(step)
            if isinstance(step, RewriteStep | SpanStep):
                steps.append(size_step())
    return steps


def _numbers(loaded: LoadedRecipe, steps: Sequence[Step]) -> dict[str, NumberOf]:
    """What each split goes by. Raises: UserError with its place in the recipe."""
    numbers = {}
    for source, split in loaded.recipe.shards.split.items():
        try:
            numbers[source] = number_of(steps, source, split.by)
        except UserError as error:
            raise error.relocated(loaded.place_in(("shards", "split", source, "by"))) from None
    return numbers


def _phases(steps: Sequence[Step]) -> list[Phase]:
    """Group steps into phases.

    Measures move forward into the first chain that sees the same text version, past choices and
    comparisons, on which they do not depend: the text is then decoded once for all of them.
    """
    indexes: list[Phase] = [step for step in steps if isinstance(step, PrepareStep)]
    phases: list[list[MeasureStep | RewriteStep | ChooseStep] | CompareStep | SpanStep] = []
    measuring: list[MeasureStep | RewriteStep | ChooseStep] | None = None
    for step in steps:
        if isinstance(step, PrepareStep):
            continue
        if isinstance(step, CompareStep | SpanStep):
            phases.append(step)
            measuring = measuring if isinstance(step, CompareStep) else None
            continue
        if isinstance(step, MeasureStep) and measuring is not None:
            measuring.append(step)
            continue
        if not phases or isinstance(phases[-1], CompareStep | SpanStep):
            phases.append([])
        chain = phases[-1]
        assert isinstance(chain, list)
        chain.append(step)
        if measuring is None or isinstance(step, RewriteStep):
            measuring = chain
    return [*indexes, *(tuple(phase) if isinstance(phase, list) else phase for phase in phases)]


__all__ = ["ChunkPhase", "CorpusPlan", "Phase", "plan_corpus", "plan_steps"]
