"""How likely continuations are after contexts, each context read once.

    found = likelihoods(model, requests, window=256)
    found.answers[0].nats, found.answers[0].greedy, found.cut

Continuations of one context are grouped. A context is read into a cache; its end says how
likely the first token of each continuation is, and where one is longer, it is read from there, row
by row beside others. A context with a single continuation is read with it in one pass. Contexts of
like length are read together.

Shapes: B rows, T tokens of the longest, D width, V vocabulary, n tokens that are predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.model import Model
from trainer.model.cache import Cache

TOGETHER = 8192
"""Tokens, padding included, of contexts that are read at once."""

Ids = tuple[int, ...]


class Request(NamedTuple):
    """Ids to read first, at least one, and ids that may follow, at least one."""

    context: Ids
    continuation: Ids


class Answer(NamedTuple):
    """The log-likelihood of a continuation in ``nats``, and whether every token of it is the
    likeliest one (``greedy``).
    """

    nats: float
    greedy: bool


class Likelihoods(NamedTuple):
    """``answers`` to requests in their order; of ``cut`` of them the window held the end alone."""

    answers: list[Answer]
    cut: int


class _Group(NamedTuple):
    """A context and what may follow it, with the place of each among all that were asked."""

    context: Ids
    options: tuple[Ids, ...]
    places: tuple[int, ...]


def likelihoods(model: Model, requests: Sequence[Request], window: int) -> Likelihoods:
    """Answers to all requests; a model reads ``window`` tokens at most, of longer ones the last."""
    kept = [fitted(request, window) for request in requests]
    asked = {request: place for place, request in enumerate(dict.fromkeys(kept))}
    groups = _groups(list(asked), alone=model.config.rotary.scaling == "dynamic")
    answers: list[Answer] = [Answer(0.0, True)] * len(asked)
    with torch.inference_mode():
        for batch in _batches(groups):
            for place, answer in _answered(model, batch):
                answers[place] = answer
    cut = sum(request != whole for request, whole in zip(kept, requests, strict=True))
    return Likelihoods([answers[asked[request]] for request in kept], cut)


def fitted(request: Request, window: int) -> Request:
    """The end of a request of which ``window`` tokens are read; the last one is only predicted."""
    surplus = len(request.context) + len(request.continuation) - (window + 1)
    if surplus <= 0:
        return request
    whole = request.context + request.continuation
    first = max(1, len(request.context) - surplus)  # something is read before what is predicted
    return Request(whole[surplus:][:first], whole[surplus:][first:])


def _groups(requests: Sequence[Request], alone: bool) -> list[_Group]:
    """Requests by context; ``alone``: angles of positions change with length, nothing is shared."""
    by_context: dict[object, list[int]] = {}
    for place, request in enumerate(requests):
        by_context.setdefault(place if alone else request.context, []).append(place)
    return [
        _Group(
            requests[places[0]].context,
            tuple(requests[place].continuation for place in places),
            tuple(places),
        )
        for places in by_context.values()
    ]


def _batches(groups: Sequence[_Group]) -> Iterator[list[_Group]]:
    """Groups of like length together, those with one continuation apart."""
    for single in (True, False):
        chosen = [group for group in groups if (len(group.options) == 1) == single]
        batch: list[_Group] = []
        for group in sorted(chosen, key=_length, reverse=True):
            if batch and _length(batch[0]) * (len(batch) + 1) > TOGETHER:
                yield batch
                batch = []
            batch.append(group)
        if batch:
            yield batch


def _length(group: _Group) -> int:
    return len(group.context) + max(len(option) for option in group.options)


def _answered(model: Model, batch: Sequence[_Group]) -> Iterator[tuple[int, Answer]]:
    if len(batch[0].options) == 1:
        return _read_whole(model, batch)
    return _read_once(model, batch)


def _read_whole(model: Model, batch: Sequence[_Group]) -> Iterator[tuple[int, Answer]]:
    """Each context with its only continuation, in one pass."""
    rows = [[*group.context, *group.options[0][:-1]] for group in batch]
    device, longest = model.embedding.device, max(map(len, rows))
    inputs = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    positions = torch.arange(longest, device=device).expand(len(rows), -1)
    hidden = model(inputs, positions)  # (B, T, D)
    ends = [
        hidden[row, len(group.context) - 1 :][: len(group.options[0])]
        for row, group in enumerate(batch)
    ]
    chosen = _scored(model, torch.cat(ends), [group.options[0] for group in batch])
    for group, answer in zip(batch, chosen, strict=True):
        yield group.places[0], answer


def _read_once(model: Model, batch: Sequence[_Group]) -> Iterator[tuple[int, Answer]]:
    """Contexts first, then what follows them: of each context one continuation at a time."""
    weight = next(model.parameters())
    cache = Cache(model.config, weight.device, weight.dtype)
    rows = [cache.add() for _ in batch]
    last = model.read(cache, rows, [group.context for group in batch])  # (B, D)
    for number in range(max(len(group.options) for group in batch)):
        having = [row for row in rows if number < len(batch[row].options)]
        options = [batch[row].options[number] for row in having]
        longer = [row for row in having if len(batch[row].options[number]) > 1]
        further: dict[int, Tensor] = {}
        if longer:
            ids = [batch[row].options[number][:-1] for row in longer]
            past = cache.reading(longer, [len(one) for one in ids])
            hidden = model(past.padded(ids), past.positions, past=past)
            # the rows end where their contexts do: the next continuation is written over this one
            further = {row: hidden[at, : len(ids[at])] for at, row in enumerate(longer)}
        ends = [
            part
            for row in having
            for part in (last[row][None], further.get(row))
            if part is not None
        ]
        for row, answer in zip(having, _scored(model, torch.cat(ends), options), strict=True):
            yield batch[row].places[number], answer


def _scored(model: Model, hidden: Tensor, continuations: Sequence[Ids]) -> list[Answer]:
    """Answers by the hidden states (n, D) from which all continuations' tokens are predicted."""
    ids = torch.tensor([token for one in continuations for token in one], device=hidden.device)
    sizes = [len(one) for one in continuations]
    nats, greedy = [], []
    for part, targets in zip(hidden.split(TOGETHER), ids.split(TOGETHER), strict=True):
        logits = model.logits(part).float()  # (n, V)
        chosen = logits.gather(1, targets[:, None])[:, 0]
        nats.append((chosen - logits.logsumexp(1)).double())
        greedy.append(logits.argmax(1) == targets)
    by_token = zip(torch.cat(nats).split(sizes), torch.cat(greedy).split(sizes), strict=True)
    return [Answer(float(one.sum()), bool(same.all())) for one, same in by_token]
