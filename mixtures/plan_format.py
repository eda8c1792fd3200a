"""The frozen plan as a file: pinned sources, segments in whole steps, canonical JSON and its hash.

Numbers are integers throughout: steps, windows, tokens, and shares in units of 1 / 2^20. Segments follow
one another without a gap; what a source has shown before a segment is the segment's *cursor*. A plan is
never edited: :func:`mixtures.plan.append_segment` makes a new one that agrees with the old up to a step
and says so in ``history``.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from artifacts.errors import UserError
from mixtures.chairman import LONGEST_RAMP, SHARE_UNITS, Mix
from mixtures.order import SourceOrders
from mixtures.rules import MixtureRules

PLAN_FORMAT = "plan/1"
_MAX_PLAN_BYTES = 1 << 28
_MOST_TOKENS = 1 << 60
_HEX128 = Field(pattern=r"^[0-9a-f]{32}$")
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Positive = Annotated[int, Field(ge=1, le=1 << 53)]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class PinnedPart(BaseModel):
    """One part as it was when the plan was frozen."""

    model_config = _FROZEN

    file: str
    rows: Count
    tokens: Count
    checksum: str = _HEX128


class PinnedSource(BaseModel):
    """A source as the plan uses it; ``windows`` are those of one epoch, ``key`` that of its order."""

    model_config = _FROZEN

    name: str
    tokenizer_hash: str = _HEX128
    dtype: Literal["uint16", "uint32"]
    vocab_size: Positive
    eos_id: Count
    tokens: Positive
    windows: Positive
    block_windows: Positive
    open_blocks: Positive
    key: str = Field(pattern=r"^[0-9a-f]{16}$")
    parts: tuple[PinnedPart, ...]


class Segment(BaseModel):
    """A stretch of whole steps with constant shares, or with shares that change linearly.

    ``asked_tokens`` is what the recipe said, ``steps`` what it came to. ``start`` and ``end`` are shares in
    units of 1 / 2^20, by the plan's order of sources (sources pinned later have none). ``ramp_steps`` is 0 for
    constant shares, else the steps from start to end, of which a cut segment shows the first ``steps``.
    ``cursors`` are the windows each source has shown before. ``weights`` and ``max_epochs`` are the recipe's.
    """

    model_config = _FROZEN

    name: str
    decay: bool
    first_step: Count
    steps: Positive
    asked_tokens: Count
    start: tuple[Count, ...]
    end: tuple[Count, ...]
    ramp_steps: Count = 0
    cursors: tuple[Count, ...]
    weights: dict[str, float] = {}
    max_epochs: dict[str, float] = {}

    @property
    def last_step(self) -> int:
        """The step behind the segment's last."""
        return self.first_step + self.steps

    def mix(self, batch_windows: int) -> Mix:
        """The segment's shares as a sequence of windows."""
        return Mix(self.start, self.end, self.ramp_steps * batch_windows)


class Ancestor(BaseModel):
    """An earlier plan and the number of first steps that it shares with this one."""

    model_config = _FROZEN

    hash: str = _HEX128
    steps: Count


class Plan(BaseModel):
    """What training will be shown, step by step. Steps count from 0: step s shows windows s * batch_windows and on."""

    model_config = _FROZEN

    format: Literal["plan/1"] = "plan/1"
    seed: int
    sequence_length: Positive
    batch_windows: int = Field(ge=1, le=LONGEST_RAMP)
    bos: bool = True
    bos_id: Count = 1
    rules: MixtureRules = MixtureRules()
    sources: tuple[PinnedSource, ...] = Field(min_length=1, max_length=1 << 14)
    segments: tuple[Segment, ...] = Field(min_length=1)
    history: tuple[Ancestor, ...] = ()

    @model_validator(mode="after")
    def _segments_join(self) -> Plan:
        step = 0
        for segment in self.segments:
            known = len(segment.start) == len(segment.end) == len(segment.cursors) <= len(self.sources)
            whole = sum(segment.start) == sum(segment.end) == SHARE_UNITS
            ramp = segment.ramp_steps == 0 and segment.start == segment.end
            ramp = ramp or segment.steps <= segment.ramp_steps <= LONGEST_RAMP // self.batch_windows
            if segment.first_step != step or not (known and whole and ramp):
                raise ValueError(f"segment {segment.name} at step {segment.first_step} does not follow from the ones before")
            step = segment.last_step
        if self.tokens > _MOST_TOKENS:
            raise ValueError(f"a run of {self.tokens} tokens is beyond 2^60")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Sources by index."""
        return tuple(source.name for source in self.sources)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step."""
        return self.batch_windows * self.sequence_length

    @property
    def steps(self) -> int:
        """Steps of all segments."""
        return self.segments[-1].last_step

    @property
    def tokens(self) -> int:
        """Tokens of all segments."""
        return self.steps * self.batch_tokens

    @property
    def decay_step(self) -> int | None:
        """The first step of the (first) decay, None when there is none."""
        return next((segment.first_step for segment in self.segments if segment.decay), None)

    @cached_property
    def hash(self) -> str:
        """32 hex digits, xxh3_128 of :meth:`to_json`."""
        return xxhash.xxh3_128_hexdigest(self.to_json())

    @cached_property
    def orders(self) -> SourceOrders:
        """What decides the order inside each source."""
        return SourceOrders(
            windows=np.array([source.windows for source in self.sources], np.int64),
            block_windows=np.array([source.block_windows for source in self.sources], np.int64),
            open_blocks=np.array([source.open_blocks for source in self.sources], np.int64),
            keys=np.array([int(source.key, 16) for source in self.sources], np.uint64),
        )

    def segment_at(self, step: int) -> Segment:
        """The segment that holds a step, the last one for the step behind the end. Raises: UserError outside the plan."""
        if not 0 <= step <= self.steps:
            raise UserError("no such step in the plan", field="step", found=step, allowed=[f"0 to {self.steps}"])
        starts = [segment.first_step for segment in self.segments]
        return self.segments[bisect_right(starts, step) - 1]

    def agrees_with(self, plan_hash: str, steps: int) -> bool:
        """Whether a run that did ``steps`` steps of the plan of that hash can go on with this one."""
        if plan_hash == self.hash:
            return steps <= self.steps
        return any(plan_hash == ancestor.hash and steps <= ancestor.steps for ancestor in self.history)

    def to_json(self) -> bytes:
        """Canonical bytes: sorted keys, UTF-8, one line end."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read a plan. Raises: UserError when it is missing, of another format, or damaged."""
        path = Path(path)
        try:
            if path.stat().st_size > _MAX_PLAN_BYTES:
                raise UserError("the plan is too large to be one", file=path, found=f"{path.stat().st_size} bytes")
            facts = json.loads(path.read_bytes())
        except OSError as error:
            raise UserError(
                "no readable plan here", file=path, found=error.strerror, fix="freeze one with `windtunnel mixture plan`"
            ) from None
        except (ValueError, RecursionError) as error:
            raise UserError("the plan is not JSON", file=path, found=error, fix="restore it or freeze it again") from None
        found = facts.get("format") if isinstance(facts, dict) else None
        if found != PLAN_FORMAT:
            raise UserError("a plan this release cannot read", file=path, field="format", found=found, allowed=[PLAN_FORMAT])
        try:
            return cls.model_validate(facts)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UserError(
                f"the plan is damaged: {first['msg']}",
                file=path,
                field=".".join(str(place) for place in first["loc"]),
                fix="plans are never edited; restore it, or append a segment",
            ) from None
