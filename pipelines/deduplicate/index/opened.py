"""An index that is there, opened: its head and the columns of all its batches."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store
from dedup.index.columns import Segment
from dedup.index.files import IndexHead, read_head
from dedup.index.segments import StoredSegment, read_segment


@dataclass(frozen=True)
class OpenIndex:
    """An index as it is: its head and the columns of its batches."""

    store: Store
    head: IndexHead
    segments: list[StoredSegment]

    @staticmethod
    def of(store: Store, head: IndexHead) -> OpenIndex:
        """Open all batches. Raises: UserError for one that is not whole."""
        return OpenIndex(store, head, [read_segment(store, batch) for batch in head.batches])

    @staticmethod
    def at(index: str) -> OpenIndex:
        """Open the index in a folder. Raises: UserError where there is none."""
        store = existing_index(index)
        head = read_head(store)
        assert head is not None
        return OpenIndex.of(store, head)

    @property
    def columns(self) -> list[Segment]:
        return [stored.segment for stored in self.segments]

    @property
    def kept(self) -> int:
        """Kept documents of all batches."""
        return sum(len(stored.segment) for stored in self.segments)


def existing_index(index: str) -> Store:
    """The store of an index that is there. Raises: UserError."""
    store = Store(index.rstrip("/") or "/")
    if read_head(store) is None:
        raise UserError(
            "no index here",
            file=store.root,
            parameter="index",
            fix=("name its folder; ", Command("dedup index add INDEX PATHS -o DIR"), " makes one"),
        )
    return store
