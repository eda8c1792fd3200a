"""Check a source against its manifest and its own rules, and say where it is broken.

Every part: present, of the right size, its index the one the manifest names and true of the file,
every block's checksum (damage is named to within its block, with the documents in it), the Arrow
structure, counts, EOS at each document's end, ids inside the vocabulary, spans inside their
documents. The whole source: ids unique, order by keyed hash within each append, tombstones that
name documents it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.ids import as_words
from artifacts.keyed_hash import keyed_hash
from tokenizer.encode import Tokenizer
from tokenizer.shards.damage import PartLayout, damaged_ranges
from tokenizer.shards.format import TOKEN_TYPES, shard_schema
from tokenizer.shards.manifest import PartRecord, SourceManifest, read_manifest
from tokenizer.shards.part_index import PartIndex, read_part_index
from tokenizer.shards.reader import checked_format, token_batch
from tokenizer.shards.record_batch import decode_batch, rows_with_bad_spans, unreadable
from tokenizer.shards.writer import trainable_tokens

MOST_IDS = 16
KINDS = (
    "tokenizer", "missing", "size", "index", "damaged", "checksum", "unreadable", "format",
    "structure", "count", "eos", "token", "span", "duplicate", "order", "tombstone",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing wrong: its kind (of :data:`KINDS`), the part file or None for the source, and
    where.

    ``byte_range`` is [start, stop) in the file; ``ids`` at most :data:`MOST_IDS` document ids (32
    hex digits) of ``documents`` in all.
    """

    kind: str
    part: str | None
    message: str
    byte_range: tuple[int, int] | None = None
    ids: tuple[str, ...] = ()
    documents: int = 0

    def __str__(self) -> str:
        """One line for people."""
        line = (
            f"{self.part}: {self.kind}: {self.message}"
            if self.part
            else f"{self.kind}: {self.message}"
        )
        if not self.ids:
            return line
        more = (
            f" and {self.documents - len(self.ids)} more" if self.documents > len(self.ids) else ""
        )
        return f"{line}; documents {', '.join(self.ids)}{more}"


def verify(folder: Path | str, tokenizer: Tokenizer | None = None) -> list[Finding]:
    """Everything wrong with the source in ``folder``; an empty list when it is sound.

    ``tokenizer``: when given, the one it should be encoded with.
    Raises: UserError when there is no readable manifest.
    """
    manifest = read_manifest(folder)
    findings = [] if tokenizer is None else _tokenizer_findings(manifest, tokenizer)
    ids: list[pa.FixedSizeBinaryArray | None] = []
    for record in manifest.parts:
        found, part_ids = part_findings(Path(folder) / record.file, record, manifest)
        findings += found
        ids.append(part_ids)
    return (
        findings
        + _order_findings(manifest, ids)
        + _duplicate_findings(ids)
        + _tombstone_findings(manifest, ids)
    )


def _tokenizer_findings(manifest: SourceManifest, tokenizer: Tokenizer) -> list[Finding]:
    expected = {
        "tokenizer_hash": tokenizer.hash,
        "vocab_size": tokenizer.vocab_size,
        "eos_id": tokenizer.eos_id,
    }
    differ = [
        f"{name} is {getattr(manifest, name)}, not {value}"
        for name, value in expected.items()
        if getattr(manifest, name) != value
    ]
    return (
        [Finding("tokenizer", None, f"encoded with another tokenizer: {'; '.join(differ)}")]
        if differ
        else []
    )


def part_findings(
    path: Path, record: PartRecord, manifest: SourceManifest
) -> tuple[list[Finding], pa.FixedSizeBinaryArray | None]:
    """What is wrong with one part, and its ids when they can be read."""
    if not path.is_file():
        return [Finding("missing", record.file, "the file is missing")], None
    findings: list[Finding] = []
    size = path.stat().st_size
    if size != record.bytes:
        findings.append(Finding("size", record.file, f"{size} bytes, not {record.bytes}"))
    layout, problem = _opened(path, manifest)
    index, wrong = _index(path, record)
    findings += wrong
    ranges, checksum = damaged_ranges(path, record, index)
    for damaged in ranges:
        touched = layout.documents(damaged) if layout else np.empty(0, "V16")
        message = f"bytes {damaged[0]} to {damaged[1] - 1} are not what was written"
        findings.append(_with_ids("damaged", record.file, message, touched, damaged))
    if not ranges and checksum != record.checksum:
        findings.append(
            Finding(
                "checksum", record.file, f"the file's checksum is {checksum}, not {record.checksum}"
            )
        )
    if layout is not None and index is not None and not ranges and size == record.bytes:
        findings += _range_findings(layout, index, record)
    if problem:
        findings.append(Finding(problem[0], record.file, problem[1]))
    if layout is None:
        return findings, None
    findings += _content_findings(layout.batches, record, manifest)
    return findings, pa.concat_arrays(
        [batch.column("id") for batch in layout.batches] or [pa.array([], pa.binary(16))]
    )


def _index(path: Path, record: PartRecord) -> tuple[PartIndex | None, list[Finding]]:
    """The part's index, or None and why it cannot be used."""
    try:
        return read_part_index(path.parent, record), []
    except UserError as error:
        found = "" if error.found is None else f" ({error.found})"
        return None, [Finding("index", record.index_file, f"{error.message}{found}")]


def _range_findings(layout: PartLayout, index: PartIndex, record: PartRecord) -> list[Finding]:
    """Whether each recorded range is the record batch the file's own footer names in its place."""
    if len(index.batches) != len(layout.batches):
        return [
            Finding(
                "index",
                record.index_file,
                f"{len(index.batches)} record batches, not the {len(layout.batches)} of the part",
            )
        ]
    wrong = []
    for number, (place, batch) in enumerate(zip(index.batches, layout.batches, strict=True)):
        try:
            found = decode_batch(layout.mapped.slice(place.offset, place.bytes), layout.schema)
        except pa.ArrowException:
            wrong.append(number)
            continue
        same = found.column("id").buffers()[1].address == batch.column("id").buffers()[1].address
        if (
            not same
            or unreadable(found)
            or (place.rows, place.tokens)
            != (batch.num_rows, len(token_batch(batch.column("tokens")).values))
        ):
            wrong.append(number)
    if not wrong:
        return []
    return [
        Finding(
            "index",
            record.index_file,
            f"{len(wrong)} record batches are not at their places, the first number {wrong[0]}",
        )
    ]


def _opened(
    path: Path, manifest: SourceManifest
) -> tuple[PartLayout | None, tuple[str, str] | None]:
    """The part's batches when it is safe to read them, else why not."""
    try:
        layout = PartLayout(path)
    except (pa.ArrowException, OSError) as error:
        return None, ("unreadable", str(error))
    try:
        checked_format(layout.schema, "shard", path)
        if not layout.schema.equals(shard_schema(TOKEN_TYPES[manifest.dtype])):
            columns = layout.schema.to_string(show_schema_metadata=False)
            return None, ("format", f"columns are not those of {manifest.dtype} shards: {columns}")
        for batch in layout.batches:
            if (wrong := unreadable(batch)) is not None:
                return None, ("structure", wrong)
    except UserError as error:
        return None, ("format", error.message)
    return layout, None


def _content_findings(
    batches: list[pa.RecordBatch], record: PartRecord, manifest: SourceManifest
) -> list[Finding]:
    """Counts and the rules every document keeps."""
    rows = tokens = targets = 0
    no_eos: list[NDArray[np.void]] = []
    outside: list[NDArray[np.void]] = []
    bad_spans: list[NDArray[np.void]] = []
    for batch in batches:
        held = token_batch(batch.column("tokens"))
        lengths = np.diff(held.offsets)
        ids = np.frombuffer(batch.column("id").buffers()[1], "V16", batch.num_rows)
        rows += batch.num_rows
        tokens += len(held.values)
        targets += trainable_tokens(batch.column("trainable"), lengths)
        ended = lengths > 0
        ended[ended] = held.values[held.offsets[1:][ended] - 1] == manifest.eos_id
        no_eos.append(ids[~ended])
        wrong = np.flatnonzero(held.values >= manifest.vocab_size)
        outside.append(ids[np.unique(np.searchsorted(held.offsets, wrong, "right") - 1)])
        bad_spans.append(ids[rows_with_bad_spans(batch.column("trainable"), lengths)])
    findings = [
        Finding("count", record.file, f"{found} {name}, not {stated}")
        for name, found, stated in (
            ("documents", rows, record.rows),
            ("tokens", tokens, record.tokens),
            ("target tokens", targets, record.trainable_tokens),
        )
        if found != stated
    ]
    rules = (
        ("eos", f"documents do not end with token {manifest.eos_id}", no_eos),
        ("token", f"documents hold tokens of {manifest.vocab_size} or more", outside),
        (
            "span",
            "documents have target spans that are empty, overlap or reach past the end",
            bad_spans,
        ),
    )
    for kind, message, found in rules:
        broken = np.concatenate(found) if found else np.empty(0, "V16")
        if len(broken):
            findings.append(_with_ids(kind, record.file, f"{len(broken)} {message}", broken))
    return findings


def _order_findings(
    manifest: SourceManifest, ids: list[pa.FixedSizeBinaryArray | None]
) -> list[Finding]:
    """Parts of one append are one sequence, ascending by (keyed hash, id)."""
    key = int(manifest.shuffle_key, 16)
    findings: list[Finding] = []
    # append and sort key of the document before
    before: tuple[int, NDArray[np.uint64]] | None = None
    for record, part_ids in zip(manifest.parts, ids, strict=True):
        if part_ids is None or len(part_ids) == 0:
            before = None if part_ids is None else before
            continue
        keys = np.column_stack([keyed_hash(part_ids, key), as_words(part_ids)])
        sequence = np.vstack([before[1], keys]) if before and before[0] == record.append else keys
        wrong = (
            np.flatnonzero(~_ascends(sequence[:-1], sequence[1:])) + 1 - (len(sequence) - len(keys))
        )
        if len(wrong):
            shown = np.frombuffer(
                part_ids.buffers()[1], "V16", len(part_ids), part_ids.offset * 16
            )[wrong]
            findings.append(
                _with_ids(
                    "order",
                    record.file,
                    f"{len(wrong)} documents stand before their place in the shuffle",
                    shown,
                )
            )
        before = (record.append, keys[-1])
    return findings


def _ascends(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether rows (n, 3) of left are below or equal to those of right, by first, second, third
    column.
    """
    less = left < right
    same = left == right
    ascends: NDArray[np.bool_] = less[:, 0] | same[:, 0] & (
        less[:, 1] | same[:, 1] & (less[:, 2] | same[:, 2])
    )
    return ascends


def _duplicate_findings(ids: list[pa.FixedSizeBinaryArray | None]) -> list[Finding]:
    known = [part_ids for part_ids in ids if part_ids is not None]
    if not known:
        return []
    words = as_words(pa.concat_arrays(known))
    order = np.lexsort((words[:, 1], words[:, 0]))
    twice = (words[order[1:]] == words[order[:-1]]).all(axis=1)
    if not twice.any():
        return []
    again = np.unique(words[order[1:][twice]], axis=0).astype(">u8")
    shown = np.frombuffer(again.tobytes(), "V16")
    return [
        _with_ids("duplicate", None, f"{len(shown)} ids stand for more than one document", shown)
    ]


def _tombstone_findings(
    manifest: SourceManifest, ids: list[pa.FixedSizeBinaryArray | None]
) -> list[Finding]:
    parts = {
        record.file: (record, part_ids)
        for record, part_ids in zip(manifest.parts, ids, strict=True)
    }
    findings: list[Finding] = []
    for stone in manifest.tombstones:
        if stone.part not in parts:
            findings.append(
                Finding(
                    "tombstone",
                    stone.part,
                    "a tombstone names a part the source lacks",
                    None,
                    (stone.id,),
                    1,
                )
            )
            continue
        part_ids = parts[stone.part][1]
        if part_ids is not None and (
            stone.row >= len(part_ids) or part_ids[stone.row].as_py().hex() != stone.id
        ):
            findings.append(
                Finding(
                    "tombstone",
                    stone.part,
                    f"row {stone.row} is not the document named",
                    None,
                    (stone.id,),
                    1,
                )
            )
    return findings


def _with_ids(
    kind: str,
    part: str | None,
    message: str,
    ids: NDArray[np.void],
    byte_range: tuple[int, int] | None = None,
) -> Finding:
    return Finding(
        kind,
        part,
        message,
        byte_range,
        tuple(one.tobytes().hex() for one in ids[:MOST_IDS]),
        len(ids),
    )
