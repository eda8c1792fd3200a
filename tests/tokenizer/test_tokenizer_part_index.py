"""Parts read by recorded ranges: the same batches as Arrow's own reader, without a copy, and
nothing unsound.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key
from tokenizer.shards.format import TOKEN_TYPES, TRAINABLE, shard_schema
from tokenizer.shards.manifest import (
    MANIFEST_NAME,
    REBUILD,
    PartRecord,
    SourceManifest,
    read_manifest,
)
from tokenizer.shards.part_index import BatchRange, PartIndex, read_part_index
from tokenizer.shards.reader import open_source
from tokenizer.shards.record_batch import open_batch
from tokenizer.shards.verify import verify
from tokenizer.shards.writer import BATCH_TOKENS, write_encoded, write_source

EOS = 2


def build(
    folder: Path,
    dtype: str = "uint16",
    spans: bool = True,
    batch_rows: int = 7,
    documents: int = 90,
) -> SourceManifest:
    draw = np.random.default_rng(11)
    rows = [
        [*draw.integers(3, 500, int(draw.integers(0, 40))).tolist(), EOS] for _ in range(documents)
    ]
    own = (
        [[{"start": 0, "end": len(row)}] if number % 3 else None for number, row in enumerate(rows)]
        if spans
        else None
    )
    ids = document_ids("web", [native_key(str(number)) for number in range(documents)])
    column = None if own is None else pa.array(own, TRAINABLE)
    with (folder / "chunk").open("wb") as out:
        write_encoded(out, ids, ids, pa.array(rows, pa.large_list(TOKEN_TYPES[dtype])), column)
    facts = {
        "source": "web",
        "tokenizer_hash": "ab" * 16,
        "dtype": dtype,
        "vocab_size": 512,
        "eos_id": EOS,
        "shuffle_key": "00000000000000ff",
    }
    return write_source(
        folder, [folder / "chunk"], SourceManifest.model_validate(facts), 800, batch_rows=batch_rows
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("spans", [True, False])
@pytest.mark.parametrize("batch_rows", [1, 7, 1 << 20])
def test_the_bytes_of_a_recorded_range_are_the_batch_that_arrow_reads(
    tmp_path: Path, dtype: str, spans: bool, batch_rows: int
) -> None:
    manifest = build(tmp_path, dtype, spans, batch_rows)
    schema = shard_schema(TOKEN_TYPES[dtype])
    assert len(manifest.parts) > 1
    for part in manifest.parts:
        raw = (tmp_path / part.file).read_bytes()
        index = read_part_index(tmp_path, part)
        assert (
            read_part_index((tmp_path / part.index_file).read_bytes(), part).to_json()
            == index.to_json()
        )
        with pa.ipc.open_file(raw) as reader:
            assert len(index.batches) == reader.num_record_batches
            for number, place in enumerate(index.batches):
                batch = open_batch(raw[place.offset : place.offset + place.bytes], schema)
                expected = reader.get_batch(number)
                assert batch.equals(expected, check_metadata=True)
                assert (place.rows, place.tokens) == (
                    expected.num_rows,
                    len(expected["tokens"].flatten()),
                )
        assert index.row_starts.tolist()[-1] == part.rows
        assert index.token_starts.tolist()[-1] == part.tokens
    assert verify(tmp_path) == []


def test_a_batch_of_a_mapped_part_is_a_view_of_it(source: Path) -> None:
    part = read_manifest(source).parts[0]
    mapped = pa.memory_map(str(source / part.file)).read_buffer()
    place = read_part_index(source, part).batches[1]
    before = pa.total_allocated_bytes()
    batch = open_batch(mapped.slice(place.offset, place.bytes), shard_schema(pa.uint16()))
    assert pa.total_allocated_bytes() == before
    values = batch["tokens"].values.buffers()[1]
    assert (
        mapped.address + place.offset < values.address < mapped.address + place.offset + place.bytes
    )


def test_a_batch_holds_two_mebitokens_so_that_a_block_of_sixteen_costs_an_eighth_more_to_read() -> (
    None
):
    block = 1 << 24
    assert (block + BATCH_TOKENS) / block == 1.125


def test_every_byte_of_an_index_is_under_its_checksum(source: Path) -> None:
    part = read_manifest(source).parts[0]
    path = source / part.index_file
    sound = path.read_bytes()
    for place in range(0, len(sound), 29):
        raw = bytearray(sound)
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(UserError) as raised:
            read_part_index(source, part)
        assert (raised.value.file, raised.value.field) == (str(path), "index_checksum")
        assert [finding.kind for finding in verify(source)] == ["index"]


def test_a_missing_index_is_named_and_found_by_verification(source: Path) -> None:
    part = read_manifest(source).parts[1]
    (source / part.index_file).unlink()
    with pytest.raises(
        UserError, match=r"part-00001.json: the index of a part is missing(.|\n)*fix"
    ):
        open_source(source).index(1)
    assert [(finding.kind, finding.part) for finding in verify(source)] == [
        ("index", part.index_file)
    ]


def test_damage_of_a_part_is_found_without_its_index_by_the_checksum_of_the_whole(
    source: Path,
) -> None:
    part = read_manifest(source).parts[0]
    raw = bytearray((source / part.file).read_bytes())
    raw[len(raw) // 2] ^= 1
    (source / part.file).write_bytes(raw)
    (source / part.index_file).unlink()
    assert {"index", "checksum"} <= {finding.kind for finding in verify(source)}


def changed(source: Path, number: int, change: dict[str, Any]) -> PartRecord:
    """The index rewritten with other values and the manifest's checksum set to fit, so that only
    the content is wrong.
    """
    facts = json.loads((source / MANIFEST_NAME).read_bytes())
    path = source / read_manifest(source).parts[number].index_file
    raw = json.dumps({**json.loads(path.read_bytes()), **change}).encode()
    path.write_bytes(raw)
    facts["parts"][number]["index_checksum"] = xxhash.xxh3_128_hexdigest(raw)
    (source / MANIFEST_NAME).write_text(json.dumps(facts))
    return read_manifest(source).parts[number]


def batches_of(source: Path) -> list[list[int]]:
    return [
        list(place) for place in read_part_index(source, read_manifest(source).parts[0]).batches
    ]


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        (0, -8, "ranges"),
        (0, 0, "ranges.4"),
        (0, 1 << 70, "ranges"),
        (1, 0, "ranges.4"),
        (1, 1 << 40, "ranges.4"),
        (2, 6, "rows"),
        (3, 1 << 41, "tokens"),
        (3, "many", "ranges.7"),
        (3, 2.5, "ranges.7"),
    ],
)
def test_ranges_that_cannot_be_are_refused(
    source: Path, column: int, value: Any, field: str
) -> None:
    batches = batches_of(source)
    batches[1][column] = value
    part = changed(source, 0, {"ranges": [number for place in batches for number in place]})
    with pytest.raises(UserError) as raised:
        read_part_index(source, part)
    assert raised.value.file == str(source / part.index_file)
    assert raised.value.field.startswith(field)
    assert raised.value.fix == "".join(map(str, REBUILD))


def test_ranges_in_another_order_are_refused(source: Path) -> None:
    part = changed(
        source, 0, {"ranges": [number for place in batches_of(source)[::-1] for number in place]}
    )
    with pytest.raises(UserError, match="does not lie behind"):
        read_part_index(source, part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "part/9"}, "part/1"),
        ({"blocks": ""}, "other blocks"),
        ({"blocks": "xyz"}, "damaged"),
        ({"more": 1}, "more"),
        ({"ranges": []}, "other rows"),
        ({"ranges": 7}, "damaged"),
        ({"block_bytes": 0}, "damaged"),
    ],
)
def test_an_index_of_another_form_is_refused(
    source: Path, change: dict[str, Any], message: str
) -> None:
    part = changed(source, 0, change)
    with pytest.raises(UserError, match=message):
        read_part_index(source, part)


def test_an_index_that_is_no_json_is_refused(source: Path) -> None:
    part = read_manifest(source).parts[0]
    raw = b"[" * 100_000
    with pytest.raises(UserError, match="damaged"):
        read_part_index(
            raw, part.model_copy(update={"index_checksum": xxhash.xxh3_128_hexdigest(raw)})
        )


def test_verification_finds_ranges_that_are_in_bounds_and_yet_not_the_batches(source: Path) -> None:
    batches = batches_of(source)
    batches[0][1] -= 8
    changed(source, 0, {"ranges": [number for place in batches for number in place]})
    assert [finding.kind for finding in verify(source)] == ["index"]
    batches = batches_of(source)
    batches[0][1] += 8
    batches[1][2], batches[2][2] = batches[1][2] + 1, batches[2][2] - 1
    changed(source, 0, {"ranges": [number for place in batches for number in place]})
    [finding] = verify(source)
    assert "2 record batches are not at their places" in finding.message


def batch_bytes(spans: pa.Array, offsets: list[int] | None = None) -> bytes:
    """The message of three documents of two tokens, with these offsets in place of the true
    ones.
    """
    ids = pa.array([bytes(16)] * 3, pa.binary(16))
    tokens = pa.array([[3, 4], [5, 6], [7, 8]], pa.large_list(pa.uint16()))
    raw = (
        pa.record_batch([ids, ids, tokens, spans], schema=shard_schema(pa.uint16()))
        .serialize()
        .to_pybytes()
    )
    true = np.array([0, 2, 4, 6], np.int64).tobytes()
    assert raw.count(true) == 1
    return raw if offsets is None else raw.replace(true, np.array(offsets, np.int64).tobytes())


@pytest.mark.parametrize("offsets", [[0, 5, 3, 6], [-2, 1, 2, 6], [0, 2, 4, 1 << 40], [0, 2, 4, 7]])
def test_offsets_that_leave_the_values_are_refused_before_anything_follows_them(
    offsets: list[int],
) -> None:
    raw = batch_bytes(pa.nulls(3, TRAINABLE), offsets)
    with pytest.raises(UserError, match=r"part-00000\.arrow: not a sound record batch"):
        open_batch(raw, shard_schema(pa.uint16()), "part-00000.arrow")


@pytest.mark.parametrize("spans", [[(0, 3)], [(1, 1)], [(1, 2), (0, 1)], [(0, 2), (1, 2)]])
def test_spans_outside_their_document_are_refused(spans: list[tuple[int, int]]) -> None:
    column = pa.array(
        [None, [{"start": start, "end": end} for start, end in spans], None], TRAINABLE
    )
    with pytest.raises(UserError, match="target spans of row 1"):
        open_batch(batch_bytes(column), shard_schema(pa.uint16()))


def test_bytes_that_are_no_batch_of_the_schema_are_refused(source: Path) -> None:
    part = read_manifest(source).parts[0]
    raw = (source / part.file).read_bytes()
    place = read_part_index(source, part).batches[0]
    schema = shard_schema(pa.uint16())
    message = raw[place.offset : place.offset + place.bytes]
    for wrong in (
        b"",
        b"\xff" * 64,
        message[:4],
        message[:200],
        message[:-8],
        raw[8 : place.offset],
        schema.serialize().to_pybytes(),
    ):
        with pytest.raises(UserError, match="not a sound record batch"):
            open_batch(wrong, schema)


def test_any_flipped_byte_gives_a_batch_or_a_user_error(source: Path) -> None:
    part = read_manifest(source).parts[0]
    raw = (source / part.file).read_bytes()
    place = read_part_index(source, part).batches[0]
    schema = shard_schema(pa.uint16())
    sound = raw[place.offset : place.offset + place.bytes]
    opened = 0
    for position in range(0, len(sound), 3):
        message = bytearray(sound)
        message[position] ^= 0xFF
        try:
            batch = open_batch(bytes(message), schema)
        except UserError:
            continue
        opened += 1
        assert sum(len(row) for row in batch["tokens"].to_pylist()) <= place.bytes
    assert opened > 0


def test_an_index_is_canonical_json_and_grows_with_its_part_alone() -> None:
    index = PartIndex.of(64, ["0" * 16], [BatchRange(8, 56, 1, 2)])
    assert (
        index.to_json()
        == b'{"block_bytes":64,"blocks":"0000000000000000","format":"part/1","ranges":[8,56,1,2]}\n'
    )


def test_the_manifest_takes_a_few_hundred_bytes_per_part(source: Path) -> None:
    manifest = read_manifest(source)
    assert len(manifest.to_json()) < 400 * (len(manifest.parts) + 1)
