"""What is known of one chunk of the corpus while it goes through the stages: references to
files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from artifacts.publish import FileRef
from pipelines.readers.span import Span


@dataclass(frozen=True)
class Chunk:
    """A run of documents of one source, and what was made of it so far.

    ``documents`` holds the records as read, ``rewrites`` the later text versions in order,
    ``signals`` the newest file of each measure, ``verdicts`` the rules that each choosing step
    found broken, ``selection`` who is still kept (None: everybody), ``cuts`` the spans that each
    stage cut out of texts, ``undecided`` the documents that a step did not decide within its limit.
    """

    number: int
    source: str
    spans: tuple[Span, ...]
    digests: tuple[str, ...]  # of the spans' files, when the run was planned
    stamps: tuple[str, ...] = ()  # cheap marks of the same files at that moment
    documents: FileRef | None = None
    quarantine: FileRef | None = None
    rewrites: tuple[FileRef, ...] = ()
    signals: dict[str, FileRef] = field(default_factory=dict)
    selection: FileRef | None = None
    verdicts: dict[str, FileRef] = field(default_factory=dict)
    cuts: dict[str, FileRef] = field(default_factory=dict)
    encoded: FileRef | None = None
    undecided: dict[str, FileRef] = field(default_factory=dict)

    @property
    def records(self) -> FileRef:
        """The documents as read, of a chunk that was."""
        assert self.documents is not None, f"chunk {self.number} was not read"
        return self.documents

    def text_version(self) -> list[str]:
        """Checksums that fix the current text of every row."""
        return [self.records.checksum, *(ref.checksum for ref in self.rewrites)]

    def selection_version(self) -> str | None:
        """Checksum that fixes who is kept; None while everybody is."""
        return None if self.selection is None else self.selection.checksum

    def with_signal(self, name: str, ref: FileRef) -> Chunk:
        return replace(self, signals={**self.signals, name: ref})

    def to_json(self) -> dict[str, Any]:
        def ref(value: FileRef | None) -> dict[str, Any] | None:
            return None if value is None else value.to_json()

        undecided = {name: value.to_json() for name, value in self.undecided.items()}
        return {
            "number": self.number,
            "source": self.source,
            "spans": [
                {"path": span.path, "start": span.start, "end": span.end} for span in self.spans
            ],
            "documents": ref(self.documents),
            "quarantine": ref(self.quarantine),
            "rewrites": [value.to_json() for value in self.rewrites],
            "signals": {name: value.to_json() for name, value in sorted(self.signals.items())},
            "selection": ref(self.selection),
            "verdicts": {name: value.to_json() for name, value in self.verdicts.items()},
            "cuts": {name: value.to_json() for name, value in self.cuts.items()},
            "encoded": ref(self.encoded),
            **({"undecided": undecided} if undecided else {}),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> Chunk:
        """The chunk as a finished run recorded it; enough to read its files, not to read its inputs
        again.
        """

        def ref(entry: dict[str, Any] | None) -> FileRef | None:
            return None if entry is None else FileRef.from_json(entry)

        return Chunk(
            number=value["number"],
            source=value["source"],
            spans=tuple(
                Span(url="", path=span["path"], start=span["start"], end=span["end"])
                for span in value["spans"]
            ),
            digests=(),
            documents=ref(value["documents"]),
            quarantine=ref(value["quarantine"]),
            rewrites=tuple(FileRef.from_json(entry) for entry in value["rewrites"]),
            signals={name: FileRef.from_json(entry) for name, entry in value["signals"].items()},
            selection=ref(value["selection"]),
            verdicts={name: FileRef.from_json(entry) for name, entry in value["verdicts"].items()},
            cuts={name: FileRef.from_json(entry) for name, entry in value.get("cuts", {}).items()},
            encoded=ref(value["encoded"]),
            undecided={
                name: FileRef.from_json(entry) for name, entry in value.get("undecided", {}).items()
            },
        )
