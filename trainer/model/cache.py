"""Keys and values of tokens that were read, so that a model reads every token once.

    cache = Cache(model.config)
    row = cache.add()
    hidden = model.read(cache, [row], [[1, 5, 9]])    (1, D), of the last token
    hidden = model.read(cache, [row], [[7]])          one token, which looks at the three

Each row has a length of its own and writes its keys there: rows of one forward pass may begin at
different places and take different numbers of tokens, padded on the right. A row sees its own
tokens alone, so what is read beside it changes roundings and nothing else.

Keys are kept turned, which is exact where the angles of a position never change. Dynamic NTK turns
all positions by other angles as soon as a row outgrows the original context: then what lies in the
cache is of another table, in every layer, and :meth:`Cache.keeps` says that the row has to be read
anew.

Shapes: L layers, R rows in store, S places of tokens in store, B rows of a pass, T tokens of a
pass, H query heads, G key-value heads, K head_dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.kernels.attention import attention
from trainer.model.rotary import rotation
from trainer.shapes.config import ModelConfig

FEWEST_TOKENS = 64


class Cache:
    """What rows have read: ``lengths`` in tokens, row by row. It grows as they do."""

    def __init__(
        self,
        config: ModelConfig,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.lengths: list[int] = []
        # (L, R, 2G, S, K); what no row has written is finite, since a weight of 0 does not undo NaN
        self._store = torch.zeros(
            config.layers, 0, 2 * config.kv_heads, 0, config.head_dim, device=device, dtype=dtype
        )
        self._layers: tuple[_Store, ...] = ()
        self.places = torch.zeros(1, 0, dtype=torch.int64, device=device)  # 0 … S - 1 (1, S)
        self._table = self._angles_of(self.places)

    @property
    def device(self) -> torch.device:
        return self._store.device

    def add(self) -> int:
        """A new row without tokens: its number."""
        self.lengths.append(0)
        if len(self.lengths) > self._store.shape[1]:
            self._grow(max(1, 2 * self._store.shape[1]), self._store.shape[3])
        return len(self.lengths) - 1

    def remove(self, row: int) -> None:
        """Take a row out; the last one gets its number."""
        last = len(self.lengths) - 1
        length = self.lengths[row] = self.lengths[last]
        self._store[:, row, :, :length] = self._store[:, last, :, :length]
        self.lengths.pop()

    def cut(self, row: int, length: int) -> None:
        """Forget what a row has read after its first ``length`` tokens, which are no more than it
        has.
        """
        self.lengths[row] = length

    def clear(self, row: int) -> None:
        """Forget what a row has read."""
        self.lengths[row] = 0

    def keeps(self, length: int) -> bool:
        """Whether what was read of a row still holds once it is ``length`` tokens long."""
        rotary = self.config.rotary
        if rotary.scaling != "dynamic":
            return True
        assert rotary.original_context is not None
        return length <= rotary.original_context

    def reading(self, rows: Sequence[int], counts: Sequence[int]) -> Reading:
        """A pass in which each of ``rows``, all different, reads so many tokens more, at least one.

        Raises: ValueError for others, and where a row has to be read anew (:meth:`keeps`).
        """
        if not rows or len(set(rows)) != len(rows) or len(rows) != len(counts) or min(counts) < 1:
            raise ValueError(f"rows {list(rows)} cannot read {list(counts)} tokens")
        starts = [self.lengths[row] for row in rows]
        ends = [start + count for start, count in zip(starts, counts, strict=True)]
        if any(start and not self.keeps(end) for start, end in zip(starts, ends, strict=True)):
            raise ValueError("positions have other angles now: clear the row and read all of it")
        if max(ends) > self._store.shape[3]:
            tokens = max(max(ends), 2 * self._store.shape[3], FEWEST_TOKENS)
            self._grow(self._store.shape[1], tokens)
        return Reading(self, list(rows), starts, list(counts))

    def angles(self, positions: Tensor, starts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, T, 1, K/2) of ``positions`` (B, T), below S, from ``starts`` on."""
        if self.config.rotary.scaling == "dynamic":
            return self._angles_of(positions)
        cos, sin = self._table
        if len(starts) > 1:
            return cos[0, positions], sin[0, positions]
        there = slice(starts[0], starts[0] + positions.shape[1])
        return cos[:, there], sin[:, there]

    def layer(self, number: int) -> _Store:
        """What all rows have in a layer."""
        return self._layers[number]

    def _angles_of(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        if not positions.numel():
            empty = torch.zeros(1, 0, 1, self.config.head_dim // 2, device=positions.device)
            return empty, empty
        return rotation(positions, self.config.head_dim, self.config.rotary)

    def _grow(self, rows: int, tokens: int) -> None:
        old = self._store
        layers, old_rows, heads, old_tokens, size = old.shape
        shape = (layers, rows, heads, tokens, size)
        self._store = torch.zeros(shape, device=old.device, dtype=old.dtype)
        self._store[:, :old_rows, :, :old_tokens] = old
        shared = self.config.kv_heads
        self._layers = tuple(
            _Store(both, both[:, :shared], both[:, shared:]) for both in self._store
        )
        if tokens > old_tokens:
            self.places = torch.arange(tokens, device=old.device)[None]
            self._table = self._angles_of(self.places)


class _Store(NamedTuple):
    """Of a layer ``both`` keys, then values (R, 2G, S, K), and each of them (R, G, S, K)."""

    both: Tensor
    keys: Tensor
    values: Tensor


class Reading:
    """One forward pass of a model over a cache, for :meth:`Cache.reading`.

    ``positions`` (B, T) int64: where each row goes on; padding repeats the row's last.
    """

    def __init__(self, cache: Cache, rows: list[int], starts: list[int], counts: list[int]) -> None:
        self.cache = cache
        self.rows, self.starts, self.counts = rows, starts, counts
        self.ends = [start + count for start, count in zip(starts, counts, strict=True)]
        device, tokens = cache.device, max(counts)
        if len(rows) == 1:
            self.positions = cache.places[:, starts[0] : self.ends[0]]
        elif tokens == 1:
            self.positions = torch.tensor(starts, device=device)[:, None]
        else:
            begin, count = torch.tensor([starts, counts], device=device)[:, :, None]
            self.positions = begin + torch.minimum(torch.arange(tokens, device=device), count - 1)
        self.angles = cache.angles(self.positions, starts)
        self._kind = _Step.of(self) if tokens == 1 else _Stretch.of(self)

    def padded(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Tokens (B, T) of each row, filled up with 0."""
        tokens = max(self.counts)
        filled = [[*row, *[0] * (tokens - len(row))] for row in ids]
        return torch.tensor(filled, device=self.cache.device)

    def layer(self, number: int) -> LayerReading:
        """The same for one layer."""
        return LayerReading(self.cache.layer(number), self._kind)

    def ended(self, hidden: Tensor) -> Tensor:
        """The rows have read their tokens: hidden states (B, D) of the last one of each, from
        ``hidden`` (B, T, D).
        """
        for row, count in zip(self.rows, self.counts, strict=True):
            self.cache.lengths[row] += count
        if hidden.shape[1] == 1:
            return hidden[:, 0]
        last = torch.tensor(self.counts, device=hidden.device) - 1
        return hidden[torch.arange(len(last), device=hidden.device), last]


class LayerReading(NamedTuple):
    """What attention of one layer does in a pass over a cache."""

    store: _Store
    kind: _Step | _Stretch

    def attend(self, q: Tensor, both: Tensor, scale: float) -> Tensor:
        """Keep keys, then values, ``both`` (B, T, 2G, K), and mix: (B, T, H, K) for ``q`` (B, T, H,
        K).
        """
        self.kind.write(self.store.both, both)
        return self.kind.mix(self.store, q, both, scale)


class _Step(NamedTuple):
    """Every row reads one token. Query heads that share keys stand where tokens of a pass stand."""

    rows: Tensor
    slots: Tensor
    every: bool  # the first rows, in order
    only: int | None  # where the first row alone writes
    longest: int
    mask: Tensor | None  # (B, 1, 1, S), what is added to scores

    @classmethod
    def of(cls, reading: Reading) -> _Step:
        rows, starts, store = reading.rows, reading.starts, reading.cache.layer(0).both
        longest, mask = max(starts) + 1, None
        if min(starts) + 1 < longest:
            seen = torch.arange(longest, device=store.device) <= reading.positions
            mask = store.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None, None]
        return cls(
            torch.tensor(rows, device=store.device),
            reading.positions[:, 0],
            every=rows == list(range(len(rows))),
            only=starts[0] if rows == [0] else None,
            longest=longest,
            mask=mask,
        )

    def write(self, store: Tensor, both: Tensor) -> None:
        if self.only is None:
            store[self.rows, :, self.slots] = both[:, 0]
        else:
            store[0, :, self.only] = both[0, 0]

    def mix(self, store: _Store, q: Tensor, both: Tensor, scale: float) -> Tensor:
        rows, _, heads, size = q.shape
        shared = both.shape[2] // 2
        keys, values = store.keys[:, :, : self.longest], store.values[:, :, : self.longest]
        if self.every:
            keys, values = keys[:rows], values[:rows]
        else:
            keys, values = (part.index_select(0, self.rows) for part in (keys, values))
        grouped = q.view(rows, shared, heads // shared, size)
        mixed = F.scaled_dot_product_attention(
            grouped, keys, values, attn_mask=self.mask, scale=scale
        )
        return mixed.reshape(rows, 1, heads, size)


class _Stretch(NamedTuple):
    """Rows read several tokens, not all as many."""

    reading: Reading
    seen: Tensor | None  # (B, 1, T, S), True where attention is allowed; None where all begin

    @classmethod
    def of(cls, reading: Reading) -> _Stretch:
        if not any(reading.starts):
            return cls(reading, None)
        place = torch.arange(max(reading.ends), device=reading.cache.device)
        return cls(reading, (place <= reading.positions[:, :, None])[:, None])

    def write(self, store: Tensor, both: Tensor) -> None:
        there = zip(self.reading.rows, self.reading.starts, self.reading.ends, strict=True)
        for new, (row, start, end) in zip(both, there, strict=True):
            store[row, :, start:end] = new[: end - start].transpose(0, 1)

    def mix(self, store: _Store, q: Tensor, both: Tensor, scale: float) -> Tensor:
        queries, shared = q.transpose(1, 2), both.shape[2] // 2
        if self.seen is None:  # causal: what pads a row on its right is seen by no token of it
            keys, values = both.transpose(1, 2).split(shared, 1)
            return attention(queries, keys, values, scale, None).transpose(1, 2)
        length, rows = self.seen.shape[-1], self.reading.rows
        mixed = F.scaled_dot_product_attention(
            queries,
            store.keys[rows, :, :length],
            store.values[rows, :, :length],
            attn_mask=self.seen,
            scale=scale,
            enable_gqa=q.shape[2] != shared,
        )
        return mixed.transpose(1, 2)
