"""Which source comes next: Tijdeman's chairman assignment over exact integers.

Sources i have shares that are constant or change linearly over a horizon of h windows. With A_i and
B_i the shares at its two ends, in units of 1 / U (:data:`SHARE_UNITS`, sums exactly U), source i is
due

    P_i(t) = (2 h A_i t + (B_i - A_i) t^2) / (2 h U)   windows among the first t.

Let x be what i has had. It may be served from the first t with P_i(t) >= x + d on and must be by
the first t with P_i(t) >= x + 1 - d, with d = 1 / (2k - 2) for k sources. Serving whoever must
first keeps every source, after every window, within 1 - d of P_i (R. Tijdeman, The chairman
assignment problem, Discrete Mathematics 32, 1980). Numerators stay below 2^58, so no comparison is
rounded.

A constant mix has the period U: after U windows source i has had exactly A_i, and the pattern
starts again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel

SHARE_UNITS = 1 << 18
LONGEST_RAMP = SHARE_UNITS
_MILESTONE = 1 << 12

Shares = tuple[int, ...]


@dataclass(frozen=True)
class Mix:
    """Shares of the sources over a stretch of windows: ``start`` and ``end`` in units of 1 /
    :data:`SHARE_UNITS`.

    ``horizon``: windows from start to end of a ramp (at most :data:`LONGEST_RAMP`), 0 where shares
    are constant.
    """

    start: Shares
    end: Shares
    horizon: int = 0

    @property
    def period(self) -> int:
        """Windows after which the pattern repeats, or a ramp ends."""
        return self.horizon or SHARE_UNITS

    def sequence(self, first: int, last: int) -> NDArray[np.int16]:
        """Source index of windows first to last - 1, counted from the mix's start."""
        if first >= last:
            return np.empty(0, np.int16)
        block, last_block = first // self.period, (last - 1) // self.period
        pieces = []
        for number in range(block, last_block + 1):
            begin, end = (
                max(first - number * self.period, 0),
                min(last - number * self.period, self.period),
            )
            pieces.append(self._pattern(end).sequence[begin:end])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def counts(self, windows: int) -> NDArray[np.int64]:
        """Windows of each source among the first ``windows`` of the mix, (sources,)."""
        blocks, rest = divmod(windows, self.period)
        if self.horizon:  # a ramp is never repeated
            blocks, rest = 0, windows
        whole = np.array(self.start, np.int64) * blocks
        return whole + self._pattern(rest).counts(rest) if rest else whole

    def due(self, windows: int) -> NDArray[np.float64]:
        """What each source is due after ``windows`` windows, P_i, (sources,)."""
        start, end = np.array(self.start, np.float64), np.array(self.end, np.float64)
        bend = (end - start) * windows / (2 * self.horizon) if self.horizon else 0.0
        return (start + bend) * windows / SHARE_UNITS

    def place_of(self, source: int, number: int) -> int:
        """The window, counted from the mix's start, that is the source's window ``number`` (both
        from 0).

        Raises: IndexError when a ramp ends before.
        """
        block, rest = (0, number) if self.horizon else divmod(number, self.start[source])
        return block * self.period + self._pattern(self.period).place_of(source, rest)

    def _pattern(self, windows: int) -> _Pattern:
        rounded = min(self.period, -(-windows // _MILESTONE) * _MILESTONE)
        # few distinct lengths, so that neighbours share one
        reach = 1 << max(rounded - 1, 0).bit_length()
        return _pattern(self.start, self.end, self.horizon, min(self.period, reach))


@dataclass(frozen=True)
class _Pattern:
    """The first windows of a mix, (m,), and counts before every 4096th, (m / 4096 + 1, sources)."""

    sequence: NDArray[np.int16]
    milestones: NDArray[np.int64]

    def counts(self, windows: int) -> NDArray[np.int64]:
        milestone = windows // _MILESTONE
        rest = self.sequence[milestone * _MILESTONE : windows]
        counts: NDArray[np.int64] = self.milestones[milestone] + np.bincount(
            rest, minlength=self.milestones.shape[1]
        )
        return counts

    def place_of(self, source: int, number: int) -> int:
        """The window that is the source's window ``number``. Raises: IndexError when there is
        none.
        """
        before = self.milestones[:, source]
        milestone = int(np.searchsorted(before, number, "right")) - 1
        first = milestone * _MILESTONE
        places = np.flatnonzero(self.sequence[first : first + _MILESTONE] == source)
        return first + int(places[number - before[milestone]])


@lru_cache(maxsize=32)
def _pattern(start: Shares, end: Shares, horizon: int, windows: int) -> _Pattern:
    sequence = assign(
        np.array(start, np.int64), np.array(end, np.int64), horizon or SHARE_UNITS, windows
    )
    sources, milestones = len(start), windows // _MILESTONE
    whole = sequence[: milestones * _MILESTONE].astype(np.int64)
    rows = np.repeat(np.arange(milestones), _MILESTONE) * sources
    counts = np.bincount(whole + rows, minlength=milestones * sources).reshape(milestones, sources)
    sequence.flags.writeable = False
    return _Pattern(
        sequence, np.concatenate([np.zeros((1, sources), np.int64), np.cumsum(counts, axis=0)])
    )


@kernel
def first_reaching(start: int, end: int, horizon: int, level: int, low: int) -> int:
    """The first t from ``low`` on with 2 h A t + (B - A) t^2 >= level; horizon + 1 when there is
    none.
    """
    if start == end:
        if start == 0:
            return low if level <= 0 else horizon + 1
        return min(max(low, -(-level // (2 * horizon * start))), horizon + 1)
    stride = 1
    high = low
    while high <= horizon and 2 * horizon * start * high + (end - start) * high * high < level:
        low = high + 1  # the answer is not far: gallop, then bisect
        high += stride
        stride *= 2
    high = min(high, horizon + 1)
    while low < high:
        middle = (low + high) // 2
        if 2 * horizon * start * middle + (end - start) * middle * middle >= level:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def assign(
    start: NDArray[np.int64], end: NDArray[np.int64], horizon: int, windows: int
) -> NDArray[np.int16]:
    """Source of each of the first ``windows`` windows, (windows,); shares (sources,) in units of 1
    / SHARE_UNITS.

    Sources wait in a list per window of their release (``head``, ``behind``); the ``free`` ones
    that may be served now are a heap of deadline * 2^15 + source.
    """
    sources = len(start)
    unit = 2 * horizon * SHARE_UNITS
    taking_part = 0
    for source in range(sources):
        if start[source] + end[source] > 0:
            taking_part += 1
    slack = unit // max(2 * taking_part - 2, 2)
    served = np.zeros(sources, np.int64)
    deadline = np.empty(sources, np.int64)
    head = np.full(windows + 2, -1, np.int16)
    behind = np.full(sources, -1, np.int16)
    for source in range(sources):
        deadline[source] = first_reaching(start[source], end[source], horizon, unit - slack, 0)
        release = max(first_reaching(start[source], end[source], horizon, slack, 0), 1)
        if release <= windows:
            behind[source], head[release] = head[release], source
    out = np.empty(windows, np.int16)
    heap = np.empty(sources, np.int64)
    free = 0
    for window in range(windows):
        coming = head[window + 1]
        while coming >= 0:
            _push(heap, free, deadline[coming] << 15 | np.int64(coming))
            free += 1
            coming = behind[coming]
        chosen = heap[0] & 0x7FFF
        free -= 1
        _pop(heap, free)
        out[window] = chosen
        served[chosen] += 1
        level = served[chosen] * unit
        release = max(
            first_reaching(start[chosen], end[chosen], horizon, level + slack, window), window + 2
        )
        deadline[chosen] = first_reaching(
            start[chosen], end[chosen], horizon, level + unit - slack, deadline[chosen]
        )
        if release <= windows:
            behind[chosen], head[release] = head[release], chosen
    return out


@kernel
def _push(heap: NDArray[np.int64], size: int, key: int) -> None:
    """Add to a binary heap of ``size`` keys, the least at the front."""
    place = size
    while place > 0 and heap[(place - 1) >> 1] > key:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = key


@kernel
def _pop(heap: NDArray[np.int64], size: int) -> None:
    """Take the front away; ``size`` keys are left."""
    key = heap[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key
