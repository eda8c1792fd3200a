"""Batches: a pure function of (plan, step), for any number of ranks.

    loader = Loader(plan, {"web-en": "shards/web-en", ...}, rank=0, world_size=1)
    batch = loader.batch(step)                      # numpy arrays; state is the step, nothing else
    for batch in loader.batches(step, plan.steps):  # the same, read ahead by a thread
        ...

The window of T tokens at place s of a source's stream has the tokens s to s + T - 1 as *targets*:
over an epoch every token is predicted once. The input of a target is the token before it in the
stream. Documents are cut at the windows' borders and follow one another without padding; in a
source of whole documents a window is cut from none, and ends with padding.

**BOS.** A document ends with EOS. As a target EOS is needed: it ends the document. As an input it
is not: what follows belongs to another document. So the input of a document's first token is BOS:

    stream      a   b   EOS c   d   EOS
    inputs      BOS a   b   BOS c   d
    targets     a   b   EOS c   d   EOS
    positions   0   1   2   0   1   2
    documents   0   0   0   1   1   1

Without BOS (``plan.bos`` false) the input there is the EOS of the document before, to which the
place belongs, and its target has weight 0.

Legend: B windows, T tokens of a window.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artifacts.commands import Command
from artifacts.errors import UserError
from mixtures.loader.batch_table import BatchTable
from mixtures.loader.fill import fill_batch
from mixtures.loader.next_blocks import NextBlocks
from mixtures.loader.read_ahead import read_ahead
from mixtures.loader.windows import Windows
from mixtures.order.interleave import check_cursors
from mixtures.order.sound_plan import check_sound
from mixtures.parts.open_parts import part_files
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan

if TYPE_CHECKING:
    from mixtures.parts.remote_parts import RangeCache

Folders = Mapping[str, Path | str]


@dataclass(frozen=True)
class Batch:
    """B windows, a rank's share of a step (or all of it).

    ``tokens`` and ``targets`` (B, T) int32. ``weights`` (B, T) float32: 1 where the loss on the
    target counts, 0 in padding, outside the trainable spans, for what was taken down, in a step
    that the plan skips, and (without BOS) for a document's first token. ``positions`` (B, T) int32
    from 0 in every document. ``documents`` (B, T) int32: number of the document in its window, for
    masks. ``lengths`` (documents + 1,) int32: borders of the documents in the B * T tokens one
    behind the other, for attention over packed sequences. ``source`` (B,) int32 index into
    ``plan.sources``. ``pieces`` (n, 5) int64: row, place in it, source, first target's place in the
    source's stream, tokens.
    """

    tokens: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]
    positions: NDArray[np.int32]
    documents: NDArray[np.int32]
    lengths: NDArray[np.int32]
    source: NDArray[np.int32]
    pieces: NDArray[np.int64]

    def rows(self, first: int, last: int) -> Batch:
        """Windows first to last - 1, as views: a micro-batch."""
        length = self.tokens.shape[1]
        begin, end = np.searchsorted(self.lengths, [first * length, last * length])
        low, high = np.searchsorted(self.pieces[:, 0], [first, last])
        pieces = self.pieces[low:high] - np.array([first, 0, 0, 0, 0])
        return Batch(
            tokens=self.tokens[first:last],
            targets=self.targets[first:last],
            weights=self.weights[first:last],
            positions=self.positions[first:last],
            documents=self.documents[first:last],
            lengths=self.lengths[begin : end + 1] - np.int32(first * length),
            source=self.source[first:last],
            pieces=pieces,
        )


class Buffer:
    """Room for a batch of at most ``tokens`` places, used again and again.

    ``pinned``: in page-locked memory, from which a GPU copies without waiting (needs torch with
    CUDA).
    """

    def __init__(self, tokens: int, pinned: bool = False) -> None:
        def room(places: int, dtype: Any) -> NDArray[Any]:
            return _pinned(places, dtype) if pinned else np.empty(places, dtype)

        self.tokens: NDArray[np.int32] = room(tokens, np.int32)
        self.targets: NDArray[np.int32] = room(tokens, np.int32)
        self.weights: NDArray[np.float32] = room(tokens, np.float32)
        self.positions: NDArray[np.int32] = room(tokens, np.int32)
        self.documents: NDArray[np.int32] = room(tokens, np.int32)
        self.borders: NDArray[np.int32] = room(tokens + 1, np.int32)


class Loader:
    """Reads a plan's batches from shards.

    ``folders``: each pinned source's folder, or its URL on a store; what is read from stores lies
    in ``cache``. ``rank`` of ``world_size``: which contiguous slice of every step's windows.
    Raises: UserError when a folder is missing or holds other shards than the plan pins, when the
    plan contradicts itself, or when there are more ranks than windows in a batch.
    """

    def __init__(
        self,
        plan: Plan,
        folders: Folders,
        rank: int = 0,
        world_size: int = 1,
        cache: RangeCache | None = None,
    ) -> None:
        least = min(context.batch_windows for context in plan.contexts)
        if not (1 <= world_size <= least and 0 <= rank < world_size):
            raise UserError(
                "every rank needs at least a window of each batch",
                field="world_size",
                found=f"rank {rank} of {world_size}",
                allowed=[f"up to {least} ranks"],
            )
        check_cursors(plan)
        self.plan = plan
        self.rank, self.world_size = rank, world_size
        remote = any("://" in str(folder) for folder in folders.values())
        self.cache = default_cache() if cache is None and remote else cache
        self.streams = open_streams(plan, folders, self.cache)
        self.windows = Windows(plan, self.streams)
        self._table = BatchTable(self.streams, self.cache)
        self._next_blocks = NextBlocks(plan, self.streams)
        # what one thread opens may let go of what the kernel of another reads
        self._reading = threading.RLock()

    def slice_of(self, step: int) -> tuple[int, int]:
        """First and last + 1 of this rank's windows of a step."""
        windows = self.plan.context_at(step)[1].batch_windows
        return self.rank * windows // self.world_size, (self.rank + 1) * windows // self.world_size

    def batch(self, step: int, into: Buffer | None = None) -> Batch:
        """This rank's windows of a step, steps from 0; written to ``into`` where given. Raises:
        UserError outside the plan.
        """
        if not 0 <= step < self.plan.steps:
            raise UserError(
                "no such step in the plan",
                field="step",
                found=step,
                allowed=[f"0 to {self.plan.steps - 1}"],
            )
        with self._reading:
            source, pieces = self.windows.of_step(step, *self.slice_of(step))
            batch = self.gather(source, pieces, self.plan.context_at(step)[1].sequence_length, into)
            if self.plan.skips(step):
                batch.weights[:] = 0
            self._next_blocks.shown(step)
        return batch

    def batches(
        self, first: int, last: int, ahead: int = 2, pinned: bool = False
    ) -> Generator[Batch]:
        """Batches of steps first to last - 1, read by a thread up to ``ahead`` steps ahead.

        A batch is valid until the next one is asked for: its memory is used again.
        """
        most = max(
            (context.batch_windows * context.sequence_length for context in self.plan.contexts),
            default=0,
        )
        share = -(-most // self.world_size) + max(
            context.sequence_length for context in self.plan.contexts
        )
        buffers = [Buffer(share, pinned) for _ in range(ahead + 2)]
        return read_ahead(range(first, last), self.batch, buffers)

    def gather(
        self,
        source: NDArray[np.int64],
        pieces: NDArray[np.int64],
        length: int,
        into: Buffer | None = None,
    ) -> Batch:
        """Rows of ``length`` places made of pieces, (n, 5) by row and place: what :meth:`batch` is
        made of.
        """
        with self._reading:
            return self._gathered(source, pieces, length, into)

    def _gathered(
        self, source: NDArray[np.int64], pieces: NDArray[np.int64], length: int, into: Buffer | None
    ) -> Batch:
        shape, table = (len(source), length), self._table
        buffer = into or Buffer(len(source) * length)
        room = slice(0, len(source) * length)
        table.open(pieces)
        documents = fill_batch(
            pieces,
            table.parts,
            table.part_starts,
            table.part_rows,
            table.rows,
            self.plan.sources[0].eos_id,
            self.plan.sources[0].vocab_size,
            length,
            self.plan.bos_id if self.plan.bos else -1,
            buffer.tokens[room],
            buffer.targets[room],
            buffer.weights[room],
            buffer.positions[room],
            buffer.documents[room],
            buffer.borders,
        )
        if documents < 0:
            self._refuse_tokens(pieces)
        return Batch(
            tokens=buffer.tokens[room].reshape(shape),
            targets=buffer.targets[room].reshape(shape),
            weights=buffer.weights[room].reshape(shape),
            positions=buffer.positions[room].reshape(shape),
            documents=buffer.documents[room].reshape(shape),
            lengths=buffer.borders[: documents + 1],
            source=source.astype(np.int32),
            pieces=pieces,
        )

    def _refuse_tokens(self, pieces: NDArray[np.int64]) -> None:
        """Name the part with a token that is none. Raises: UserError."""
        vocabulary = self.plan.sources[0].vocab_size
        for _, _, source, first, tokens in pieces.tolist():
            stream = self.streams[source]
            for batch in stream.batches(first, first + tokens):
                if batch.values.max() >= vocabulary:
                    raise UserError(
                        "a token that is not in the vocabulary",
                        file=stream.files.path(batch.part),
                        field="tokens",
                        found=int(batch.values.max()),
                        allowed=[f"below {vocabulary}"],
                        fix=(
                            Command("shards verify RUN"),
                            " names the damage; then restore the part",
                        ),
                    )


def open_streams(
    plan: Plan, folders: Folders, cache: RangeCache | None = None
) -> tuple[SourceStream, ...]:
    """The streams of a plan's sources, by its order; ``cache`` is for those on stores.

    Raises: UserError when a folder is missing or holds other shards, and when the plan's numbers do
    not fit together.
    """
    check_sound(plan)
    for name in plan.names:
        if name not in folders:
            raise UserError(
                "a source of the plan has no folder",
                field="folders",
                found=name,
                allowed=sorted(folders),
            )
    blocks = [
        max(context.sources[index].block_tokens for context in plan.contexts)
        for index in range(len(plan.sources))
    ]
    return tuple(
        SourceStream(source, part_files(folders[source.name], source, cache), block)
        for source, block in zip(plan.sources, blocks, strict=True)
    )


def default_cache() -> RangeCache:
    """A cache of 16 GiB in the system's temporary folder."""
    from mixtures.parts.remote_parts import RangeCache  # fsspec is loaded where it is needed

    return RangeCache()


def _pinned(places: int, dtype: Any) -> NDArray[Any]:
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "pinned memory needs a CUDA device",
            field="pinned",
            found=True,
            fix="leave it out on a machine without one",
        )
    kind = {np.int32: torch.int32, np.float32: torch.float32}[dtype]
    room: NDArray[Any] = torch.empty(places, dtype=kind, pin_memory=True).numpy()
    return room
