"""Contexts: where sources stand when windows get another length.

A source that is in the middle of a group of blocks goes on with the next group; what it has not
shown of the open one is *left* and comes behind the epoch's other groups
(:mod:`mixtures.order.source_order`). Where the blocks cannot hold the new windows the whole rest of
the epoch is left, and the next epoch has blocks that can.
"""

from __future__ import annotations

from artifacts.errors import UserError
from mixtures.freeze.pinning import Sources, cut
from mixtures.order.interleave import counts_at_end
from mixtures.order.source_order import SourceOrder, source_orders
from mixtures.parts.part_files import PartFiles
from mixtures.plan.format import Context, Left, PinnedSource, Plan, SourceContext
from tokenizer.shards.reader import ShardSource


def first_context(
    pinned: tuple[PinnedSource, ...],
    sources: Sources,
    length: int,
    batch_windows: int,
    longest: int,
) -> Context:
    """The context of a plan's first step."""
    own = tuple(_fresh(source, sources, length, longest) for source in pinned)
    return Context(first_step=0, sequence_length=length, batch_windows=batch_windows, sources=own)


def continued(
    contexts: tuple[Context, ...], pinned: tuple[PinnedSource, ...], sources: Sources, longest: int
) -> tuple[Context, ...]:
    """The same contexts with places for sources that were pinned meanwhile: they begin in the last
    one.
    """
    new = pinned[len(contexts[-1].sources) :]
    if not new:
        return contexts
    out = []
    for number, context in enumerate(contexts):
        here = number == len(contexts) - 1
        length = context.sequence_length
        own = tuple(
            _fresh(source, sources, length, longest) if here else _absent(source, length)
            for source in new
        )
        out.append(context.model_copy(update={"sources": (*context.sources, *own)}))
    return tuple(out)


def next_context(
    plan: Plan, sources: Sources, length: int, batch_windows: int, longest: int
) -> Context:
    """The context behind a plan's last step, with windows of ``length`` tokens."""
    number = len(plan.contexts) - 1
    shown = counts_at_end(plan, number).tolist()
    own = tuple(
        _resumed(order, number, count, sources, length, longest)
        for order, count in zip(source_orders(plan, number), shown, strict=True)
    )
    return Context(
        first_step=plan.steps, sequence_length=length, batch_windows=batch_windows, sources=own
    )


def _fresh(pinned: PinnedSource, sources: Sources, length: int, longest: int) -> SourceContext:
    return cut(pinned, _opened(pinned, sources), length, None, longest)


def _absent(pinned: PinnedSource, length: int) -> SourceContext:
    """In contexts that were over before a source was pinned."""
    return SourceContext(
        block_tokens=length, windows=0, packed=(0, 0) if pinned.packing == "documents" else ()
    )


def _opened(pinned: PinnedSource, sources: Sources) -> ShardSource | PartFiles | None:
    if pinned.packing == "documents" and pinned.name not in sources:
        raise UserError(
            f"the lengths of the documents of {pinned.name} decide how they are packed, and its "
            "shards were not given",
            field="sources",
            found=sorted(sources),
            allowed=[pinned.name],
            fix="open its shards and pass them",
        )
    return sources.get(pinned.name)


def _resumed(
    order: SourceOrder, number: int, shown: int, sources: Sources, length: int, longest: int
) -> SourceContext:
    """A source's place in the next context, after ``shown`` windows in context ``number``."""
    own = order.context
    keeps = (
        order.windows > 0
        and own.block_tokens >= length
        and (order.packed or own.block_tokens % length == 0)
    )
    fresh = cut(
        order.pinned,
        _opened(order.pinned, sources),
        length,
        own.block_tokens if keeps else None,
        longest,
    )
    begun = order.head + order.left_rows
    if shown > begun:  # in whole epochs
        epochs, place = divmod(shown - begun, order.windows)
        epoch, group = own.epoch + epochs + (1 if place else 0), order.groups
        rest: tuple[Left, ...] = ()
        if place:
            group, end = _behind(order, epoch, place)
            stop = begun + epochs * order.windows + (end if keeps else order.windows)
            rest = (Left(context=number, first=shown, last=stop),) if stop > shown else ()
    elif shown > order.head or not keeps:  # in what was left, or in blocks that end here
        epoch, group = own.epoch, order.groups
        rest = (Left(context=number, first=shown, last=begun),) if begun > shown else ()
    elif own.epoch < 0:
        return fresh
    else:
        epoch, rest = own.epoch, own.left
        group, end = _behind(order, epoch, order.head_place + shown)
        stop = end - order.head_place
        rest = (*rest, Left(context=number, first=shown, last=stop)) if stop > shown else rest
    if not keeps:
        group = -(-order.pinned.tokens // fresh.block_tokens)  # behind every group there is
    return fresh.model_copy(update={"epoch": epoch, "group": group, "left": rest})


def _behind(order: SourceOrder, epoch: int, place: int) -> tuple[int, int]:
    """The first group of an epoch that begins at or behind a place, and the place where it
    begins.
    """
    group = order.group_at(epoch, place)
    if order.group_place(epoch, group) < place:
        group += 1
    return group, order.group_place(epoch, group)
