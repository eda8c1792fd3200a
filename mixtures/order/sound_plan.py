"""Read a plan, and whether its numbers fit together, so that no window of it lies outside its
sources.

Kernels follow these numbers without looking back: a window behind the end of a stream would be
looked for without an end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from artifacts.commands import Command
from artifacts.errors import UserError
from mixtures.order.source_order import SourceOrder, left_rows
from mixtures.plan.format import MOST, PLAN_FORMAT, PinnedSource, Plan, SourceContext

_MOST_BYTES = 1 << 28


def load_plan(path: Path | str) -> Plan:
    """Read a plan, from a file or a URL. Raises: UserError when it is missing, of another format,
    or damaged.
    """
    if "://" in str(path):
        return _load_remote(str(path))
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(
                "the plan is too large to be one",
                file=path,
                found=f"{path.stat().st_size} bytes",
            )
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(
            "no readable plan here",
            file=path,
            found=error.strerror,
            fix=("freeze one: ", Command("mixture plan RECIPE --output FILE")),
        ) from None
    return _parsed(raw, path)


def _load_remote(url: str) -> Plan:
    from artifacts.paths import Store  # fsspec is loaded where it is needed

    folder, _, name = url.rpartition("/")
    try:
        raw = Store(folder).read(name)
    except FileNotFoundError:
        raise UserError(
            "no readable plan here",
            file=url,
            fix=("freeze one: ", Command("mixture plan RECIPE --output FILE")),
        ) from None
    return _parsed(raw, url)


def _parsed(raw: bytes, file: Path | str) -> Plan:
    try:
        plan = Plan.model_validate_json(raw)
    except ValidationError as error:
        raise _unreadable(file, raw, error) from None
    check_sound(plan, file)
    return plan


def check_sound(plan: Plan, file: Path | str | None = None) -> None:
    """Raises: UserError with the first source or context whose numbers do not follow from the
    plan's others; ``file`` is named.
    """
    for source in plan.sources:
        found = sum(part.tokens for part in source.parts)
        if found != source.tokens:
            _refuse(
                file,
                f"sources.{source.name}.tokens",
                f"{source.tokens:,} tokens in parts of {found:,}",
            )
        if max(source.eos_id, plan.bos_id if plan.bos else 0) >= source.vocab_size:
            ids = f"EOS {source.eos_id}" + (f" and BOS {plan.bos_id}" if plan.bos else "")
            _refuse(
                file, f"sources.{source.name}.vocab_size", f"{source.vocab_size:,} ids, and {ids}"
            )
    for number, context in enumerate(plan.contexts):
        for source, own in zip(plan.sources, context.sources, strict=True):
            problem = _odd_windows(source, own, context.sequence_length) or _odd_left(
                plan, number, source, own
            )
            if problem is not None:
                _refuse(file, f"contexts.{number}.sources.{source.name}", problem)
    _check_take_downs(plan, file)
    for segment in plan.segments:
        number, context = plan.context_at(segment.first_step)
        shown = np.array(segment.start, np.int64) + np.array(segment.end, np.int64) > 0
        shown[: len(segment.passed)] |= np.array(segment.passed, np.int64) > 0
        empty = np.array([own.windows == 0 for own in context.sources[: len(shown)]], bool)
        if (shown & empty).any():
            name = plan.names[int(np.argmax(shown & empty))]
            _refuse(
                file,
                f"contexts.{number}.sources.{name}.windows",
                f"none, and segment {segment.name} shows it or passes over it",
            )


def _check_take_downs(plan: Plan, file: Path | str | None) -> None:
    """Raises: UserError at a take-down of a row that its part does not have, or that counts steps
    which the plan does not have.
    """
    rows = {(source.name, part.file): part.rows for source in plan.sources for part in source.parts}
    for number, one in enumerate(plan.take_downs):
        most = rows.get(one.place[:2], MOST)
        if one.row >= most:
            _refuse(file, f"take_downs.{number}.row", f"{one.row:,} of {most:,} rows")
        if one.from_step > plan.steps:
            found = f"step {one.from_step:,} of {plan.steps:,}"
            _refuse(file, f"take_downs.{number}.from_step", found)


def _odd_windows(source: PinnedSource, own: SourceContext, length: int) -> str | None:
    """Why a source cannot have been cut like this, None when it can. One that is not shown yet has
    no windows.
    """
    if source.packing == "stream":
        if own.windows not in (0, source.tokens // length) or own.packed:
            return f"{own.windows:,} windows of {length:,} tokens in {source.tokens:,} tokens"
        return (
            None
            if own.block_tokens % length == 0
            else f"blocks of {own.block_tokens:,} tokens for windows of {length:,}"
        )
    packed = np.array(own.packed, np.int64)
    blocks = 1 if own.packed == (0, 0) else -(-source.tokens // own.block_tokens)
    if (
        len(packed) != blocks + 1
        or packed[0] != 0
        or (np.diff(packed) < 0).any()
        or packed[-1] != own.windows
    ):
        return f"{own.windows:,} windows, and {len(packed):,} counts of them for {blocks:,} blocks"
    return None


def _odd_left(plan: Plan, number: int, source: PinnedSource, own: SourceContext) -> str | None:
    """Why earlier contexts cannot have left these windows, None when they can."""
    index = plan.sources.index(source) if own.left else 0
    for left in own.left:
        former = plan.contexts[left.context]
        order = SourceOrder(
            source,
            former.sources[index],
            former.sequence_length,
            left_rows(plan.contexts, former.sources[index], former.sequence_length),
        )
        begun = order.head + order.left_rows
        most = max(begun, order.windows)
        if (
            left.first > left.last
            or left.last - left.first > most
            or (order.windows == 0 and left.last > begun)
        ):
            return (
                f"windows {left.first:,} to {left.last:,} of context {left.context} "
                f"left for context {number}, which has {most:,}"
            )
    return None


def _refuse(file: Path | str | None, field: str, found: str) -> None:
    raise UserError(
        "the plan is damaged: its numbers do not fit together",
        file=file,
        field=field,
        found=found,
        fix="plans are never edited; restore it, or append a segment",
    )


def _unreadable(path: Path | str, raw: bytes, error: ValidationError) -> UserError:
    """Why a file is not a plan: no JSON, another format, or damage, in this order."""
    try:
        facts: Any = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        return UserError(
            "the plan is not JSON", file=path, found=problem, fix="restore it or freeze it again"
        )
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != PLAN_FORMAT:
        return UserError(
            "a plan this release cannot read",
            file=path,
            field="format",
            found=found,
            allowed=[PLAN_FORMAT],
            fix=("freeze it again: ", Command("mixture plan RECIPE --output FILE")),
        )
    first = error.errors(include_url=False)[0]
    return UserError(
        f"the plan is damaged: {first['msg']}",
        file=path,
        field=".".join(str(place) for place in first["loc"]),
        fix="plans are never edited; restore it, or append a segment",
    )
