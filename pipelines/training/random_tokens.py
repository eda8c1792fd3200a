"""A training's plan and batches where there are no shards yet: the recipe's steps, random tokens.

    plan = random_plan(phases, run_tokens, sequence_length, batch_tokens, vocabulary)
    for batch in RandomLoader(plan).batches(0, 20): ...

Lengths are the recipe's, rounded up to whole batches as a frozen plan rounds them; what windows
show is not known, so each is one document of tokens drawn evenly from the vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from mixtures.loader.fill import LENGTH, PLACE, ROW, SOURCE
from mixtures.loader.loader import Batch
from mixtures.plan.format import Context, PinnedSource, Plan, Segment, SourceContext
from mixtures.sequences.chairman import SHARE_UNITS
from mixtures.spec.lengths import phase_tokens
from mixtures.spec.phase import PhaseSpec

SOURCE_NAME = "random"
_SEED = 0
_NO_HASH = "0" * 32


def random_plan(
    phases: Sequence[PhaseSpec],
    run_tokens: int,
    sequence_length: int,
    batch_tokens: int,
    vocabulary: int,
) -> Plan:
    """The steps of a recipe's phases over one source that stands for all of theirs."""
    lengths = phase_tokens(phases, run_tokens, whole=True)
    return _appended(None, phases, lengths, sequence_length, batch_tokens, vocabulary)


def random_branch(
    plan: Plan, step: int, phases: Sequence[PhaseSpec], run_tokens: int, vocabulary: int
) -> Plan:
    """The first ``step`` steps of a plan, then a branch's phases."""
    lengths = phase_tokens(phases, run_tokens)
    last = plan.context_at(max(step - 1, 0))[1]
    segments = tuple(part for part in plan.segments if part.last_step <= step)
    contexts = tuple(part for part in plan.contexts if part.first_step < step)
    if not segments:
        return _appended(None, phases, lengths, last.sequence_length, last.batch_tokens, vocabulary)
    past = plan.changed(segments=segments, contexts=contexts)
    return _appended(past, phases, lengths, last.sequence_length, last.batch_tokens, vocabulary)


def _appended(
    past: Plan | None,
    phases: Sequence[PhaseSpec],
    lengths: Sequence[int],
    sequence_length: int,
    batch_tokens: int,
    vocabulary: int,
) -> Plan:
    contexts = [] if past is None else list(past.contexts)
    segments = [] if past is None else list(past.segments)
    length, batch = sequence_length, batch_tokens
    for phase, tokens in zip(phases, lengths, strict=True):
        length, batch = phase.sequence_length or length, phase.batch_tokens or batch
        first = segments[-1].last_step if segments else 0
        if not contexts or (length, batch) != (
            contexts[-1].sequence_length,
            contexts[-1].batch_tokens,
        ):
            contexts.append(
                Context(
                    first_step=first,
                    sequence_length=length,
                    batch_windows=max(1, batch // length),
                    sources=(SourceContext(block_tokens=1, windows=1),),
                )
            )
        segments.append(_segment(phase, first, -(-tokens // batch), tokens))
    return Plan(
        seed=_SEED,
        sources=(_source(vocabulary),),
        contexts=tuple(contexts),
        segments=tuple(segments),
    )


def _segment(phase: PhaseSpec, first: int, steps: int, tokens: int) -> Segment:
    return Segment(
        name=phase.name,
        decay=phase.decay,
        first_step=first,
        steps=steps,
        asked_tokens=tokens,
        start=(SHARE_UNITS,),
        end=(SHARE_UNITS,),
        cursors=(0,),
    )


def _source(vocabulary: int) -> PinnedSource:
    return PinnedSource(
        name=SOURCE_NAME,
        tokenizer_hash=_NO_HASH,
        dtype="uint32",
        vocab_size=vocabulary,
        eos_id=0,
        tokens=1,
        open_blocks=1,
        key=_NO_HASH[:16],
        parts=(),
    )


@dataclass(frozen=True)
class RandomLoader:
    """Random batches in the shape of a plan's steps."""

    plan: Plan

    def batches(self, first: int, last: int) -> Generator[Batch]:
        """One for each of the steps ``first`` to ``last`` - 1."""
        for step in range(first, last):
            context = self.plan.context_at(step)[1]
            yield random_batch(
                context.batch_windows,
                context.sequence_length,
                self.plan.sources[0].vocab_size,
                seed=step,
            )


def random_batch(windows: int, length: int, vocabulary: int, seed: int) -> Batch:
    """Windows of one document each; every target counts."""
    draw = np.random.default_rng(seed)
    shape = windows, length
    tokens, targets = (draw.integers(0, vocabulary, shape, np.int32) for _ in range(2))
    pieces = np.zeros((windows, 5), np.int64)
    pieces[:, ROW], pieces[:, PLACE], pieces[:, SOURCE] = np.arange(windows), 0, 0
    pieces[:, LENGTH] = length
    return Batch(
        tokens=tokens,
        targets=targets,
        weights=np.ones(shape, np.float32),
        positions=np.broadcast_to(np.arange(length, dtype=np.int32), shape).copy(),
        documents=np.zeros(shape, np.int32),
        lengths=np.arange(0, windows * length + 1, length, dtype=np.int32),
        source=np.zeros(windows, np.int32),
        pieces=pieces,
    )
