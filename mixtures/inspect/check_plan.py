"""Hold a plan against the shards: are they those it was frozen with, what of them is not
shown any more, are its rules kept.

    for row in check_plan(plan, folders, deep=True): ...

A row per source, with what was found in it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze.plan_phases import check_rules_held
from mixtures.loader.loader import Folders, open_streams
from mixtures.order.interleave import check_cursors
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan
from tokenizer.shards.manifest import PartRecord
from tokenizer.shards.verify import Finding, part_findings


@dataclass(frozen=True)
class SourceCheck:
    """A source of the plan. ``parts``, ``rows`` and ``tokens`` are pinned; ``later_tokens`` were
    appended since and are not planned.

    ``removed_documents`` of ``removed_tokens`` have a tombstone: their places stay, and no step has
    them as targets any more. ``findings``: damage, where it was looked for.
    """

    source: str
    where: str
    parts: int
    rows: int
    tokens: int
    later_parts: int
    later_tokens: int
    removed_documents: int
    removed_tokens: int
    findings: tuple[Finding, ...] = ()


def check_plan(
    plan: Plan, folders: Folders, *, branch: str | None = None, deep: bool = False
) -> list[SourceCheck]:
    """Check pins, counts, rules, and with ``deep`` every byte of the pinned parts and their
    indices.

    ``branch``: the name of the branch whose plan it is, for sources reserved for it.
    Raises: UserError at the first source that is not what the plan pins, when the plan's counts do
    not follow from its segments, and when a rule is broken. Damage of parts is returned.
    """
    check_cursors(plan)
    check_rules_held(plan, branch)
    return [_checked(stream, deep) for stream in open_streams(plan, folders)]


def _checked(stream: SourceStream, deep: bool) -> SourceCheck:
    pinned, manifest = stream.pinned, stream.files.manifest
    later = manifest.parts[len(pinned.parts) :]
    removed = [row for part in range(len(pinned.parts)) for row in _removed_lengths(stream, part)]
    return SourceCheck(
        source=pinned.name,
        where=stream.files.where,
        parts=len(pinned.parts),
        rows=sum(part.rows for part in pinned.parts),
        tokens=pinned.tokens,
        later_parts=len(later),
        later_tokens=sum(part.tokens for part in later),
        removed_documents=len(removed),
        removed_tokens=sum(removed),
        findings=tuple(_damage(stream)) if deep else (),
    )


def _removed_lengths(stream: SourceStream, part: int) -> list[int]:
    """Tokens of each document of a part that has a tombstone."""
    file = stream.pinned.parts[part].file
    rows = sorted({stone.row for stone in stream.files.manifest.tombstones if stone.part == file})
    if not rows:
        return []
    if rows[-1] >= stream.pinned.parts[part].rows:
        raise UserError(
            f"a tombstone of a row that {file} does not have",
            file=stream.files.where,
            field="tombstones",
            found=rows[-1],
            allowed=[f"below {stream.pinned.parts[part].rows}"],
            fix=(Command("shards verify RUN"), " names the damage; then restore the manifest"),
        )
    _, firsts = stream.layout(part)
    lengths = []
    for row in rows:
        number = int(np.searchsorted(firsts, row, "right")) - 1
        offsets = stream.batch(part, number).offsets
        lengths.append(int(offsets[row - firsts[number] + 1] - offsets[row - firsts[number]]))
    return lengths


def _damage(stream: SourceStream) -> Sequence[Finding]:
    """What is wrong with the pinned parts, block by block."""
    where, manifest = stream.files.where, stream.files.manifest
    findings: list[Finding] = []
    for record in manifest.parts[: len(stream.pinned.parts)]:
        with _on_disk(where, record) as part:
            findings += part_findings(part, record, manifest)[0]
    return findings


@contextlib.contextmanager
def _on_disk(where: str, record: PartRecord) -> Iterator[Path]:
    """A part with its index beside it: its file, or a copy of one on a store, for the length of
    the block.
    """
    if "://" not in where:
        yield Path(where) / record.file
        return
    store = Store(where)
    with tempfile.TemporaryDirectory(prefix="windtunnel-part-") as folder:
        for name in (record.file, record.index_file):
            if store.exists(name):
                store.fs.get_file(store.full(name), str(Path(folder) / name))
        yield Path(folder) / record.file
