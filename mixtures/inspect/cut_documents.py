"""Which documents do not fit into a window: in a source of whole documents these are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mixtures.loader.loader import Folders, open_streams
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan


@dataclass(frozen=True)
class CutDocuments:
    """A source in windows of ``window`` tokens: how many of its ``documents`` are ``longer``, and
    how many of its ``tokens`` lie ``behind_cuts``, where nothing before the cut is seen.
    """

    source: str
    window: int
    documents: int
    longer: int
    tokens: int
    behind_cuts: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"{self.source}: {self.longer:,} of {self.documents:,} documents "
            f"({self.longer / self.documents:.1%}) are longer than a window of {self.window:,} "
            f"tokens; they are cut every {self.window:,} tokens, and what follows a cut "
            f"({self.behind_cuts / self.tokens:.1%} of the source's tokens) is predicted without "
            "what precedes it"
        ).replace("%", " %")


def cut_documents(plans: Iterable[Plan], folders: Folders) -> list[CutDocuments]:
    """The sources of whole documents that the plans show and of which some are cut, by name and
    window; one pass over their documents' lengths.

    Raises: UserError when shards are missing or are not those that a plan pins.
    """
    found: dict[tuple[str, int], CutDocuments] = {}
    for plan in plans:
        streams = dict(zip(plan.names, open_streams(plan, folders), strict=True))
        for name, window in _packed(plan):
            if (name, window) not in found:
                found[name, window] = _counted(name, streams[name], window)
    return [found[key] for key in sorted(found) if found[key].longer]


def _packed(plan: Plan) -> Iterator[tuple[str, int]]:
    """Sources of whole documents and the windows that the plan shows them in."""
    for segment in plan.segments:
        window = plan.context_at(segment.first_step)[1].sequence_length
        columns = zip(plan.sources, segment.start, segment.end, strict=False)
        for source, before, after in columns:
            if source.packing == "documents" and (before or after):
                yield source.name, window


def _counted(name: str, stream: SourceStream, window: int) -> CutDocuments:
    documents = longer = behind = 0
    for batch in stream.batches(0, stream.tokens):
        tokens = np.diff(np.asarray(batch.offsets, np.int64))
        documents += len(tokens)
        longer += int((tokens > window).sum())
        behind += int(np.maximum(tokens - window, 0).sum())
    return CutDocuments(name, window, documents, longer, stream.tokens, behind)
