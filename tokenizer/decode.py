"""Ids to text: what each decodes to, where it stands.

Shapes: V pieces, n rows, t ids in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import UserError
from tokenizer.prefix import SPACE, Prefix
from tokenizer.vocabulary import CONTROL, UNKNOWN, Vocabulary
from tokenizer.words import join_bytes

Surfaces = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Bytes of all pieces, one after another, and where each begins (V + 1,)."""


@dataclass(frozen=True)
class Decoder:
    """What ids of a vocabulary say. ``prefix``: whether a text has a space before it that is not
    its own; ``bos`` and ``eos`` stand before texts.
    """

    vocabulary: Vocabulary
    prefix: Prefix
    bos: int
    eos: int

    def texts(
        self, tokens: pa.Array | pa.ChunkedArray, controls: bool, middle: bool
    ) -> pa.LargeStringArray:
        """The text of each row; ``middle``: a row goes on with what another began. Raises:
        UserError on an id outside the vocabulary.
        """
        rows = tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens
        lengths = (
            pc.fill_null(pc.list_value_length(rows), 0)
            .to_numpy(zero_copy_only=False)
            .astype(np.int64)
        )
        flat = rows.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
        size = self.vocabulary.size
        if len(flat) and (int(flat.min()) < 0 or int(flat.max()) >= size):
            bad = flat[(flat < 0) | (flat >= size)][0]
            raise UserError(
                "token outside the vocabulary",
                field="tokens",
                found=int(bad),
                allowed=[f"0 to {size - 1}"],
            )
        places = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        if self.prefix is not Prefix.NONE:
            flat = np.where(self._begins(flat, places, middle), flat + size, flat)
        surfaces, starts = self._surfaces if controls else self._surfaces_without_controls
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(starts)[flat])])
        text = join_bytes(flat, surfaces, starts, int(ends[-1]))
        return _as_text(text, ends[places])

    def surface(self, token: int, before: int | None) -> bytes:
        """The bytes of an id that stands after ``before``, or in the middle of a text (None)."""
        found = self.vocabulary.surface(token)
        begins = before is not None and bool(self._opening[before])
        return found.removeprefix(SPACE) if begins else found

    @cached_property
    def _opening(self) -> NDArray[np.bool_]:
        return self.prefix.opening(self.vocabulary, self.bos, self.eos)

    def _begins(
        self, flat: NDArray[np.int64], places: NDArray[np.int64], middle: bool
    ) -> NDArray[np.bool_]:
        """Which ids (t,) are the first of a text; rows begin at ``places``."""
        begins = np.zeros(len(flat), np.bool_)
        begins[1:] = self._opening[flat[:-1]]
        rows = places[:-1]
        begins[rows[rows < places[1:]]] = not middle
        # what another row ends with is not known
        return begins

    @cached_property
    def _surfaces(self) -> Surfaces:
        return self._doubled(self.vocabulary.surfaces, self.vocabulary.offsets)

    @cached_property
    def _surfaces_without_controls(self) -> Surfaces:
        vocabulary = self.vocabulary
        lengths = np.where(
            np.isin(vocabulary.kinds, (CONTROL, UNKNOWN)), 0, np.diff(vocabulary.offsets)
        )
        kept = [vocabulary.surface(int(token)) for token in np.flatnonzero(lengths)]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return self._doubled(np.frombuffer(b"".join(kept), np.uint8), offsets)

    def _doubled(self, surfaces: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Surfaces:
        """Where texts have a space before them: all pieces once more (2 V), without a space that
        they begin with.
        """
        if self.prefix is Prefix.NONE:
            return surfaces, offsets
        raw = surfaces.tobytes()
        bare = [
            raw[start:stop].removeprefix(SPACE)
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
        lengths = np.array([len(one) for one in bare], np.int64)
        ends = np.concatenate([offsets, offsets[-1] + np.cumsum(lengths)])
        return np.frombuffer(raw + b"".join(bare), np.uint8), ends


def _as_text(text: NDArray[np.uint8], bounds: NDArray[np.int64]) -> pa.LargeStringArray:
    raw = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(text)]
    )
    try:
        return raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.array(
            [row.decode("utf-8", "replace") for row in raw.to_pylist()], pa.large_string()
        )
