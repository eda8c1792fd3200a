"""The frozen plan as a file: pinned sources, contexts, segments in whole steps, canonical JSON and
its hash.

Numbers are integers throughout: steps, windows, tokens, and shares in units of 1 / 2^18. A
*segment* is a stretch of steps with one mixture. A *context* is a stretch of steps with one window
length; it says where in its order every source stood when it began. Segments and contexts follow
one another without a gap, and a context begins with a segment. A plan is never edited:
:func:`mixtures.freeze.freeze.branch` makes a new one that agrees with the old up to a step and says
so in ``history``. :func:`mixtures.order.sound_plan.load_plan` reads one.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import cached_property
from typing import Annotated, Any, Literal

import xxhash
from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.records import Record
from mixtures.sequences.chairman import LONGEST_RAMP, SHARE_UNITS, Mix
from mixtures.spec.rules import MixtureRules

PLAN_FORMAT = "plan/2"
_MOST_TOKENS = 1 << 60
_HEX128 = Field(pattern=r"^[0-9a-f]{32}$")
MOST = 1 << 53
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Packing = Literal["stream", "documents"]


class PinnedPart(Record):
    """One part as it was when the plan was frozen."""

    file: str
    rows: Count
    tokens: Count
    bytes: Count
    checksum: str = _HEX128
    index_checksum: str = _HEX128


class PinnedSource(Record):
    """A source as the plan uses it; ``key`` is that of its order.

    ``manifest``: xxh3_128 of the source's manifest without its tombstones; while a source has none
    and it holds, the parts are those pinned. Empty in a plan of an earlier release that was frozen
    after a take-down. ``packing``: ``stream`` cuts windows from the tokens
    of all documents one behind the other, ``documents`` packs whole documents.
    """

    name: str
    tokenizer_hash: str = _HEX128
    dtype: Literal["uint16", "uint32"]
    vocab_size: Positive
    eos_id: Count
    tokens: Positive
    open_blocks: Positive
    key: str = Field(pattern=r"^[0-9a-f]{16}$")
    packing: Packing = "stream"
    manifest: str = Field(default="", pattern=r"^([0-9a-f]{32})?$")
    parts: tuple[PinnedPart, ...]


class Left(Record):
    """Windows that a context had begun to read around but not shown when it ended: numbers
    ``first`` to ``last`` - 1 of its order.
    """

    context: Count
    first: Count
    last: Count


class SourceContext(Record):
    """Where a source stood when a context began, and how it is cut into windows there.

    Shown are first the groups of blocks from ``group`` on of ``epoch`` (-1: none, the source begins
    with epoch 0), then what earlier contexts ``left``, then whole epochs. ``windows`` are those of
    an epoch. ``packed``: windows in the blocks before each block, and in all, for a source of whole
    documents.
    """

    block_tokens: Positive
    windows: Count
    epoch: Annotated[int, Field(ge=-1, le=1 << 53)] = -1
    group: Count = 0
    left: tuple[Left, ...] = ()
    packed: tuple[Count, ...] = ()


class Context(Record):
    """A stretch of steps with one window length; ``sources`` by the plan's order."""

    first_step: Count
    sequence_length: Positive
    batch_windows: int = Field(ge=1, le=LONGEST_RAMP)
    sources: tuple[SourceContext, ...]

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step."""
        return self.batch_windows * self.sequence_length


class Segment(Record):
    """A stretch of whole steps with constant shares, or with shares that change linearly.

    ``asked_tokens`` is what the recipe said, ``steps`` what it came to. ``start`` and ``end`` are
    shares of windows in units of 1 / 2^18, by the plan's order of sources (sources pinned later
    have none). ``ramp_steps`` is 0 for constant shares, else the steps from start to end, of which
    a cut segment shows the first ``steps``. ``cursors`` say how many windows of each source's order
    are behind it when the segment begins, since the context began: shown, or passed over. Those in
    ``passed`` this segment passes over before its first window, none where it is empty: see
    :mod:`mixtures.freeze.decay_seeds`. ``weights`` and ``max_epochs`` are the recipe's.
    """

    name: str
    decay: bool
    first_step: Count
    steps: Positive
    asked_tokens: Count
    start: tuple[Count, ...]
    end: tuple[Count, ...]
    ramp_steps: Count = 0
    cursors: tuple[Count, ...]
    passed: tuple[Count, ...] = ()
    weights: dict[str, float] = {}
    max_epochs: dict[str, float] = {}

    @property
    def last_step(self) -> int:
        """The step behind the segment's last."""
        return self.first_step + self.steps

    def mix(self, batch_windows: int) -> Mix:
        """The segment's shares as a sequence of windows."""
        return Mix(self.start, self.end, self.ramp_steps * batch_windows)


class Ancestor(Record):
    """An earlier plan and the number of first steps that it shares with this one."""

    hash: str = _HEX128
    steps: Count


class TakeDown(Record):
    """A document that was taken down: row ``row`` of the part ``part`` of a source, shown or not.

    Steps before ``from_step`` have shown it where the plan has a place for it there, the others do
    not; 0 where none has. ``kept``: a training whose weights have seen it was to go on.
    """

    source: str
    part: str
    row: Count
    id: str = _HEX128
    from_step: Count = 0
    kept: bool = False

    @property
    def place(self) -> tuple[str, str, int]:
        """Source, part and row."""
        return self.source, self.part, self.row


class Skip(Record):
    """A stretch of steps that make no update: their windows pass by without a target."""

    first_step: Count
    steps: Positive

    @property
    def last_step(self) -> int:
        """The step behind its last."""
        return self.first_step + self.steps


class Plan(Record):
    """What training will be shown, step by step. Steps count from 0; windows of a context from its
    first step on.
    """

    format: Literal["plan/2"] = "plan/2"
    seed: int
    bos: bool = True
    bos_id: Count = 1
    rules: MixtureRules = MixtureRules()
    sources: tuple[PinnedSource, ...] = Field(min_length=1, max_length=1 << 14)
    contexts: tuple[Context, ...] = Field(min_length=1)
    segments: tuple[Segment, ...] = Field(min_length=1)
    history: tuple[Ancestor, ...] = ()
    take_downs: tuple[TakeDown, ...] = ()
    skipped: tuple[Skip, ...] = ()

    @model_validator(mode="after")
    def _segments_join(self) -> Plan:
        step = 0
        for segment in self.segments:
            batch = self.context_at(segment.first_step)[1].batch_windows
            known = (
                len(segment.start) == len(segment.end) == len(segment.cursors) <= len(self.sources)
            )
            whole = sum(segment.start) == sum(segment.end) == SHARE_UNITS
            ramp = segment.ramp_steps == 0 and segment.start == segment.end
            ramp = ramp or segment.steps <= segment.ramp_steps <= LONGEST_RAMP // batch
            passed = len(segment.passed) in (0, len(segment.cursors) * any(segment.passed))
            if segment.first_step != step or not (known and whole and ramp and passed):
                raise ValueError(
                    f"segment {segment.name} at step {segment.first_step} does not follow from the "
                    "ones before"
                )
            step = segment.last_step
        starts = {segment.first_step for segment in self.segments}
        firsts = [context.first_step for context in self.contexts]
        if firsts[0] != 0 or firsts != sorted(set(firsts)) or not starts.issuperset(firsts):
            raise ValueError(f"contexts begin at steps {firsts}, not each with a segment")
        for number, context in enumerate(self.contexts):
            left = [left.context for source in context.sources for left in source.left]
            if len(context.sources) != len(self.sources) or any(other >= number for other in left):
                raise ValueError(
                    f"the context at step {context.first_step} does not follow from the ones before"
                )
        if self.tokens > _MOST_TOKENS:
            raise ValueError(f"a run of {self.tokens} tokens is beyond 2^60")
        return self

    @model_validator(mode="after")
    def _skips_in_order(self) -> Plan:
        borders = [step for one in self.skipped for step in (one.first_step, one.last_step)]
        if borders != sorted(set(borders)) or (borders and borders[-1] > self.steps):
            raise ValueError(f"steps skipped from and up to {borders}, not apart and in order")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Sources by index."""
        return tuple(source.name for source in self.sources)

    @property
    def sequence_length(self) -> int:
        """Tokens of a window in the first context."""
        return self.contexts[0].sequence_length

    @property
    def batch_windows(self) -> int:
        """Windows of a step in the first context."""
        return self.contexts[0].batch_windows

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step in the first context."""
        return self.contexts[0].batch_tokens

    @property
    def steps(self) -> int:
        """Steps of all segments."""
        return self.segments[-1].last_step

    @property
    def tokens(self) -> int:
        """Tokens of all segments."""
        return self.tokens_before(self.steps)

    @property
    def decay_step(self) -> int | None:
        """The first step of the (first) decay, None when there is none."""
        return next((segment.first_step for segment in self.segments if segment.decay), None)

    @cached_property
    def hash(self) -> str:
        """32 hex digits, xxh3_128 of :meth:`to_json`."""
        return xxhash.xxh3_128_hexdigest(self.to_json())

    @cached_property
    def segment_starts(self) -> list[int]:
        """First steps of the segments."""
        return [segment.first_step for segment in self.segments]

    @cached_property
    def context_starts(self) -> list[int]:
        """First steps of the contexts."""
        return [context.first_step for context in self.contexts]

    @cached_property
    def skip_starts(self) -> list[int]:
        """First steps of the stretches skipped."""
        return [one.first_step for one in self.skipped]

    def segment_at(self, step: int) -> Segment:
        """The segment that holds a step, the last one for the step behind the end. Raises:
        UserError outside the plan.
        """
        self._check(step)
        return self.segments[bisect_right(self.segment_starts, step) - 1]

    def context_at(self, step: int) -> tuple[int, Context]:
        """The context that holds a step, and its number; for the step behind the end the last
        one.
        """
        number = bisect_right(self.context_starts, step) - 1
        return number, self.contexts[number]

    def tokens_before(self, step: int) -> int:
        """Tokens of the steps before ``step``."""
        tokens = 0
        for context, last in zip(self.contexts, [*self.context_starts[1:], step], strict=True):
            tokens += max(0, min(step, last) - context.first_step) * context.batch_tokens
        return tokens

    def step_at(self, tokens: int) -> int:
        """The first step before which at least ``tokens`` tokens are shown; the plan's end when
        there are fewer.
        """
        for number, context in enumerate(self.contexts):
            last = (
                self.contexts[number + 1].first_step
                if number + 1 < len(self.contexts)
                else self.steps
            )
            before = self.tokens_before(context.first_step)
            step = context.first_step - (before - tokens) // context.batch_tokens
            if step <= last:
                return max(step, context.first_step)
        return self.steps

    def skips(self, step: int) -> bool:
        """Whether a step makes no update."""
        place = bisect_right(self.skip_starts, step) - 1
        return place >= 0 and step < self.skipped[place].last_step

    def agrees_with(self, plan_hash: str, steps: int) -> bool:
        """Whether a run that did ``steps`` steps of the plan of that hash can go on with this
        one.
        """
        if plan_hash == self.hash:
            return steps <= self.steps
        return any(
            plan_hash == ancestor.hash and steps <= ancestor.steps for ancestor in self.history
        )

    def history_of(self, step: int) -> tuple[Ancestor, ...]:
        """The history of a plan that agrees with this one in its first ``step`` steps."""
        kept = [ancestor for ancestor in self.history if ancestor.steps <= step]
        shortened = [
            ancestor.model_copy(update={"steps": step})
            for ancestor in self.history
            if ancestor.steps > step
        ]
        return (*shortened, *kept, Ancestor(hash=self.hash, steps=step))

    def changed(self, **facts: Any) -> Plan:
        """A plan with other values of some fields."""
        return Plan(**{name: getattr(self, name) for name in Plan.model_fields} | facts)

    def to_json(self) -> bytes:
        """Canonical bytes: sorted keys, UTF-8, one line end; take-downs, skipped steps and windows
        passed over only where there are some.
        """
        left_out: dict[str, Any] = {
            name: True for name in ("take_downs", "skipped") if not getattr(self, name)
        }
        left_out["segments"] = {
            place: {"passed"} for place, segment in enumerate(self.segments) if not segment.passed
        }
        return (
            json.dumps(
                self.model_dump(mode="json", exclude=left_out),
                sort_keys=True,
                indent=1,
                ensure_ascii=False,
                allow_nan=False,
            ).encode()
            + b"\n"
        )

    def _check(self, step: int) -> None:
        if not 0 <= step <= self.steps:
            raise UserError(
                "no such step in the plan", field="step", found=step, allowed=[f"0 to {self.steps}"]
            )
