"""The ledger: in = kept + dropped[reason] + quarantined[reason], in documents and in bytes.

Each step of a run has one, per source. An entry that does not balance is a defect and stops the
run: nothing may be lost in silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class LedgerError(Exception):
    """A step lost or invented documents: a defect of this software, never the user's."""


@dataclass
class Count:
    """Documents and bytes. Bytes are those of the step's unit: stream bytes when reading, text
    bytes afterwards.
    """

    documents: int = 0
    bytes: int = 0

    def add(self, documents: int, size: int) -> None:
        self.documents += int(documents)
        self.bytes += int(size)

    def to_json(self) -> dict[str, int]:
        return {"documents": self.documents, "bytes": self.bytes}

    @staticmethod
    def from_json(value: dict[str, int]) -> Count:
        return Count(value["documents"], value["bytes"])


@dataclass
class Entry:
    """What one step did with the documents of one source."""

    entered: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    dropped: dict[str, Count] = field(default_factory=dict)
    quarantined: dict[str, Count] = field(default_factory=dict)

    def drop(self, reason: str, documents: int, size: int) -> None:
        self.dropped.setdefault(reason, Count()).add(documents, size)

    def quarantine(self, reason: str, documents: int, size: int) -> None:
        self.quarantined.setdefault(reason, Count()).add(documents, size)

    def merge(self, other: Entry) -> None:
        self.entered.add(other.entered.documents, other.entered.bytes)
        self.kept.add(other.kept.documents, other.kept.bytes)
        for reason, count in other.dropped.items():
            self.drop(reason, count.documents, count.bytes)
        for reason, count in other.quarantined.items():
            self.quarantine(reason, count.documents, count.bytes)

    def check(self, step: str, source: str) -> None:
        """Raises: LedgerError when documents or bytes do not balance."""
        parts = [self.kept, *self.dropped.values(), *self.quarantined.values()]
        documents, size = sum(part.documents for part in parts), sum(part.bytes for part in parts)
        if (documents, size) != (self.entered.documents, self.entered.bytes):
            raise LedgerError(
                f"step {step}, source {source}: {self.entered.documents} documents "
                f"({self.entered.bytes} bytes) entered, "
                f"{documents} ({size} bytes) are accounted for"
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "in": self.entered.to_json(),
            "kept": self.kept.to_json(),
            "dropped": {reason: count.to_json() for reason, count in sorted(self.dropped.items())},
            "quarantined": {
                reason: count.to_json() for reason, count in sorted(self.quarantined.items())
            },
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> Entry:
        return Entry(
            Count.from_json(value["in"]),
            Count.from_json(value["kept"]),
            {reason: Count.from_json(count) for reason, count in value["dropped"].items()},
            {reason: Count.from_json(count) for reason, count in value["quarantined"].items()},
        )


@dataclass
class Ledger:
    """All entries of one step, with what it cost."""

    step: str
    sources: dict[str, Entry] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    fingerprint: str = ""
    computed: int = 0  # units made in this run; the rest were there already
    units: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)  # what a comparison counted on the way

    def entry(self, source: str) -> Entry:
        return self.sources.setdefault(source, Entry())

    def total(self) -> Entry:
        total = Entry()
        for entry in self.sources.values():
            total.merge(entry)
        return total

    def check(self) -> None:
        """Raises: LedgerError when any source does not balance."""
        for source, entry in self.sources.items():
            entry.check(self.step, source)

    def follows(self, previous: Ledger) -> None:
        """Raises: LedgerError unless what entered here is what the previous step kept."""
        for source, entry in self.sources.items():
            kept = previous.entry(source).kept.documents
            if kept != entry.entered.documents:
                raise LedgerError(
                    f"source {source}: {previous.step} kept {kept} documents, {self.step} got "
                    f"{entry.entered.documents}"
                )

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "sources": {name: entry.to_json() for name, entry in sorted(self.sources.items())},
            "total": self.total().to_json(),
            "inputs": self.inputs,
            "fingerprint": self.fingerprint,
            "units": self.units,
            "computed": self.computed,
            "seconds": round(self.seconds, 3),
            "peak_bytes": self.peak_bytes,
            "facts": self.facts,
        }
