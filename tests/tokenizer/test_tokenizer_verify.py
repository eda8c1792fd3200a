"""Verification: a sound source has no findings; every kind of damage is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from artifacts.ids import document_ids, native_key
from tokenizer.encode import Tokenizer
from tokenizer.shards.checksummed_file import ChecksummedFile
from tokenizer.shards.format import TRAINABLE, shard_schema
from tokenizer.shards.manifest import MANIFEST_NAME, SourceManifest, read_manifest
from tokenizer.shards.part_index import BatchRange, PartIndex
from tokenizer.shards.reader import map_table
from tokenizer.shards.shuffle import plan_parts
from tokenizer.shards.verify import Finding, verify
from tokenizer.shards.writer import write_encoded, write_part

EOS, VOCABULARY, BLOCK = 2, 512, 256
KEY = "0123456789abcdef"


def build(folder: Path, documents: int = 80, part_tokens: int = 600) -> SourceManifest:
    """A sound source with small checksum blocks, so that places are sharp."""
    draw = np.random.default_rng(3)
    rows = [
        [*draw.integers(3, VOCABULARY, int(draw.integers(1, 40))).tolist(), EOS]
        for _ in range(documents)
    ]
    spans = [
        [{"start": 0, "end": 1}, {"start": 1, "end": len(row)}] if number % 2 else None
        for number, row in enumerate(rows)
    ]
    ids = document_ids("web", [native_key(str(number)) for number in range(documents)])
    with (folder / "chunk").open("wb") as out:
        write_encoded(
            out, ids, ids, pa.array(rows, pa.large_list(pa.uint16())), pa.array(spans, TRAINABLE)
        )
    chunk = map_table(folder / "chunk", "encoded")
    records = []
    for number, part in enumerate(
        plan_parts([(ids, np.array([len(row) for row in rows]))], int(KEY, 16), part_tokens)
    ):
        name = f"part-{number:05d}.arrow"
        with (folder / name).open("wb") as out:
            sink = ChecksummedFile(out, BLOCK)
            written = write_part(sink, [chunk], part, pa.uint16(), batch_rows=16)
        checksum, blocks = sink.digests()
        index = PartIndex.of(BLOCK, blocks, written.batches)
        (folder / name).with_suffix(".json").write_bytes(index.to_json())
        facts = {
            "file": name,
            "append": 0,
            "bytes": sink.bytes,
            "checksum": checksum,
            "index_checksum": index.checksum,
        }
        records.append(
            {**facts, **{key: value for key, value in vars(written).items() if key != "batches"}}
        )
    facts = {
        "source": "web",
        "tokenizer_hash": "ab" * 16,
        "dtype": "uint16",
        "vocab_size": VOCABULARY,
        "eos_id": EOS,
        "shuffle_key": KEY,
    }
    manifest = SourceManifest.model_validate({**facts, "parts": records})
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    return manifest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


def rewrite(
    folder: Path,
    number: int,
    columns: dict[str, Any] | None = None,
    schema: pa.Schema | None = None,
    **facts: Any,
) -> None:
    """Replace columns of a part and set its manifest entry to fit the new bytes, so that only the
    content is wrong.
    """
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    record = manifest["parts"][number]
    path = folder / record["file"]
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    schema = schema or shard_schema(pa.uint16())
    held = {name: table[name].to_pylist() for name in table.column_names} | (columns or {})
    changed = pa.table(
        {field.name: pa.array(held[field.name], field.type) for field in schema}, schema=schema
    )
    batch = changed.combine_chunks().to_batches()[0]
    tokens = sum(len(row) for row in held["tokens"])
    with path.open("wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(batch)
        size = pa.ipc.get_record_batch_size(batch)
        place = BatchRange(
            file.tell() - size,
            size,
            facts.get("rows", changed.num_rows),
            facts.get("tokens", tokens),
        )
    raw = path.read_bytes()
    blocks = tuple(
        xxhash.xxh3_64_hexdigest(raw[start : start + BLOCK]) for start in range(0, len(raw), BLOCK)
    )
    index = PartIndex.of(BLOCK, blocks, (place,))
    path.with_suffix(".json").write_bytes(index.to_json())
    record |= {
        "bytes": len(raw),
        "checksum": xxhash.xxh3_128_hexdigest(raw),
        "index_checksum": index.checksum,
        "rows": changed.num_rows,
        "tokens": tokens,
        "trainable_tokens": sum(
            sum(span["end"] - span["start"] for span in spans) if spans is not None else len(row)
            for row, spans in zip(held["tokens"], held["trainable"], strict=True)
        ),
    } | facts
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def columns_of(folder: Path, number: int) -> dict[str, list[Any]]:
    table = pa.ipc.open_file(
        (folder / read_manifest(folder).parts[number].file).read_bytes()
    ).read_all()
    return {name: table[name].to_pylist() for name in table.column_names}


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def test_a_sound_source_has_no_findings(source: Path) -> None:
    assert len(read_manifest(source).parts) == 3
    assert verify(source) == []


def test_rewriting_a_part_unchanged_leaves_it_sound(source: Path) -> None:
    rewrite(source, 1)
    assert verify(source) == []


def test_a_flipped_token_byte_is_named_to_its_block_and_its_document(source: Path) -> None:
    record = read_manifest(source).parts[1]
    path = source / record.file
    raw = bytearray(path.read_bytes())
    rows = columns_of(source, 1)
    # in the first record batch, longer than the others
    row = max(range(16), key=lambda number: len(rows["tokens"][number]))
    needle = np.array(rows["tokens"][row], np.uint16).tobytes()
    place = bytes(raw).index(needle) + len(needle) // 2
    raw[place] ^= 1
    path.write_bytes(raw)
    [finding] = [one for one in verify(source) if one.kind == "damaged"]
    assert finding.part == record.file
    assert finding.byte_range == (
        place // BLOCK * BLOCK,
        min(place // BLOCK * BLOCK + BLOCK, len(raw)),
    )
    assert rows["id"][row].hex() in finding.ids
    assert finding.documents < len(rows["id"])


@pytest.mark.parametrize("column", ["id", "text_hash"])
def test_a_flipped_id_byte_names_its_place(source: Path, column: str) -> None:
    path = source / read_manifest(source).parts[0].file
    raw = bytearray(path.read_bytes())
    value = columns_of(source, 0)[column][3]
    place = (
        bytes(raw).index(value)
        if column == "id"
        else bytes(raw).index(value, bytes(raw).index(value) + 1)
    )
    raw[place] ^= 0x80
    path.write_bytes(raw)
    [finding] = [one for one in verify(source) if one.kind == "damaged"]
    assert finding.byte_range is not None
    assert finding.byte_range[0] <= place < finding.byte_range[1]
    assert finding.documents >= 1


def test_any_single_flipped_byte_is_found_in_its_block(source: Path) -> None:
    path = source / read_manifest(source).parts[2].file
    sound = path.read_bytes()
    for place in range(0, len(sound), 41):
        raw = bytearray(sound)
        raw[place] ^= 0xFF
        path.write_bytes(raw)
        ranges = [finding.byte_range for finding in verify(source) if finding.kind == "damaged"]
        assert len(ranges) == 1
        assert ranges[0] is not None
        assert ranges[0][0] <= place < ranges[0][1] <= ranges[0][0] + BLOCK


@pytest.mark.parametrize("change", [-700, -1, 1, 5000])
def test_a_part_of_another_length_is_found(source: Path, change: int) -> None:
    record = read_manifest(source).parts[0]
    raw = (source / record.file).read_bytes()
    (source / record.file).write_bytes(raw[:change] if change < 0 else raw + b"x" * change)
    found = verify(source)
    assert kinds(found)[0] == "size"
    damaged = [finding.byte_range for finding in found if finding.kind == "damaged"]
    assert damaged
    assert damaged[-1] is not None
    assert damaged[-1][1] == max(len(raw), len(raw) + change)


def test_an_empty_file_and_a_missing_one_are_found(source: Path) -> None:
    parts = read_manifest(source).parts
    (source / parts[0].file).write_bytes(b"")
    (source / parts[1].file).unlink()
    found = {(finding.part, finding.kind) for finding in verify(source)}
    assert {
        (parts[0].file, "unreadable"),
        (parts[0].file, "damaged"),
        (parts[1].file, "missing"),
    } <= found


def test_a_document_without_eos_is_named(source: Path) -> None:
    rows = columns_of(source, 0)
    rows["tokens"][4][-1] = 7
    rewrite(source, 0, rows)
    [finding] = verify(source)
    assert (finding.kind, finding.ids) == ("eos", (rows["id"][4].hex(),))


def test_an_empty_document_has_no_eos(source: Path) -> None:
    rows = columns_of(source, 0)
    rows["tokens"][4], rows["trainable"][4] = [], None
    rewrite(source, 0, rows)
    assert [(finding.kind, finding.ids) for finding in verify(source)] == [
        ("eos", (rows["id"][4].hex(),))
    ]


def test_a_token_outside_the_vocabulary_is_named(source: Path) -> None:
    rows = columns_of(source, 2)
    rows["tokens"][9][0] = VOCABULARY
    rewrite(source, 2, rows)
    [finding] = verify(source)
    assert (finding.kind, finding.ids) == ("token", (rows["id"][9].hex(),))


@pytest.mark.parametrize(
    "spans",
    [[(0, 0)], [(1, 0)], [(0, 9999)], [(1, 2), (0, 1)], [(0, 2), (1, 2)]],
)
def test_spans_that_cannot_be_are_named(source: Path, spans: list[tuple[int, int]]) -> None:
    rows = columns_of(source, 0)
    row = next(number for number, ids in enumerate(rows["tokens"]) if len(ids) > 3)
    rows["trainable"][row] = [{"start": start, "end": end} for start, end in spans]
    rewrite(source, 0, rows)
    [finding] = verify(source)
    assert (finding.kind, finding.ids) == ("span", (rows["id"][row].hex(),))


def test_spans_that_touch_are_sound(source: Path) -> None:
    rows = columns_of(source, 0)
    row = next(number for number, ids in enumerate(rows["tokens"]) if len(ids) > 3)
    rows["trainable"][row] = [{"start": 0, "end": 1}, {"start": 1, "end": len(rows["tokens"][row])}]
    rewrite(source, 0, rows)
    assert verify(source) == []


def test_documents_out_of_order_are_found(source: Path) -> None:
    rows = columns_of(source, 1)
    for column in rows.values():
        column[5], column[6] = column[6], column[5]
    rewrite(source, 1, rows)
    [finding] = verify(source)
    assert (finding.kind, finding.ids) == ("order", (rows["id"][6].hex(),))


def test_parts_in_the_wrong_order_are_found_and_another_append_starts_afresh(source: Path) -> None:
    manifest = json.loads((source / MANIFEST_NAME).read_bytes())
    manifest["parts"].reverse()
    (source / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert kinds(verify(source)) == ["order", "order"]
    for number, part in enumerate(manifest["parts"]):
        part["append"] = number
    (source / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert verify(source) == []


def test_an_id_in_two_parts_is_a_duplicate(source: Path) -> None:
    first, second = columns_of(source, 0), columns_of(source, 1)
    second["id"][0] = first["id"][-1]
    rewrite(source, 1, second)
    assert [(finding.kind, finding.ids) for finding in verify(source)] == [
        ("duplicate", (first["id"][-1].hex(),))
    ]


def test_counts_that_differ_from_the_manifest_are_found(source: Path) -> None:
    rewrite(source, 0, rows=5, tokens=6, trainable_tokens=7)
    assert kinds(verify(source)) == ["index", "count", "count", "count"]


def test_a_wrong_whole_checksum_is_found(source: Path) -> None:
    rewrite(source, 0, checksum="0" * 32)
    assert kinds(verify(source)) == ["checksum"]


def test_another_schema_is_found(source: Path) -> None:
    rewrite(source, 0, schema=shard_schema(pa.uint32()))
    assert kinds(verify(source)) == ["format"]
    rewrite(
        source, 0, schema=shard_schema(pa.uint16()).with_metadata({"windtunnel.format": "shard/7"})
    )
    assert kinds(verify(source)) == ["format"]


def test_the_wrong_tokenizer_is_named(source: Path, tokenizer: Tokenizer) -> None:
    [finding] = verify(source, tokenizer)
    assert finding.kind == "tokenizer"
    assert tokenizer.hash in finding.message


def test_a_finding_reads_as_one_line_with_its_documents() -> None:
    one = Finding(
        "damaged",
        "part-00000.arrow",
        "bytes 0 to 255 are not what was written",
        (0, 256),
        ("aa", "bb"),
        5,
    )
    assert (
        str(one)
        == "part-00000.arrow: damaged: bytes 0 to 255 are not what was written; documents aa, bb and 3 more"
    )
    assert (
        str(Finding("tokenizer", None, "encoded with another")) == "tokenizer: encoded with another"
    )


def test_tombstones_must_name_documents_the_source_holds(source: Path) -> None:
    manifest = json.loads((source / MANIFEST_NAME).read_bytes())
    part = manifest["parts"][0]["file"]
    real = columns_of(source, 0)["id"][2].hex()
    stones = [(part, 2, real), (part, 3, real), (part, 10_000, real), ("part-99999.arrow", 0, real)]
    manifest["tombstones"] = [
        {"part": name, "row": row, "id": one, "reason": "asked for"} for name, row, one in stones
    ]
    (source / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert [(finding.kind, finding.part) for finding in verify(source)] == [
        ("tombstone", part),
        ("tombstone", part),
        ("tombstone", "part-99999.arrow"),
    ]


def test_hostile_offsets_are_refused_before_they_are_followed(source: Path) -> None:
    path = source / read_manifest(source).parts[0].file
    raw = bytearray(path.read_bytes())
    ends = np.cumsum([len(ids) for ids in columns_of(source, 0)["tokens"][:16]])
    place = bytes(raw).index(ends.astype(np.int64).tobytes())
    raw[place : place + 8] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(raw)
    assert {"damaged", "structure"} <= set(kinds(verify(source)))
