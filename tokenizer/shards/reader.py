"""Read token shards: Arrow IPC files, mapped into memory, zero-copy to numpy.

    source = open_source("runs/quickstart/shards/web-en")
    part = source.tokens(0)
    window = part.read(4096, 8192)          # ids at token offsets 4096 to 8191 of the part

A part is a sequence of record batches; a window inside one batch is a view of the mapped file, one
across a border is copied. Reading needs numpy, pyarrow and pydantic only. Any Arrow reader opens a
part without this package. Ranges of bytes instead of mapped files:
:mod:`tokenizer.shards.part_index` and :mod:`tokenizer.shards.record_batch`. Writing is
:mod:`tokenizer.shards.writer`, checking :mod:`tokenizer.shards.verify`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.commands import Command
from artifacts.errors import Text, UserError
from artifacts.schemas import check_format
from tokenizer.shards.format import TOKEN_TYPES
from tokenizer.shards.manifest import REBUILD, PartRecord, SourceManifest, read_manifest
from tokenizer.shards.part_index import PartIndex, read_part_index

Tokens = NDArray[np.uint16 | np.uint32]


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of one record batch: ``values`` (t,) and ``offsets`` (rows + 1,) int64 into them, both
    views.
    """

    values: Tokens
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class PartTokens:
    """The token column of a part. Token offsets count from the part's first token."""

    batches: tuple[TokenBatch, ...]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Token offset of each batch and the end, (batches + 1,)."""
        return np.cumsum([0, *(len(batch.values) for batch in self.batches)], dtype=np.int64)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Token offset of each document and the end, (rows + 1,); computed once."""
        ends = [
            batch.offsets[1:] - batch.offsets[0] + start
            for batch, start in zip(self.batches, self.starts, strict=False)
        ]
        return np.concatenate([np.zeros(1, np.int64), *ends])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, start: int, stop: int) -> Tokens:
        """Ids at token offsets start to stop - 1; a view where one batch holds them all.

        Raises: IndexError outside the part.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start} to {stop} of a part of {len(self)}")
        first = min(int(np.searchsorted(self.starts, start, "right")), len(self.batches)) - 1
        pieces: list[Tokens] = []
        for batch, begin in zip(
            self.batches[max(first, 0) :], self.starts[max(first, 0) :], strict=False
        ):
            pieces.append(batch.values[max(0, start - begin) : stop - begin])
            if begin + len(batch.values) >= stop:
                break
        if len(pieces) == 1:
            return pieces[0]
        # an empty part has no batch
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint16)

    def document(self, row: int) -> Tokens:
        """Ids of one document, EOS included."""
        return self.read(int(self.offsets[row]), int(self.offsets[row + 1]))


@dataclass(frozen=True)
class ShardSource:
    """A source on disk: its manifest and its mapped parts."""

    folder: Path
    manifest: SourceManifest

    def part(self, number: int) -> PartRecord:
        """The record of one part. Raises: UserError when there is none of that number."""
        if not 0 <= number < len(self.manifest.parts):
            raise UserError(
                "no such part",
                file=self.folder,
                found=number,
                allowed=[f"below {len(self.manifest.parts)}"],
            )
        return self.manifest.parts[number]

    def index(self, number: int) -> PartIndex:
        """The index of one part: its record batches and block checksums. Raises: UserError as
        :func:`read_part_index`.
        """
        return read_part_index(self.folder, self.part(number))

    def table(self, number: int) -> pa.Table:
        """A part as a memory-mapped table.

        Raises: UserError when the file is missing, is not Arrow IPC, or is not of the manifest's
        format and dtype.
        """
        record = self.part(number)
        path = self.folder / record.file
        table = map_table(path, "shard")
        found = table.schema.field("tokens").type.value_type
        if found != TOKEN_TYPES[self.manifest.dtype]:
            raise UserError(
                "tokens are not of the manifest's type",
                file=path,
                field="tokens",
                found=found,
                allowed=[self.manifest.dtype],
            )
        if table.num_rows != record.rows:
            raise UserError(
                "another number of documents than in the manifest",
                file=path,
                found=table.num_rows,
                allowed=[record.rows],
                fix=VERIFY,
            )
        return table

    def tokens(self, number: int) -> PartTokens:
        """The token column of a part, zero-copy. Raises: UserError as :meth:`table`."""
        chunks = self.table(number).column("tokens").chunks
        return PartTokens(tuple(token_batch(chunk) for chunk in chunks))


def open_source(folder: Path | str, tokenizer_hash: str | None = None) -> ShardSource:
    """Open a source; parts are mapped when first asked for.

    ``tokenizer_hash``: when given, the tokenizer the reader will use.
    Raises: UserError when the manifest is missing, malformed or of another format, or was encoded
    with another tokenizer.
    """
    source = ShardSource(Path(folder), read_manifest(folder))
    if tokenizer_hash is not None and tokenizer_hash != source.manifest.tokenizer_hash:
        raise UserError(
            "the source was encoded with another tokenizer",
            file=folder,
            field="tokenizer_hash",
            found=source.manifest.tokenizer_hash,
            allowed=[tokenizer_hash],
            fix="encode the source with this tokenizer, or use the tokenizer it was encoded with",
        )
    return source


def inspect(folder: Path | str) -> list[dict[str, str | int]]:
    """One row per part for a table: file, append, rows, tokens, trainable tokens, bytes, checksum,
    documents taken down.
    """
    return parts_of(read_manifest(folder))


def parts_of(manifest: SourceManifest) -> list[dict[str, str | int]]:
    """The same of a source whose manifest is read."""
    removed = Counter(stone.part for stone in manifest.tombstones)
    shown = {"file", "append", "rows", "tokens", "trainable_tokens", "bytes", "checksum"}
    return [
        {**part.model_dump(include=shown), "removed": removed[part.file]} for part in manifest.parts
    ]


VERIFY: Text = (Command("shards verify RUN"), " names the damage")


def map_table(path: Path, name: str, fix: Text = VERIFY) -> pa.Table:
    """An Arrow IPC file as a memory-mapped table of format ``name``. ``fix``: of one that is
    damaged.

    Raises: UserError when it is missing, no Arrow file, or of another format.
    """
    return _opened(path, lambda: pa.ipc.open_file(pa.memory_map(str(path))).read_all(), name, fix)


def token_batch(column: pa.LargeListArray) -> TokenBatch:
    """Views of one chunk of a token column; sliced columns keep their offsets."""
    offsets = column.offsets.to_numpy()
    values = column.values.to_numpy()
    begin, end = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    return TokenBatch(values[begin:end], offsets - begin if begin else offsets)


def _opened(path: Path, read: Callable[[], pa.Table], name: str, fix: Text) -> pa.Table:
    try:
        table = read()
    except FileNotFoundError:
        raise UserError("a file is missing", file=path, fix=REBUILD) from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "not a readable Arrow IPC file",
            file=path,
            found=error,
            fix=fix,
        ) from None
    checked_format(table.schema, name, path)
    return table


def checked_format(schema: pa.Schema, name: str, path: Path) -> None:
    """Refuse another format or version, a mark that is no text included. Raises: UserError."""
    try:
        check_format(schema, name, path)
    except UnicodeDecodeError:
        raise UserError("the format mark is damaged", file=path, fix=VERIFY) from None
