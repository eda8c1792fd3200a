"""What a take-down touches: where documents lie, which steps have shown them, and which checkpoints
have seen them.

    found, unknown = touched(store, record, ids)

``unknown`` are ids that no shard of the run holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze.pinning import pin
from mixtures.inspect.trace import ShownSpan, Tracer, steps_of, tokens_of
from mixtures.loader.loader import Folders
from mixtures.parts.find_document import Found, find_document
from mixtures.parts.open_parts import files_of, open_shards
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan
from pipelines.training.checkpoints import RunCheckpoint, run_checkpoints, trained_with
from pipelines.training.materials import Materials
from pipelines.training.plan_file import PLAN, plan_of_run


@dataclass(frozen=True)
class Touched:
    """A document of the shards. ``part`` is the file that holds it, inside the run, ``row`` its row
    in it, ``tokens`` its length.

    ``steps``, from 1, have shown it up to the newest checkpoint of the run's plan, ``shown_tokens``
    in all; ``checkpoints``, of the run's trainings and branches, have seen it. ``taken_down``: it
    has a tombstone already; ``masked_steps`` come after that and do not show it in the places that
    the plan has for it, of ``masked_tokens`` in all.
    """

    id: str
    source: str
    part: str
    row: int
    tokens: int
    taken_down: bool
    steps: tuple[int, ...]
    shown_tokens: int
    masked_steps: tuple[int, ...]
    masked_tokens: int
    checkpoints: tuple[str, ...]


def touched(
    store: Store, record: dict[str, Any], ids: Iterable[str]
) -> tuple[list[Touched], list[str]]:
    """What is known of each id, and the ids that no shard of the run holds, held-out shards
    included.
    """
    materials = Materials.of(store, record)
    folders = {**materials.folders, **materials.validation}
    streams = [_stream(name, folder) for name, folder in folders.items()]
    plan = plan_of_run(store) if store.exists(PLAN) else None
    checkpoints = run_checkpoints(store)
    seen = _Seen(plan, checkpoints, materials.folders)
    found, unknown = [], []
    for document in ids:
        try:
            place = find_document(streams, document)
        except UserError:
            unknown.append(document)
            continue
        found.append(_touched(store, streams[place.source], place, document, seen))
    return found, unknown


def run_tracer(store: Store, record: dict[str, Any]) -> Tracer:
    """Of a run's plan: it knows which of its steps were made before what was taken down since."""
    plan = plan_of_run(store)
    return Tracer(plan, Materials.of(store, record).folders, _newest(plan, run_checkpoints(store)))


def _newest(plan: Plan, checkpoints: Sequence[RunCheckpoint]) -> int:
    """The step of the newest checkpoint that a training with the plan goes on from, 0 without."""
    return max((one.step for one in trained_with(plan, checkpoints)), default=0)


class _Seen:
    """Which steps and checkpoints have seen a document, plan by plan."""

    def __init__(
        self, plan: Plan | None, checkpoints: Sequence[RunCheckpoint], folders: Folders
    ) -> None:
        self.folders = folders
        self.newest = 0 if plan is None else _newest(plan, checkpoints)
        self.own = None if plan is None else Tracer(plan, folders, self.newest)
        self.by_plan: dict[str, tuple[Tracer, list[RunCheckpoint]]] = {}
        for one in checkpoints:
            if one.plan_hash not in self.by_plan:
                made_with = one.plan()
                self.by_plan[one.plan_hash] = Tracer(made_with, folders, made_with.steps), []
            self.by_plan[one.plan_hash][1].append(one)

    def spans(self, source: str, part: int, document: str) -> tuple[list[ShownSpan], ...]:
        """Where the run's plan has shown a document, and where it masks it."""
        if self.own is None or not _planned(self.own.plan, source, part):
            return [], []
        spans = self.own.document(document)
        shown = [span for span in spans if not span.masked and span.step < self.newest]
        return shown, [span for span in spans if span.masked]

    def checkpoints(self, source: str, part: int, document: str) -> tuple[str, ...]:
        paths = []
        for tracer, made in self.by_plan.values():
            if _planned(tracer.plan, source, part):
                shown = (span.step for span in tracer.document(document) if not span.masked)
                first = min(shown, default=tracer.plan.steps)
                paths += [one.path for one in made if first < one.step]
        return tuple(sorted(paths))


def _touched(
    store: Store, stream: SourceStream, place: Found, document: str, seen: _Seen
) -> Touched:
    name, part = stream.pinned.name, stream.pinned.parts[place.part].file
    shown, masked = seen.spans(name, place.part, document)
    return Touched(
        id=document,
        source=name,
        part=f"{stream.files.where}/{part}".removeprefix(f"{store.base.rstrip('/')}/"),
        row=place.row,
        tokens=place.stop - place.start,
        taken_down=any(
            (stone.part, stone.row) == (part, place.row)
            for stone in stream.files.manifest.tombstones
        ),
        steps=tuple(step + 1 for step in steps_of(shown)),
        shown_tokens=tokens_of(shown),
        masked_steps=tuple(step + 1 for step in steps_of(masked)),
        masked_tokens=tokens_of(masked),
        checkpoints=seen.checkpoints(name, place.part, document),
    )


def _planned(plan: Plan, source: str, part: int) -> bool:
    """Whether a plan pins a part of a source."""
    return source in plan.names and part < len(plan.sources[plan.names.index(source)].parts)


def _stream(name: str, folder: Path | str) -> SourceStream:
    files = files_of(open_shards(folder))
    return SourceStream(pin(name, files, "stream", 0), files)
