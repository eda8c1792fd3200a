"""Loss on held-out shards by source, the same texts every time: nats per target token and bits
per byte, or what another objective measures.

    shards ─ held_out ─▶ batches by source: groups of whole documents
    model, objective, batches ─ measure ─▶ of each source the whole, and each group

Measured are the first documents of a source's shards, whose order comes from their ids, up to a
number of bytes: neither the run's mixture and length nor the tokenizer chooses them. Trainings that
began before measured windows instead, the first of a plan of the source alone, and go on with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, freeze
from mixtures.loader.fill import ROW
from mixtures.loader.loader import Batch, Loader
from mixtures.parts.open_parts import open_shards
from mixtures.parts.part_files import PartFiles
from mixtures.spec.bands import shown_beside
from mixtures.spec.spec import MixtureSpec, Phase
from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import ShardSource
from trainer.evaluation import documents as texts
from trainer.evaluation.rule import DOCUMENTS, WINDOWS, Rule
from trainer.model import Model
from trainer.objectives.contract import measure_of
from trainer.objectives.gradient import pending_loss
from trainer.objectives.losses import Loss, token_bytes
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import M, Objective, Place

SEED = 0

BYTES_PER_TOKEN = 4
"""What a token is taken for, whatever the tokenizer, where a number of windows says how much text
is measured.
"""


@dataclass(frozen=True)
class Measured(Generic[M]):
    """What the held-out texts of a source came to: ``whole``, and each of its ``groups`` of
    ``documents``; of windows cut from a stream there are no groups.
    """

    whole: M
    groups: tuple[M, ...] = ()
    documents: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``metrics/validation.jsonl``: ``groups`` are pairs of tokens and loss,
        where the objective counts tokens.
        """
        facts = self.whole.to_json()
        if self.documents is None:
            return facts
        groups = [group.to_json() for group in self.groups]
        pairs = [[group["tokens"], group["loss"]] for group in groups if "tokens" in group]
        return {**facts, "documents": self.documents, **({"groups": pairs} if pairs else {})}


@dataclass(frozen=True)
class HeldOut:
    """What to measure on: batches by source name, ``rows`` in a micro-batch. ``documents`` by
    source where a batch is a group of whole documents.
    """

    batches: Mapping[str, tuple[Batch, ...]]
    rows: int
    documents: Mapping[str, int] = field(default_factory=dict)

    def measure(self, model: Model, objective: Objective[M]) -> dict[str, Measured[M]]:
        """What each source comes to, in all and by group."""
        with torch.inference_mode():
            return {name: self._measured(model, objective, name) for name in self.batches}

    def _measured(self, model: Model, objective: Objective[M], name: str) -> Measured[M]:
        each = tuple(self._each(model, objective, name))
        whole = reduce(add, each)
        if name not in self.documents:
            return Measured(whole)
        return Measured(whole, each, self.documents[name])

    def _each(self, model: Model, objective: Objective[M], name: str) -> Iterator[M]:
        """The measure of each batch of a source."""
        for number, batch in enumerate(self.batches[name]):
            place = Place(number, held_out=name)
            loss = pending_loss(objective, model, batch, place, self.rows, backward=False)
            yield measure_of(objective, batch, loss.read().kept, name)


@dataclass(frozen=True)
class Cut:
    """How held-out text is cut: windows of ``length`` tokens, of which ``together`` are never
    parted, and as much text as ``windows`` stand for, all of it where that is None.
    """

    length: int
    windows: int | None
    together: int

    @property
    def bytes(self) -> int | None:
        """Bytes of text of a source."""
        return None if self.windows is None else self.windows * self.length * BYTES_PER_TOKEN


def held_out(
    folders: Mapping[str, str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    windows: int | None = 64,
    rows: int = 8,
    together: int = 1,
    rule: Rule = DOCUMENTS,
) -> HeldOut:
    """Read the held-out texts of each source: whole documents of about :data:`BYTES_PER_TOKEN`
    bytes for each token of ``windows`` windows of ``sequence_length``, packed into such windows,
    ``rows`` at a time; rows that belong ``together`` are not parted, and what does not fill them is
    left out. ``rule``: ``windows`` for those of trainings that began before documents were
    measured: at most ``windows`` windows of the source as a stream.

    Raises: UserError when a source is missing, of another tokenizer, or too short for one batch.
    """
    cut = Cut(sequence_length, windows, together)
    opened = {
        name: (open_shards(os.fspath(folder), tokenizer.hash), os.fspath(folder))
        for name, folder in sorted(folders.items())
    }
    if rule == WINDOWS:
        batches = {
            shown_beside(name): _windows(shown_beside(name), *source, tokenizer, cut)
            for name, source in opened.items()
        }
        return HeldOut(batches, rows)
    found = {
        shown_beside(name): _documents(shown_beside(name), *source, tokenizer, cut)
        for name, source in opened.items()
    }
    return HeldOut(
        {name: batches for name, (batches, _) in found.items()},
        rows,
        {name: documents for name, (_, documents) in found.items()},
    )


def validate(
    model: Model,
    folders: Mapping[str, str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    windows: int | None = 64,
    rows: int = 8,
) -> dict[str, Loss]:
    """The next-token loss of ``model`` on each held-out source; see :func:`held_out`. Names may end
    with ``-validation``.
    """
    measured = held_out(
        folders, tokenizer, sequence_length=sequence_length, windows=windows, rows=rows
    ).measure(model, NextToken.of(tokenizer))
    return {name: found.whole for name, found in measured.items()}


def _documents(
    name: str, source: ShardSource | PartFiles, folder: str, tokenizer: Tokenizer, cut: Cut
) -> tuple[tuple[Batch, ...], int]:
    """The groups of a source's documents as a batch each, and how many documents they are."""
    if not source.manifest.tokens:
        raise _too_short(source, folder, "a document", cut)
    loader = Loader(_plan(name, source, tokenizer, 1, 1, 1), {name: folder})
    found = texts.chosen(loader.streams[0], token_bytes(tokenizer), cut.bytes)
    batches = []
    for group in texts.groups(found):
        pieces = texts.windows(group, cut.length)
        filled = int(pieces[-1, ROW]) + 1
        shown = filled - filled % cut.together
        if shown:
            pieces = pieces[pieces[:, ROW] < shown]
            batches.append(loader.gather(_first_source(shown), pieces, cut.length))
    if not batches:
        raise _too_short(source, folder, f"{cut.together} windows", cut)
    return tuple(batches), len(found)


def _windows(
    name: str, source: ShardSource | PartFiles, folder: str, tokenizer: Tokenizer, cut: Cut
) -> tuple[Batch, ...]:
    """The windows that a plan of this source alone shows first, ``together`` in a batch."""
    available = source.manifest.tokens // cut.length
    if available < cut.together:
        filled = "one window" if cut.together == 1 else f"{cut.together} windows"
        raise _too_short(source, folder, filled, cut)
    shown = available if cut.windows is None else min(max(cut.windows, cut.together), available)
    shown -= shown % cut.together
    loader = Loader(_plan(name, source, tokenizer, shown, cut.length, cut.together), {name: folder})
    return tuple(loader.batch(step) for step in range(shown // cut.together))


def _plan(
    name: str,
    source: ShardSource | PartFiles,
    tokenizer: Tokenizer,
    shown: int,
    length: int,
    together: int,
) -> Plan:
    """A plan that shows ``shown`` windows of a source as a stream."""
    spec = MixtureSpec(
        phases=(Phase(name="held-out", tokens=shown * length, weights={name: 1.0}),),
        packing={name: "stream"},
    )
    return freeze(
        spec,
        {name: source},
        sequence_length=length,
        batch_tokens=together * length,
        seed=SEED,
        bos_id=tokenizer.bos_id,
    )


def _first_source(rows: int) -> NDArray[np.int64]:
    return np.zeros(rows, np.int64)


def _too_short(source: ShardSource | PartFiles, folder: str, filled: str, cut: Cut) -> UserError:
    return UserError(
        f"the held-out documents do not fill {filled} of {cut.length} tokens",
        file=folder,
        found=f"{source.manifest.tokens} tokens",
        fix="hold out more documents of this source, or train with shorter windows",
    )
