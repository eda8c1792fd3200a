"""Where a source's parts lie, as record batches by part and number.

:mod:`mixtures.parts.local_parts` maps them from a disk, :mod:`mixtures.parts.remote_parts` reads
them from an object store; :mod:`mixtures.parts.open_parts` chooses by the address.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from artifacts.commands import Command
from artifacts.errors import UserError
from tokenizer.shards.manifest import SourceManifest
from tokenizer.shards.part_index import PartIndex


class PartFiles(Protocol):
    """Record batches of a source's parts, by part and number."""

    @property
    def manifest(self) -> SourceManifest:
        """What the source holds."""
        ...

    @property
    def as_pinned(self) -> bool:
        """The manifest is the one that a plan pins: no part and no document has come or gone."""
        ...

    @property
    def where(self) -> str:
        """Folder or URL of the source, for messages."""
        ...

    def path(self, part: int) -> str:
        """Path or URL of a part, for messages."""
        ...

    def index(self, part: int) -> PartIndex:
        """Where the record batches of a part lie. Raises: UserError as
        :func:`tokenizer.shards.part_index.read_part_index`.
        """
        ...

    def record(
        self, part: int, number: int, together: tuple[int, int] | None = None
    ) -> pa.RecordBatch:
        """A record batch, checked; those from ``together[0]`` to ``together[1]`` - 1 are wanted
        soon.

        Raises: UserError when it cannot be read or is not sound.
        """
        ...

    def touch(self, part: int, number: int) -> None:
        """The batch that is being read uses this record batch."""
        ...

    def release(self, part: int, number: int) -> None:
        """The record batch is no longer held."""
        ...


def check_length(found: int, stated: int, path: str) -> None:
    """Raises: UserError when a part is not as long as the manifest says."""
    if found != stated:
        raise UserError(
            "a part is not as long as the manifest says",
            file=path,
            found=f"{found} bytes",
            allowed=[f"{stated} bytes"],
            fix=(Command("shards verify RUN"), " names the damage; then restore the part"),
        )
