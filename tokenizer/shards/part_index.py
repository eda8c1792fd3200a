"""The index of one part: where its record batches lie in the file, and checksums of its blocks.

``part-00000.json`` beside ``part-00000.arrow``, canonical JSON (sorted keys, no spaces, one line
end), written right after the part and before the manifest, which holds its checksum. A reader of an
object store asks for the index once and then for exactly the byte ranges it needs::

    index = read_part_index(folder, source.part(0))
    place = index.batch(3)
    batch = open_batch(mapped.slice(place.offset, place.bytes), schema)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError

from artifacts.errors import UserError
from artifacts.records import Record
from tokenizer.shards.manifest import REBUILD, PartRecord

INDEX_FORMAT = "part/1"
_MAX_INDEX_BYTES = 1 << 26
_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_DIGITS = 16  # of a block's checksum


class BatchRange(NamedTuple):
    """One Arrow record batch: its IPC message (metadata and body) at ``offset`` in the file, and
    what it holds.
    """

    offset: int  # bytes from the start of the file
    bytes: int
    rows: int
    tokens: int


class PartIndex(Record):
    """What only readers of this part need. ``ranges`` are offset, bytes, rows and tokens of each
    record batch, one behind the other.

    ``blocks`` are xxh3_64 of every ``block_bytes`` of the file, 16 hex digits each, one behind the
    other: a part has thousands, and one text is read a hundred times faster than thousands.
    """

    model_config = ConfigDict(strict=True)

    format: Literal["part/1"] = "part/1"
    block_bytes: int = Field(ge=1)
    blocks: str = Field(pattern=r"^[0-9a-f]*$")
    ranges: tuple[_Count, ...]

    @property
    def block_count(self) -> int:
        """Blocks of the part that have a checksum."""
        return len(self.blocks) // _DIGITS

    def block_sum(self, number: int) -> str | None:
        """Checksum of a block, None behind the last."""
        return self.blocks[number * _DIGITS : (number + 1) * _DIGITS] or None

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Offset, bytes, rows and tokens of the record batches, (batches, 4)."""
        return np.array(self.ranges, np.int64).reshape(-1, 4)

    @property
    def batches(self) -> tuple[BatchRange, ...]:
        """Where the record batches lie."""
        return tuple(self.batch(number) for number in range(len(self.ranges) // 4))

    def batch(self, number: int) -> BatchRange:
        """Where one record batch lies."""
        return BatchRange(*self.ranges[4 * number : 4 * number + 4])

    @classmethod
    def of(
        cls, block_bytes: int, blocks: Iterable[str], batches: Iterable[BatchRange]
    ) -> PartIndex:
        """The index of checksums and ranges."""
        return cls(
            block_bytes=block_bytes,
            blocks="".join(blocks),
            ranges=tuple(number for place in batches for number in place),
        )

    @cached_property
    def token_starts(self) -> NDArray[np.int64]:
        """Token offset in the part of each record batch and the end, (batches + 1,)."""
        return np.append(0, np.cumsum(self.columns[:, 3]))

    @cached_property
    def row_starts(self) -> NDArray[np.int64]:
        """Row in the part of each record batch's first document and the end, (batches + 1,)."""
        return np.append(0, np.cumsum(self.columns[:, 2]))

    @property
    def checksum(self) -> str:
        """xxh3_128 of the index's bytes, 32 hex digits."""
        return xxhash.xxh3_128_hexdigest(self.to_json())

    def to_json(self) -> bytes:
        """Canonical bytes: sorted keys, no spaces, one line end."""
        return (
            json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()
            + b"\n"
        )


def read_part_index(place: Path | str | bytes, part: PartRecord) -> PartIndex:
    """The index of a part, checked against what the manifest says of the part.

    ``place``: the source's folder, or the bytes of the index where the caller fetched them.
    Raises: UserError naming the index when it is missing, is not the one the manifest names, or
    does not fit the part.
    """
    if isinstance(place, bytes):
        path: Path | str = part.index_file
        raw = place
    else:
        path = Path(place) / part.index_file
        raw = _read(path)
    if len(raw) > _MAX_INDEX_BYTES:
        raise UserError(
            "the index is too large to be one", file=path, found=f"{len(raw)} bytes", fix=REBUILD
        )
    found = xxhash.xxh3_128_hexdigest(raw)
    if found != part.index_checksum:
        message, allowed = "the index of a part is not what was written", [part.index_checksum]
        raise UserError(
            message, file=path, field="index_checksum", found=found, allowed=allowed, fix=REBUILD
        )
    index = _parsed(raw, path)
    _check_fits(index, part, path)
    return index


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_INDEX_BYTES + 1)
    except OSError as error:
        raise UserError(
            "the index of a part is missing", file=path, found=error.strerror, fix=REBUILD
        ) from None


def _parsed(raw: bytes, path: Path | str) -> PartIndex:
    try:
        return PartIndex.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or None
        found = first["input"] if field else None
        allowed = [INDEX_FORMAT] if field == "format" else None
        raise UserError(
            f"the index is damaged: {first['msg']}",
            file=path,
            field=field,
            found=found,
            allowed=allowed,
            fix=REBUILD,
        ) from None


def _check_fits(index: PartIndex, part: PartRecord, path: Path | str) -> None:
    """Ranges in order and inside the file, counts as in the manifest. Raises: UserError."""
    if len(index.ranges) % 4:
        raise UserError(
            "the index is damaged: a range is cut",
            file=path,
            field="ranges",
            found=len(index.ranges),
            fix=REBUILD,
        )
    starts, sizes, rows, tokens = index.columns.T
    before = np.append(0, starts[:-1] + sizes[:-1])
    wrong = np.flatnonzero(
        (starts < before) | (sizes <= 0) | (starts + sizes > part.bytes) | (starts + sizes < starts)
    )
    if len(wrong):
        raise UserError(
            "a record batch does not lie behind the one before and inside the part",
            file=path,
            field=f"ranges.{4 * wrong[0]}",
            found=list(index.batch(int(wrong[0]))),
            allowed=[f"bytes {before[wrong[0]]} to {part.bytes}"],
            fix=REBUILD,
        )
    if len(index.blocks) % _DIGITS:
        raise UserError(
            "the index is damaged: a checksum is cut",
            file=path,
            field="blocks",
            found=len(index.blocks),
            fix=REBUILD,
        )
    for field, found, stated in (
        ("rows", int(rows.sum()), part.rows),
        ("tokens", int(tokens.sum()), part.tokens),
        ("blocks", index.block_count, -(-part.bytes // index.block_bytes)),
    ):
        if found != stated:
            message = f"the index has other {field} than the manifest"
            raise UserError(
                message, file=path, field=field, found=found, allowed=[stated], fix=REBUILD
            )
