"""What happened to one document, gathered by id joins over the tables of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.tables import open_batches, read_parquet
from artifacts.visible_text import on_one_line
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import ChunkTexts, sound_texts
from pipelines.shards.id_lists import parse_id, sources_of
from tokenizer.shards.manifest import MANIFEST_NAME, parse_manifest
from tokenizer.tool_calls import spoken

EXCERPT = 300
SPANS = 10  # cut spans shown to a person; JSON has all


def explain_document(store: Store, record: dict[str, Any], document: str) -> dict[str, Any]:
    """Everything a run knows of one document, as JSON values.

    ``document``: the id in 32 hex digits, or ``SOURCE:NATIVE_ID``.
    Raises: UserError when it is not an id, or no document has it.
    """
    wanted = parse_id(document, sources_of(record))
    found = _found(store, record, wanted)
    if found is None:
        return _quarantined(store, record, document, wanted)
    return _facts(store, record, *found, wanted)


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts as a person reads them; characters that a terminal obeys or hides are spelled
    out.
    """
    place = facts["document"]
    shown = [
        f"document {facts['id']}",
        f"  from     {place['source']}: {place['path']} at {place['offset']:,}"
        + (f" (native id {place['native_id']})" if place["native_id"] else ""),
        *(
            f"  {name:8} {place[name]}"
            for name in ("url", "lang", "license", "date")
            if place[name]
        ),
        f"  text     {facts['characters']:,} characters"
        + (f", rewritten {facts['rewrites']}x" if facts["rewrites"] else ""),
        f"           {facts['excerpt']!r}",
    ]
    shown += [_message_line(message) for message in facts.get("messages", ())]
    shown.append("signals")
    for step, values in facts["signals"].items():
        shown.append(
            f"  {step}: " + ", ".join(f"{name} {_number(value)}" for name, value in values.items())
        )
    shown += ["verdict", _verdict(facts)]
    for step, evidence in facts["evidence"].items():
        proof = (
            f"similarity {evidence['similarity']:.3f}, "
            f"{evidence['bands_hit']} bands, cluster of {evidence['cluster_size']}"
        )
        shown.append(
            f"  {step}: copy of {evidence['kept_id']}, {proof}, from {evidence['kept_source']}"
        )
    for step, spans in facts["cuts"].items():
        size = sum(span["end"] - span["start"] for span in spans)
        shown.append(
            f"  {step}: {len(spans):,} spans, {size:,} bytes of the text before this stage"
        )
        for span in spans[:SPANS]:
            place = (
                f"bytes {span['start']:,} to {span['end']:,}, "
                f"a {span['kind']} of {span['words']:,} words"
            )
            shown.append(
                f"    {place}: stands in {span['kept_id']} from byte {span['kept_start']:,} on"
            )
        shown += [f"    and {len(spans) - SPANS:,} more"] if len(spans) > SPANS else []
    for step, count in facts["stands_for"].items():
        shown.append(f"  {step}: stands for {count} removed documents")
    if facts["shards"] is not None:
        lies = facts["shards"]
        shown.append(f"  tokens   {lies['source']}: {lies['part']}, row {lies['row']:,}")
        if lies["removed"] is not None:
            shown.append(f"           taken down: {lies['removed']}")
    return [on_one_line(line) for line in shown]


def _verdict(facts: dict[str, Any]) -> str:
    if facts["kept"] is None:
        return "  none yet: the run has only read its sources"
    done = "quarantined" if facts["quarantined"] else "dropped"
    return "  kept" if facts["kept"] else f"  {done} by {facts['stage']}: {facts['reason']}"


def _message_line(message: dict[str, Any]) -> str:
    marks = [f"{message['role']:9} {message['characters']:,} characters"]
    marks += [f"name {message['name']}"] if message["name"] is not None else []
    marks += [f"{message['tool_calls']} tool calls"] if message["tool_calls"] else []
    marks += [f"weight {_number(message['weight'])}"] if message["weight"] is not None else []
    return "  " + ", ".join([*marks, "target" if message["target"] else "no loss"])


def _found(store: Store, record: dict[str, Any], wanted: bytes) -> tuple[Chunk, int] | None:
    """The chunk and row of a document."""
    for entry in record["chunks"]:
        chunk = Chunk.from_json(entry)
        assert chunk.documents is not None
        ids = read_parquet(store, chunk.documents.name, "documents", ["id"])["id"].combine_chunks()
        rows = np.flatnonzero(
            pa.compute.equal(ids, pa.scalar(wanted, pa.binary(16))).to_numpy(zero_copy_only=False)
        )
        if len(rows):
            return chunk, int(rows[0])
    return None


def _facts(
    store: Store, record: dict[str, Any], chunk: Chunk, row: int, wanted: bytes
) -> dict[str, Any]:
    with sound_texts(store, chunk):
        current = _row(ChunkTexts(store, chunk), row)
    selection = (
        None
        if chunk.selection is None
        else read_parquet(store, chunk.selection.name, "selection", ["stage", "reason"])
        .slice(row, 1)
        .to_pylist()[0]
    )
    evidence, stands_for = _comparisons(store, record, wanted)
    text = current["text"]
    messages = current.get("messages")
    return {
        "id": wanted.hex(),
        "document": {
            name: current[name]
            for name in (
                "source",
                "path",
                "offset",
                "native_id",
                "url",
                "lang",
                "license",
                "date",
                "meta",
            )
        },
        "characters": len(text),
        "rewrites": len(chunk.rewrites),
        "excerpt": text[:EXCERPT] + ("…" if len(text) > EXCERPT else ""),
        **({} if messages is None else {"messages": [*map(_message_facts, messages)]}),
        "signals": _signals(store, chunk, row),
        "kept": bool(kept_mask(store, chunk)[row]) if record["selection"] else None,
        "stage": None if selection is None else selection["stage"],
        "reason": None if selection is None else selection["reason"],
        "quarantined": selection is not None and _quarantines(record, selection),
        "evidence": evidence,
        "cuts": _cuts(store, chunk, wanted),
        "stands_for": stands_for,
        "shards": _shard_place(store, record, chunk.source, wanted),
    }


def _quarantines(record: dict[str, Any], selection: dict[str, Any]) -> bool:
    """Whether the step that took a document away quarantines for this reason."""
    return any(
        ledger["step"] == selection["stage"]
        and selection["reason"] in ledger["total"]["quarantined"]
        for ledger in record["ledgers"]
    )


def _message_facts(message: dict[str, Any]) -> dict[str, Any]:
    """What a message is for training; its text is in the document's."""
    calls = message.get("tool_calls")
    return {
        "role": message["role"],
        "characters": len(spoken(message["content"], calls)),
        "name": message.get("name"),
        "tool_calls": 0 if calls is None else len(orjson.loads(calls)),
        "weight": message.get("weight"),
        "target": message["role"] == "assistant" and message.get("weight") != 0,
    }


def _signals(store: Store, chunk: Chunk, row: int) -> dict[str, dict[str, Any]]:
    """What each measure found in a document, without ids and band keys."""
    signals = {}
    for step, ref in chunk.signals.items():
        values = read_parquet(store, ref.name, "signals").slice(row, 1).to_pylist()[0]
        signals[step] = {
            name: value
            for name, value in values.items()
            if name not in ("id", "text_hash", "bands")
        }
    return signals


def _comparisons(
    store: Store, record: dict[str, Any], wanted: bytes
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """By step: the evidence for a document's removal, and how many documents it stands for."""
    scalar = pa.scalar(wanted, pa.binary(16))
    evidence, stands_for = {}, {}
    for step, entry in record["evidence"].items():
        table = read_parquet(store, entry["file"]["name"], "evidence")
        for row in table.filter(pa.compute.equal(table["id"], scalar)).to_pylist():
            kept = _found(store, record, row["kept_id"])
            evidence[step] = {
                **{
                    name: value.hex() if isinstance(value, bytes) else value
                    for name, value in row.items()
                },
                "kept_source": None if kept is None else kept[0].source,
            }
        count = table.filter(pa.compute.equal(table["kept_id"], scalar)).num_rows
        if count:
            stands_for[step] = count
    return evidence, stands_for


def _cuts(store: Store, chunk: Chunk, wanted: bytes) -> dict[str, list[dict[str, Any]]]:
    """By step: the spans that were cut out of a document's text."""
    cuts = {}
    for step, ref in chunk.cuts.items():
        table = read_parquet(store, ref.name, "spans")
        spans = table.filter(pa.compute.equal(table["id"], pa.scalar(wanted, pa.binary(16))))
        if len(spans):
            cuts[step] = [
                {**span, "kept_id": span["kept_id"].hex()}
                for span in spans.drop_columns(["id", "text_hash"]).to_pylist()
            ]
    return cuts


def _shard_place(
    store: Store, record: dict[str, Any], source: str, wanted: bytes
) -> dict[str, Any] | None:
    """Where the document's tokens lie: the source of shards (with its band), part, row, and why it
    was taken down.
    """
    for name, entry in sorted(record["shards"].items()):
        if entry.get("source", source) != source:
            continue
        path = f"{entry['folder']}/{MANIFEST_NAME}"
        manifest = parse_manifest(store.read(path), store.full(path))
        for part in manifest.parts:
            row = _row_of(store, f"{entry['folder']}/{part.file}", wanted)
            if row is not None:
                reasons = [
                    stone.reason
                    for stone in manifest.tombstones
                    if (stone.part, stone.row) == (part.file, row)
                ]
                return {
                    "source": name,
                    "part": f"{entry['folder']}/{part.file}",
                    "row": row,
                    "removed": reasons[0] if reasons else None,
                }
    return None


def _row_of(store: Store, part: str, wanted: bytes) -> int | None:
    """Row of an id in a part, of which only the ids are read."""
    start = 0
    with open_batches(store, part, ["id"]) as shard:
        for number in range(shard.count):
            ids = shard.batch(number).column(0)
            place = pa.compute.index(ids, pa.scalar(wanted, pa.binary(16))).as_py()
            if place >= 0:
                return start + int(place)
            start += len(ids)
    return None


def _row(texts: ChunkTexts, row: int) -> dict[str, Any]:
    start = 0
    for batch in texts.batches():
        if row < start + batch.num_rows:
            found: dict[str, Any] = batch.slice(row - start, 1).to_pylist()[0]
            return found
        start += batch.num_rows
    raise IndexError(row)


def _quarantined(
    store: Store, record: dict[str, Any], document: str, wanted: bytes
) -> dict[str, Any]:
    for ref in record["quarantine"]:
        table = read_parquet(
            store, ref["name"], "quarantine", ["source", "path", "offset", "reason", "detail"]
        )
        for row in table.filter(pa.compute.equal(table["reason"], "duplicate_key")).to_pylist():
            if wanted.hex() in (row["detail"] or ""):
                raise UserError(
                    "only a quarantined record has this id",
                    file=row["path"],
                    field=f"byte {row['offset']}",
                    found=row["detail"],
                )
    raise UserError(
        "no document of this run has this id",
        file=store.root,
        parameter="document",
        found=document,
        fix="ids are 32 hex digits as in the tables, or SOURCE:NATIVE_ID",
    )


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
