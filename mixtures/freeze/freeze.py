"""Freeze a mixture: from shares of tokens to whole steps over pinned shards.

    plan = freeze(spec, sources, sequence_length=256, batch_tokens=4096, seed=1)
    Path("plan.json").write_bytes(plan.to_json())
    for row in table(plan): ...
    other = branch(plan, 300, [decay_phase])        # the first 300 steps, then another decay

Phases are rounded up to whole batches; the plan keeps what was asked and what it came to.
Everything a batch depends on is in the plan, so a batch is a function of (plan, step): see
:mod:`mixtures.loader.loader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from artifacts.errors import UserError
from mixtures.freeze.caps import check_caps
from mixtures.freeze.contexts import continued, first_context, next_context
from mixtures.freeze.decay_seeds import set_apart
from mixtures.freeze.pinning import Sources, check_one_tokenizer, pin
from mixtures.freeze.plan_table import table
from mixtures.freeze.repetitions import check_repetitions
from mixtures.freeze.skips import skips_until
from mixtures.freeze.take_downs import take_downs_until
from mixtures.order.block_sizes import OPEN_TOKENS
from mixtures.order.interleave import counts_at_end
from mixtures.parts.open_parts import files_of
from mixtures.plan.format import Context, PinnedSource, Plan, Segment, Skip
from mixtures.plan.shares import between, fill_of, shares_of
from mixtures.sequences.chairman import LONGEST_RAMP, Shares
from mixtures.spec.batches import check_batch, place_of_batch
from mixtures.spec.resolve import check_windows, names_of, resolve, resolve_phases
from mixtures.spec.rules import check_hold_out, check_min_tokens, check_one_decay, check_reserve
from mixtures.spec.spec import MixtureSpec, Phase, PhaseSpec

__all__ = ["Plan", "Segment", "append_segment", "branch", "common_steps", "freeze"]


def freeze(
    spec: MixtureSpec,
    sources: Sources,
    *,
    sequence_length: int,
    batch_tokens: int,
    seed: int,
    bos: bool = True,
    bos_id: int = 1,
    open_tokens: int = OPEN_TOKENS,
) -> Plan:
    """Plan a mixture over shards.

    ``sources``: opened shards by name; those without a weight are left out. ``bos``: whether
    documents begin with ``bos_id`` (see :mod:`mixtures.loader.loader`). ``open_tokens``: up to how
    many tokens a source is shuffled as a whole in every epoch; larger ones are shuffled a few
    blocks at a time (:mod:`mixtures.order.source_order`). Raises: UserError when a source has no
    shards or less than a window, when tokenizers differ, when batches are not whole windows, when a
    cap on epochs is exceeded, and as :func:`mixtures.spec.resolve.resolve`.
    """
    check_batch(sequence_length, batch_tokens)
    available = _available(sources)
    check_windows(spec.phases, available, sequence_length)
    phases = resolve(spec, available)
    draft = _Draft(
        {"seed": seed, "bos": bos, "bos_id": bos_id, "rules": spec.rules},
        sources,
        dict(spec.packing),
        open_tokens=open_tokens,
    )
    draft.pin(names_of(phases))
    for phase in phases:
        draft.add(phase, phases, sequence_length, batch_tokens)
    plan = draft.plan()
    check_min_tokens(
        spec.min_tokens,
        {row.source: row.tokens for row in table(plan) if row.phase is None},
        phases,
        sequence_length,
    )
    return plan


def append_segment(
    plan: Plan, phase: PhaseSpec, at_step: int, sources: Sources | None = None
) -> Plan:
    """A plan that agrees with this one before ``at_step`` and shows one more phase from there on.

    ``sources``: shards of sources the plan does not know yet, and of all when the phase has another
    window length. Raises: UserError as :func:`freeze`, and when ``at_step`` is outside the plan.
    """
    return branch(plan, at_step, [phase], sources)


def branch(
    plan: Plan,
    step: int,
    phases: Sequence[PhaseSpec],
    sources: Sources | None = None,
    name: str | None = None,
    ahead: int = 0,
) -> Plan:
    """A plan that agrees with this one before ``step`` and goes on with other phases.

    Percents are of the tokens this plan was asked for in all. ``name``: of the branch, for sources
    reserved for it. ``ahead``: how many seeds of this ending come before, whose windows it passes
    over (:mod:`mixtures.freeze.decay_seeds`). Raises: UserError as :func:`append_segment`, for
    sources that the plan's rules reserve or hold out, and as
    :func:`~mixtures.freeze.decay_seeds.set_apart`.
    """
    past = _cut(plan, step)
    last = plan.context_at(max(step - 1, 0))[1]
    available = _available(sources or {}) | {source.name: source.tokens for source in plan.sources}
    check_windows(phases, available, last.sequence_length)
    resolved = resolve_phases(
        phases, available, sum(segment.asked_tokens for segment in plan.segments)
    )
    check_hold_out(resolved, plan.rules)
    before = (
        dict(zip(plan.names, _last_shares(past[-1], len(plan.sources)), strict=True))
        if past
        else None
    )
    decaying = [segment.name for segment in past if segment.decay]
    check_one_decay(resolved, decaying[-1] if decaying else None, name)
    check_reserve(resolved, plan.rules, bool(decaying), name, before)
    facts = {
        **plan.model_dump(include={"seed", "bos", "bos_id", "rules"}),
        "history": plan.history_of(step),
        "take_downs": take_downs_until(plan, step),
        "skipped": skips_until(plan, step),
    }
    contexts = tuple(context for context in plan.contexts if context.first_step < step)
    known = _known(past[-1], contexts[-1]) if past else len(plan.sources)
    contexts = tuple(
        context.model_copy(update={"sources": context.sources[:known]}) for context in contexts
    )
    later = {source.name: source for source in plan.sources[known:]}
    draft = _Draft(facts, sources or {}, {}, plan.sources[:known], contexts, past, later)
    draft.pin(names_of(resolved))
    for phase in resolved:
        draft.add(phase, resolved, last.sequence_length, last.batch_tokens)
    made = set_apart(draft.plan(), step, ahead)
    check_repetitions(made)
    return made


def _available(sources: Sources) -> dict[str, int]:
    return {name: source.manifest.tokens for name, source in sources.items()}


def common_steps(one: Plan, other: Plan) -> int:
    """The number of first steps in which two plans show the same windows; names of segments and
    caps do not matter.

    A plan frozen from a recipe with more tokens agrees with the shorter one to its end.
    """
    if (one.bos, one.bos_id) != (other.bos, other.bos_id):
        return 0
    steps = 0
    for first, second in zip(one.segments, other.segments, strict=False):
        if _shown(one, first) != _shown(other, second):
            break
        # where lengths differ, the next segments begin at different steps
        steps = min(first.last_step, second.last_step)
    skips = {step for plan in (one, other) for skip in plan.skipped for step in _edges(skip)}
    apart = (step for step in sorted(skips) if one.skips(step) != other.skips(step))
    return min(steps, next(apart, steps))


def _edges(skip: Skip) -> tuple[int, int]:
    return skip.first_step, skip.last_step


@dataclass
class _Draft:
    """A plan in the making: pinned sources, contexts and segments so far; ``later`` were pinned
    once and are not shown yet, by name.
    """

    facts: dict[str, Any]
    sources: Sources
    packing: dict[str, Any]
    pinned: tuple[PinnedSource, ...] = ()
    contexts: tuple[Context, ...] = ()
    segments: tuple[Segment, ...] = ()
    later: Mapping[str, PinnedSource] = field(default_factory=dict)
    open_tokens: int = OPEN_TOKENS

    def plan(self) -> Plan:
        """Raises: UserError when nothing was added."""
        if not self.segments:
            raise UserError("a plan has at least one phase", field="mixture.phases", found="none")
        return Plan(
            **self.facts, sources=self.pinned, contexts=self.contexts, segments=self.segments
        )

    def pin(self, names: Sequence[str]) -> None:
        """Pin the sources that are not yet, behind the others."""
        known = {source.name for source in self.pinned}
        for name in names:
            if name in known:
                continue
            if name not in self.sources and name not in self.later:
                allowed = sorted({*self.sources, *known, *self.later})
                raise UserError(
                    "a source without shards",
                    field="mixture.phases.weights",
                    found=name,
                    allowed=allowed,
                )
            seed: int = self.facts["seed"]
            made = (
                self.later[name]
                if name in self.later
                else pin(name, self.sources[name], self.packing.get(name), seed, self.open_tokens)
            )
            self.pinned = (*self.pinned, made)
            check_one_tokenizer(self.pinned, self.sources)

    def add(
        self, phase: Phase, phases: Sequence[Phase], sequence_length: int, batch_tokens: int
    ) -> None:
        """Add a phase in the context it asks for; each segment begins with the counts the ones
        before it end with.
        """
        self._enter(phase, phases, sequence_length, batch_tokens)
        segments = _segments(phase, self.contexts[-1], self.pinned, self.segments)
        first = len(self.segments)
        for segment in segments:
            cursors = [0] * len(self.pinned)
            if self.contexts[-1].first_step < segment.first_step:
                cursors = counts_at_end(self.plan(), len(self.contexts) - 1).tolist()
            self.segments = (*self.segments, segment.model_copy(update={"cursors": tuple(cursors)}))
        check_caps(self.plan(), first, phase)

    def _enter(
        self, phase: Phase, phases: Sequence[Phase], sequence_length: int, batch_tokens: int
    ) -> None:
        """The context of a phase: the last one where windows and batches stay, else a new one."""
        now = self.contexts[-1] if self.contexts else None
        length = phase.sequence_length or (now.sequence_length if now else sequence_length)
        tokens = phase.batch_tokens or (now.batch_tokens if now else batch_tokens)
        check_batch(length, tokens, place_of_batch(phase))
        longest = max([length, *(other.sequence_length or 0 for other in phases)])
        if now is None:
            self.contexts = (
                first_context(self.pinned, self.sources, length, tokens // length, longest),
            )
        else:
            self.contexts = continued(self.contexts, self.pinned, self.sources, longest)
            if (length, tokens) != (now.sequence_length, now.batch_tokens):
                self.contexts = (
                    *self.contexts,
                    next_context(self.plan(), self.sources, length, tokens // length, longest),
                )
        fading = (
            _last_shares(self.segments[-1], len(self.pinned))
            if phase.ramp_tokens and self.segments
            else ()
        )
        _check_windows(phase, fading, self.contexts[-1], self.pinned, self.sources)


def _shown(plan: Plan, segment: Segment) -> tuple[Any, ...]:
    """Everything the windows of a segment depend on but its length."""
    context = plan.context_at(segment.first_step)[1]
    columns = zip(
        plan.sources, context.sources, segment.start, segment.end, segment.cursors, strict=False
    )
    shape = (context.first_step, context.sequence_length, context.batch_windows)
    return (
        segment.first_step,
        segment.ramp_steps,
        shape,
        [column for column in columns if column[2] or column[3]],
    )


def _segments(
    phase: Phase, context: Context, pinned: tuple[PinnedSource, ...], past: tuple[Segment, ...]
) -> list[Segment]:
    """A phase as its ramp, in pieces of at most 2^18 windows, and its constant rest; cursors are
    not known yet.
    """
    names = [source.name for source in pinned]
    fills = {
        source.name: fill_of(source, own, context.sequence_length)
        for source, own in zip(pinned, context.sources, strict=True)
    }
    shares = shares_of(phase.weights, names, (*phase.address, "weights"), fills)
    batch_tokens = context.batch_tokens
    steps = -(-phase.tokens // batch_tokens)
    ramp = -(-phase.ramp_tokens // batch_tokens)
    if ramp and not past:
        raise UserError(
            "nothing to ramp from",
            field=(*phase.address, "ramp_tokens"),
            found=phase.ramp_tokens,
            allowed=[0],
        )
    before = _last_shares(past[-1], len(names)) if past else shares
    longest = LONGEST_RAMP // context.batch_windows
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
    """The segments before a step; the one it falls into is shortened, its shares and windows
    stay.
    """
    if not 0 <= step <= plan.steps:
        raise UserError(
            "no such step in the plan", field="step", found=step, allowed=[f"0 to {plan.steps}"]
        )
    kept = [segment for segment in plan.segments if segment.first_step < step]
    if kept and kept[-1].last_step > step:
        steps = step - kept[-1].first_step
        asked = min(
            kept[-1].asked_tokens, steps * plan.context_at(kept[-1].first_step)[1].batch_tokens
        )
        kept[-1] = kept[-1].model_copy(update={"steps": steps, "asked_tokens": asked})
    return tuple(kept)


def _known(last: Segment, context: Context) -> int:
    """How many sources stand in a segment or its context; those pinned behind them have no place
    there yet.
    """
    sources = len(context.sources)
    while sources > len(last.start) and context.sources[sources - 1].windows == 0:
        sources -= 1
    return sources


def _check_windows(
    phase: Phase,
    fading: Shares,
    context: Context,
    pinned: tuple[PinnedSource, ...],
    sources: Sources,
) -> None:
    """Every source that a phase shows has a window in its context, those that its ramp fades out
    (``fading``) too.
    """
    for index, (source, own) in enumerate(zip(pinned, context.sources, strict=True)):
        weighed = phase.weights.get(source.name, 0) > 0
        if own.windows == 0 and (weighed or (fading and fading[index])):
            fix = "give it more documents, use shorter windows, or leave it out of the mixture"
            raise UserError(
                f"{source.name} has less than one window of tokens",
                file=files_of(sources[source.name]).where if source.name in sources else None,
                field=(*phase.address, "weights" if weighed else "ramp_tokens"),
                found=f"{source.tokens} tokens",
                allowed=[f"at least {context.sequence_length}, the sequence length"],
                fix=fix
                if weighed
                else f"start this phase without a ramp, which still shows {source.name}, or {fix}",
            )
