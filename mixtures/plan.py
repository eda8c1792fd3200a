"""Freeze a mixture: from shares of tokens to whole steps over pinned shards.

    plan = freeze(spec, sources, sequence_length=256, batch_tokens=4096, seed=1)
    Path("plan.json").write_bytes(plan.to_json())
    for row in table(plan): ...
    other = branch(plan, 300, [decay_phase])        # the first 300 steps, then another decay

Phases are rounded up to whole batches; the plan keeps what was asked and what it came to. Everything a
batch depends on is in the plan, so a batch is a function of (plan, step): see :mod:`mixtures.loader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from artifacts.errors import UserError
from artifacts.keyed_hash import hash_key
from mixtures.caps import check_caps
from mixtures.chairman import LONGEST_RAMP, Shares
from mixtures.interleave import counts_before
from mixtures.order import OPEN_BLOCKS, block_windows
from mixtures.plan_format import Ancestor, PinnedPart, PinnedSource, Plan, Segment
from mixtures.resolve import check_windows, names_of, resolve, resolve_phases
from mixtures.rules import check_hold_out, check_min_tokens, check_reserve
from mixtures.shares import between, shares_of
from mixtures.spec import MixtureSpec, Phase, PhaseSpec
from tokenizer.shards import ShardSource

__all__ = ["Plan", "Segment", "ShareRow", "append_segment", "branch", "common_steps", "freeze", "table"]

Sources = Mapping[str, ShardSource]


def freeze(
    spec: MixtureSpec, sources: Sources, *, sequence_length: int, batch_tokens: int, seed: int, bos: bool = True, bos_id: int = 1
) -> Plan:
    """Plan a mixture over shards.

    ``sources``: opened shards by name; those without a weight are left out. ``bos``: whether documents begin with
    ``bos_id`` (see :mod:`mixtures.loader`).
    Raises: UserError when a source has no shards or less than a window, when tokenizers differ, when batches are
    not whole windows, when a cap on epochs is exceeded, and as :func:`mixtures.resolve.resolve`.
    """
    _check_batch(sequence_length, batch_tokens)
    available = _available(sources)
    check_windows(spec.phases, available, sequence_length)
    phases = resolve(spec, available)
    facts: dict[str, Any] = {
        "seed": seed,
        "sequence_length": sequence_length,
        "batch_windows": batch_tokens // sequence_length,
        "bos": bos,
        "bos_id": bos_id,
        "rules": spec.rules,
    }
    plan = _extended(facts, _pinned(names_of(phases), sources, (), sequence_length, seed), (), phases)
    check_min_tokens(spec.min_tokens, _planned(plan), phases, sequence_length)
    return plan


def append_segment(plan: Plan, phase: PhaseSpec, at_step: int, sources: Sources | None = None) -> Plan:
    """A plan that agrees with this one before ``at_step`` and shows one more phase from there on.

    ``sources``: shards of sources the plan does not know yet.
    Raises: UserError as :func:`freeze`, and when ``at_step`` is outside the plan.
    """
    return branch(plan, at_step, [phase], sources)


def branch(plan: Plan, step: int, phases: Sequence[PhaseSpec], sources: Sources | None = None, name: str | None = None) -> Plan:
    """A plan that agrees with this one before ``step`` and goes on with other phases.

    Percents are of the tokens this plan was asked for in all. ``name``: of the branch, for sources reserved for it.
    Raises: UserError as :func:`append_segment`, and for sources that the plan's rules reserve or hold out.
    """
    past = _cut(plan, step)
    available = {**_available(sources or {}), **{source.name: source.tokens for source in plan.sources}}
    check_windows(phases, available, plan.sequence_length)
    phases = resolve_phases(phases, available, sum(segment.asked_tokens for segment in plan.segments))
    check_hold_out(phases, plan.rules)
    before = dict(zip(plan.names, _last_shares(past[-1], len(plan.sources)), strict=True)) if past else None
    check_reserve(phases, plan.rules, any(segment.decay for segment in past), name, before)
    pinned = _pinned(names_of(phases), sources or {}, plan.sources, plan.sequence_length, plan.seed)
    history = (*(ancestor for ancestor in plan.history if ancestor.steps <= step), Ancestor(hash=plan.hash, steps=step))
    shortened = tuple(Ancestor(hash=ancestor.hash, steps=step) for ancestor in plan.history if ancestor.steps > step)
    facts = plan.model_dump(exclude={"sources", "segments", "history"})
    return _extended({**facts, "history": shortened + history}, pinned, past, phases)


def _available(sources: Sources) -> dict[str, int]:
    return {name: source.manifest.tokens for name, source in sources.items()}


def _planned(plan: Plan) -> dict[str, int]:
    """Tokens of the whole plan by source."""
    return {row.source: row.tokens for row in table(plan) if row.phase is None}


def common_steps(one: Plan, other: Plan) -> int:
    """The number of first steps in which two plans show the same windows; names of segments and caps do not matter.

    A plan frozen from a recipe with more tokens agrees with the shorter one to its end.
    """
    same = ("sequence_length", "batch_windows", "bos", "bos_id")
    if any(getattr(one, name) != getattr(other, name) for name in same):
        return 0
    steps = 0
    for first, second in zip(one.segments, other.segments, strict=False):
        if _shown(one, first) != _shown(other, second):
            break
        steps = min(first.last_step, second.last_step)  # where lengths differ, the next segments begin at different steps
    return steps


@dataclass(frozen=True)
class ShareRow:
    """A source in a phase (or, phase None, in the whole run).

    ``weight``: what the phase says (in the run: the share of what was asked); ``asked_tokens``: what the recipe's
    numbers come to; ``tokens``: what is planned; ``available``: tokens of one epoch; ``epochs``: planned over available.
    """

    phase: str | None
    source: str
    weight: float
    asked_tokens: float
    tokens: int
    available: int
    epochs: float


def table(plan: Plan) -> list[ShareRow]:
    """What each phase takes from each source, then the same over the run."""
    rows: list[ShareRow] = []
    totals: dict[str, list[float]] = {name: [0.0, 0] for name in plan.names}
    for name in dict.fromkeys(segment.name for segment in plan.segments):
        segments = [segment for segment in plan.segments if segment.name == name]
        for index, source in enumerate(plan.sources):
            taking = [segment for segment in segments if index < len(segment.start)]
            mixes = [(segment, segment.mix(plan.batch_windows)) for segment in taking]
            windows = sum(int(mix.counts(segment.steps * plan.batch_windows)[index]) for segment, mix in mixes)
            asked = sum(_mean_share(segment, index, source.name) * segment.asked_tokens for segment in taking)
            if windows or asked:
                weight = taking[-1].weights.get(source.name, 0.0)
                rows.append(_row(plan, name, source, weight, asked, windows))
                totals[source.name][0] += asked
                totals[source.name][1] += windows
    asked_in_all = sum(asked for asked, _ in totals.values()) or 1.0
    for source in plan.sources:
        asked, total_windows = totals[source.name]
        rows.append(_row(plan, None, source, asked / asked_in_all, asked, int(total_windows)))
    return rows


def _shown(plan: Plan, segment: Segment) -> tuple[Any, ...]:
    """Everything the windows of a segment depend on but its length."""
    columns = zip(plan.sources, segment.start, segment.end, segment.cursors, strict=False)
    return segment.first_step, segment.ramp_steps, [column for column in columns if column[1] or column[2]]


def _row(plan: Plan, phase: str | None, source: PinnedSource, weight: float, asked: float, windows: int) -> ShareRow:
    available = source.windows * plan.sequence_length
    return ShareRow(phase, source.name, weight, asked, windows * plan.sequence_length, available, windows / source.windows)


def _mean_share(segment: Segment, index: int, name: str) -> float:
    """A source's share over the segment; of a cut ramp, over the part that is shown."""
    if not segment.ramp_steps:
        return segment.weights.get(name, 0.0) / sum(segment.weights.values())
    done = segment.steps / segment.ramp_steps
    return (segment.start[index] + (segment.end[index] - segment.start[index]) * done / 2) / sum(segment.start)


def _extended(facts: dict[str, Any], pinned: tuple[PinnedSource, ...], past: tuple[Segment, ...], phases: Sequence[Phase]) -> Plan:
    """Add phases one by one; each begins with the counts the ones before it end with."""
    if not past and not phases:
        raise UserError("a plan has at least one phase", field="mixture.phases", found="none")
    plan: Plan | None = Plan(**facts, sources=pinned, segments=past) if past else None
    for phase in phases:
        segments = _segments(phase, facts, pinned, past)
        for segment in segments:
            cursors = counts_before(plan, plan.steps * plan.batch_windows).tolist() if plan is not None else [0] * len(pinned)
            past = (*past, segment.model_copy(update={"cursors": tuple(cursors)}))
            plan = Plan(**facts, sources=pinned, segments=past)
        assert plan is not None
        check_caps(plan, len(past) - len(segments), phase)
    assert plan is not None
    return plan


def _segments(phase: Phase, facts: dict[str, Any], pinned: tuple[PinnedSource, ...], past: tuple[Segment, ...]) -> list[Segment]:
    """A phase as its ramp, in pieces of at most 2^20 windows, and its constant rest; cursors are not known yet."""
    names = [source.name for source in pinned]
    shares = shares_of(phase.weights, names, f"mixture.phases.{phase.name}.weights")
    batch_tokens = facts["batch_windows"] * facts["sequence_length"]
    steps = -(-phase.tokens // batch_tokens)
    ramp = -(-phase.ramp_tokens // batch_tokens)
    if ramp and not past:
        raise UserError("nothing to ramp from", field=f"mixture.phases.{phase.name}.ramp_tokens", found=phase.ramp_tokens, allowed=[0])
    before = _last_shares(past[-1], len(names)) if past else shares
    longest = LONGEST_RAMP // facts["batch_windows"]
    first = past[-1].last_step if past else 0
    segments: list[Segment] = []
    for done in [*range(0, ramp, longest), ramp]:
        end = min(done + longest, ramp) if done < ramp else steps
        if end == done:
            continue
        constant = done == ramp
        start = shares if constant else between(before, shares, Fraction(done, ramp))
        segment = Segment(
            name=phase.name,
            decay=phase.decay,
            first_step=first + done,
            steps=end - done,
            asked_tokens=min(phase.tokens, end * batch_tokens) - done * batch_tokens,
            start=start,
            end=shares if constant else between(before, shares, Fraction(end, ramp)),
            ramp_steps=0 if constant else end - done,
            cursors=(0,) * len(names),
            weights=dict(phase.weights),
            max_epochs=dict(phase.max_epochs),
        )
        segments.append(segment)
    return segments


def _last_shares(segment: Segment, sources: int) -> Shares:
    """The shares a segment ends with, where it was cut if it was."""
    done = Fraction(segment.steps, segment.ramp_steps) if segment.ramp_steps else Fraction(1)
    return (*between(segment.start, segment.end, done), *([0] * (sources - len(segment.end))))


def _cut(plan: Plan, step: int) -> tuple[Segment, ...]:
    """The segments before a step; the one it falls into is shortened, its shares and windows stay."""
    if not 0 <= step <= plan.steps:
        raise UserError("no such step in the plan", field="step", found=step, allowed=[f"0 to {plan.steps}"])
    kept = [segment for segment in plan.segments if segment.first_step < step]
    if kept and kept[-1].last_step > step:
        steps = step - kept[-1].first_step
        asked = min(kept[-1].asked_tokens, steps * plan.batch_tokens)
        kept[-1] = kept[-1].model_copy(update={"steps": steps, "asked_tokens": asked})
    return tuple(kept)


def _pinned(
    names: Sequence[str], sources: Sources, known: tuple[PinnedSource, ...], sequence_length: int, seed: int
) -> tuple[PinnedSource, ...]:
    """The known sources and, behind them, the new ones."""
    pinned = list(known)
    for name in names:
        if name in {source.name for source in known}:
            continue
        if name not in sources:
            raise UserError(
                "a source without shards", field="mixture.phases.weights", found=name, allowed=sorted({*sources, *(s.name for s in known)})
            )
        pinned.append(_pin(name, sources[name], sequence_length, seed))
        first, last = pinned[0], pinned[-1]
        if (last.tokenizer_hash, last.eos_id) != (first.tokenizer_hash, first.eos_id):
            raise UserError(
                f"{first.name} and {last.name} were encoded with different tokenizers",
                file=sources[name].folder,
                field="tokenizer_hash",
                found=last.tokenizer_hash,
                allowed=[first.tokenizer_hash],
                fix="build all shards of a run with one tokenizer",
            )
    return tuple(pinned)


def _pin(name: str, source: ShardSource, sequence_length: int, seed: int) -> PinnedSource:
    manifest = source.manifest
    windows = manifest.tokens // sequence_length
    if windows == 0:
        raise UserError(
            f"{name} has less than one window of tokens",
            file=source.folder,
            found=f"{manifest.tokens} tokens",
            allowed=[f"at least {sequence_length}, the sequence length"],
            fix="give it more documents, or leave it out of the mixture",
        )
    parts = (PinnedPart(file=part.file, rows=part.rows, tokens=part.tokens, checksum=part.checksum) for part in manifest.parts)
    return PinnedSource(
        name=name,
        tokenizer_hash=manifest.tokenizer_hash,
        dtype=manifest.dtype,
        vocab_size=manifest.vocab_size,
        eos_id=manifest.eos_id,
        tokens=manifest.tokens,
        windows=windows,
        block_windows=block_windows(windows, sequence_length),
        open_blocks=OPEN_BLOCKS,
        key=f"{hash_key(seed, 'order/' + name):016x}",
        parts=tuple(parts),
    )


def _check_batch(sequence_length: int, batch_tokens: int) -> None:
    if sequence_length < 1 or batch_tokens < sequence_length or batch_tokens % sequence_length:
        nearest = max(1, round(batch_tokens / max(1, sequence_length))) * max(1, sequence_length)
        raise UserError(
            "a batch is a whole number of windows",
            field="train.batch_tokens",
            found=f"{batch_tokens} tokens for windows of {sequence_length}",
            fix=f"batch_tokens: {nearest} is {nearest // max(1, sequence_length)} windows",
        )
    if batch_tokens // sequence_length > LONGEST_RAMP:
        raise UserError(
            "too many windows in a batch", field="train.batch_tokens", found=batch_tokens // sequence_length, allowed=[LONGEST_RAMP]
        )
