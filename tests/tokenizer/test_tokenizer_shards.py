"""Shards: a global shuffle whatever the chunking, the same bytes, readable by any Arrow reader."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.ids import binary16, document_ids, native_key
from artifacts.keyed_hash import keyed_order
from tokenizer.shards.checksummed_file import ChecksummedFile
from tokenizer.shards.format import TRAINABLE
from tokenizer.shards.manifest import MANIFEST_NAME, SourceManifest, read_manifest
from tokenizer.shards.part_index import PartIndex
from tokenizer.shards.reader import inspect, map_table, open_source
from tokenizer.shards.shuffle import plan_parts
from tokenizer.shards.writer import write_encoded, write_part, write_source

EOS = 2
Span = dict[str, int]
Document = tuple[list[int], list[Span] | None]

TOKENS = st.lists(st.integers(3, 500), max_size=12).map(lambda ids: [*ids, EOS])
DOCUMENT = TOKENS.flatmap(
    lambda ids: st.tuples(
        st.just(ids),
        st.one_of(
            st.none(),
            st.just([{"start": 0, "end": 1}]),
            st.just([{"start": len(ids) - 1, "end": len(ids)}]),
        ),
    )
)


def empty_manifest(dtype: str = "uint16") -> SourceManifest:
    facts = {
        "source": "web",
        "tokenizer_hash": "ab" * 16,
        "dtype": dtype,
        "vocab_size": 512,
        "eos_id": EOS,
        "shuffle_key": "00000000000000ff",
    }
    return SourceManifest.model_validate(facts)


def named_ids(names: list[str]) -> pa.FixedSizeBinaryArray:
    return document_ids("web", [native_key(name) for name in names])


def write_chunk(path: Path, first: int, documents: list[Document], token_type: pa.DataType) -> Path:
    names = [str(first + number) for number in range(len(documents))]
    hashes = binary16(b"".join(xxhash.xxh3_128_digest(name.encode()) for name in names))
    tokens = pa.array([ids for ids, _ in documents], pa.large_list(token_type))
    spans = pa.array([spans for _, spans in documents], TRAINABLE)
    with path.open("wb") as out:
        write_encoded(out, named_ids(names), hashes, tokens, spans)
    return path


def build(
    folder: Path,
    documents: list[Document],
    cuts: list[int],
    part_tokens: int = 40,
    dtype: str = "uint16",
) -> SourceManifest:
    folder.mkdir(parents=True, exist_ok=True)
    bounds = [0, *sorted(cuts), len(documents)]
    chunks = [
        write_chunk(
            folder / f"chunk-{number}",
            first,
            documents[first:last],
            pa.uint16() if dtype == "uint16" else pa.uint32(),
        )
        for number, (first, last) in enumerate(itertools.pairwise(bounds))
    ]
    return write_source(folder, chunks, empty_manifest(dtype), part_tokens)


def some_documents(count: int, seed: int = 5) -> list[Document]:
    draw = np.random.default_rng(seed)
    documents: list[Document] = []
    for number in range(count):
        ids = [*draw.integers(3, 500, int(draw.integers(0, 30))).tolist(), EOS]
        documents.append((ids, [{"start": 0, "end": len(ids)}] if number % 3 == 0 else None))
    return documents


@pytest.fixture
def source(tmp_path: Path) -> Path:
    build(tmp_path / "web", some_documents(60), [13, 30], part_tokens=300)
    return tmp_path / "web"


@settings(deadline=None, max_examples=40)
@given(documents=st.lists(DOCUMENT, max_size=25), data=st.data())
def test_bytes_do_not_depend_on_how_documents_were_chunked(
    documents: list[Document], data: st.DataObject
) -> None:
    cuts = st.lists(st.integers(0, len(documents)), max_size=4)
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("one", "two")]
        manifests = [build(folder, documents, data.draw(cuts)) for folder in folders]
        assert manifests[0] == manifests[1]
        for part in manifests[0].parts:
            assert (folders[0] / part.file).read_bytes() == (folders[1] / part.file).read_bytes()


@settings(deadline=None, max_examples=40)
@given(documents=st.lists(DOCUMENT, min_size=1, max_size=25))
def test_every_document_is_stored_once_in_keyed_order_with_its_columns(
    documents: list[Document],
) -> None:
    ids = named_ids([str(number) for number in range(len(documents))])
    order = keyed_order(ids, 0xFF).tolist()
    with tempfile.TemporaryDirectory() as scratch:
        manifest = build(Path(scratch), documents, [len(documents) // 2])
        rows = pa.concat_tables(
            open_source(scratch).table(number) for number in range(len(manifest.parts))
        )
    assert rows["id"].to_pylist() == ids.take(pa.array(order)).to_pylist()
    assert rows["tokens"].to_pylist() == [documents[number][0] for number in order]
    assert rows["trainable"].to_pylist() == [documents[number][1] for number in order]
    assert rows["text_hash"].to_pylist() == [
        xxhash.xxh3_128_digest(str(number).encode()) for number in order
    ]
    targets = sum(
        sum(span["end"] - span["start"] for span in spans) if spans is not None else len(ids)
        for ids, spans in documents
    )
    assert (manifest.rows, manifest.tokens, manifest.trainable_tokens) == (
        len(documents),
        sum(len(ids) for ids, _ in documents),
        targets,
    )


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(1, 50), min_size=1, max_size=60), part_tokens=st.integers(1, 400)
)
def test_parts_hold_whole_documents_and_nearly_equal_tokens(
    counts: list[int], part_tokens: int
) -> None:
    ids = named_ids([str(number) for number in range(len(counts))])
    parts = plan_parts([(ids, np.array(counts))], 1, part_tokens)
    assert np.concatenate([part.row for part in parts]).tolist() == keyed_order(ids, 1).tolist()
    assert [part.tokens for part in parts] == [
        sum(counts[row] for row in part.row) for part in parts
    ]
    wanted = max(1, (sum(counts) + part_tokens // 2) // part_tokens)
    assert len(parts) <= wanted
    assert all(part.tokens < sum(counts) / wanted + max(counts) for part in parts)


def test_an_id_that_occurs_twice_is_refused() -> None:
    counts = np.ones(2, np.int64)
    with pytest.raises(UserError, match="same id") as raised:
        plan_parts([(named_ids(["a", "b"]), counts), (named_ids(["c", "a"]), counts)], 1, 10)
    assert raised.value.found == named_ids(["a"])[0].as_py().hex()


def test_no_documents_give_no_parts(tmp_path: Path) -> None:
    assert plan_parts([], 1, 10) == []
    assert build(tmp_path / "none", [], []).parts == ()
    assert inspect(tmp_path / "none") == []


def test_plain_pyarrow_and_plain_polars_read_a_part(source: Path) -> None:
    path = source / read_manifest(source).parts[0].file
    with pa.ipc.open_file(path) as reader:
        plain = reader.read_all()
    frame = pl.read_ipc(path)
    assert frame.columns == plain.column_names == ["id", "text_hash", "tokens", "trainable"]
    assert frame["tokens"].to_list() == plain["tokens"].to_pylist()
    assert frame["trainable"].to_list() == plain["trainable"].to_pylist()
    assert frame["id"].to_list() == plain["id"].to_pylist()
    assert plain.schema.metadata == {b"windtunnel.format": b"shard/1"}


def test_tokens_are_views_of_the_mapped_file(source: Path) -> None:
    before = pa.total_allocated_bytes()
    part = open_source(source).tokens(0)
    assert pa.total_allocated_bytes() == before
    window = part.read(3, 9)
    assert window.base is not None
    assert not window.flags.owndata
    assert not window.flags.writeable


@pytest.mark.parametrize(
    ("dtype", "batch_tokens", "batch_rows"), [("uint16", 50, 1 << 20), ("uint32", 1 << 20, 5)]
)
def test_windows_across_record_batches_equal_the_joined_documents(
    tmp_path: Path, dtype: str, batch_tokens: int, batch_rows: int
) -> None:
    token_type = pa.uint16() if dtype == "uint16" else pa.uint32()
    documents = some_documents(40)
    chunk = map_table(write_chunk(tmp_path / "chunk", 0, documents, token_type), "encoded")
    lengths = np.array([len(ids) for ids, _ in documents])
    [plan] = plan_parts([(chunk["id"].combine_chunks(), lengths)], 0xFF, 1 << 20)
    with (tmp_path / "part-00000.arrow").open("wb") as out:
        sink = ChecksummedFile(out)
        written = write_part(sink, [chunk], plan, token_type, batch_tokens, batch_rows)
    checksum, blocks = sink.digests()
    index = PartIndex.of(sink.block_bytes, blocks, written.batches)
    counts = {name: value for name, value in vars(written).items() if name != "batches"}
    facts = {
        "file": "part-00000.arrow",
        "append": 0,
        "bytes": sink.bytes,
        "checksum": checksum,
        "index_checksum": index.checksum,
        **counts,
    }
    record = {**empty_manifest(dtype).model_dump(), "parts": [facts]}
    (tmp_path / MANIFEST_NAME).write_bytes(SourceManifest.model_validate(record).to_json())
    part = open_source(tmp_path).tokens(0)
    joined = [token for row in plan.row for token in documents[row][0]]
    assert len(part.batches) >= 8
    assert all(
        len(batch.offsets) <= batch_rows + 1 and len(batch.values) <= batch_tokens
        for batch in part.batches
    )
    assert {part.read(len(joined), len(joined)).dtype, part.read(0, 200).dtype} == {np.dtype(dtype)}
    assert len(part) == len(joined)
    for start in range(0, len(joined), 7):
        for stop in (start, start + 1, min(start + 130, len(joined))):
            assert part.read(start, stop).tolist() == joined[start:stop]
    assert [part.document(place).tolist() for place in range(40)] == [
        documents[row][0] for row in plan.row
    ]
    assert part.read(0, 5).dtype == np.dtype(dtype)
    with pytest.raises(IndexError):
        part.read(0, len(joined) + 1)


def test_slices_of_columns_are_written_alone(tmp_path: Path) -> None:
    documents = some_documents(9)
    ids = named_ids([str(number) for number in range(9)])
    tokens = pa.array([ids for ids, _ in documents], pa.large_list(pa.uint16()))
    spans = pa.array([spans for _, spans in documents], TRAINABLE)
    for first, last in ((0, 4), (4, 9), (3, 3)):
        out = io.BytesIO()
        written = write_encoded(
            out, ids[first:last], ids[first:last], tokens[first:last], spans[first:last]
        )
        table = pa.ipc.open_file(out.getvalue()).read_all()
        assert table["tokens"].to_pylist() == [ids for ids, _ in documents[first:last]]
        assert table["trainable"].to_pylist() == [spans for _, spans in documents[first:last]]
        assert (written.rows, written.tokens) == (
            last - first,
            sum(len(ids) for ids, _ in documents[first:last]),
        )
        assert len(out.getvalue()) < 3000


def test_checksums_are_xxh3_of_the_file_and_of_its_blocks() -> None:
    raw = np.random.default_rng(1).bytes(1000)
    out = io.BytesIO()
    sink = ChecksummedFile(out, block_bytes=64)
    for start in range(0, 1000, 90):
        sink.write(raw[start : start + 90])
    checksum, blocks = sink.digests()
    assert out.getvalue() == raw
    assert checksum == xxhash.xxh3_128_hexdigest(raw)
    assert list(blocks) == [
        xxhash.xxh3_64_hexdigest(raw[start : start + 64]) for start in range(0, 1000, 64)
    ]


def test_an_append_adds_parts_and_leaves_the_old_ones(source: Path, tmp_path: Path) -> None:
    before = read_manifest(source)
    held = {part.file: (source / part.file).read_bytes() for part in before.parts}
    chunk = write_chunk(tmp_path / "more", 1000, some_documents(20, seed=9), pa.uint16())
    after = write_source(source, [chunk], before, 300)
    assert after.parts[: len(before.parts)] == before.parts
    assert {part.append for part in after.parts[len(before.parts) :]} == {1}
    assert all((source / name).read_bytes() == raw for name, raw in held.items())
    assert after.rows == before.rows + 20
    assert read_manifest(source) == after


def test_an_append_of_a_document_the_source_holds_is_refused(source: Path, tmp_path: Path) -> None:
    chunk = write_chunk(tmp_path / "more", 59, some_documents(3), pa.uint16())
    with pytest.raises(UserError, match="already"):
        write_source(source, [chunk], read_manifest(source), 300)


def test_another_tokenizer_is_refused(source: Path) -> None:
    assert open_source(source, "ab" * 16).manifest.rows == 60
    with pytest.raises(UserError, match="another tokenizer"):
        open_source(source, "cd" * 16)


def test_tokens_of_another_type_are_refused(source: Path) -> None:
    facts = json.loads((source / MANIFEST_NAME).read_bytes())
    (source / MANIFEST_NAME).write_text(json.dumps({**facts, "dtype": "uint32"}))
    with pytest.raises(UserError, match="manifest's type"):
        open_source(source).tokens(0)


def test_chunks_of_another_type_are_refused(tmp_path: Path) -> None:
    chunk = write_chunk(tmp_path / "chunk", 0, some_documents(3), pa.uint32())
    with pytest.raises(UserError, match="another type"):
        write_source(tmp_path, [chunk], empty_manifest("uint16"))


def test_a_damaged_chunk_is_refused_before_its_offsets_are_followed(tmp_path: Path) -> None:
    documents = some_documents(9)
    path = write_chunk(tmp_path / "chunk", 0, documents, pa.uint16())
    ends = np.cumsum([len(ids) for ids, _ in documents]).tobytes()
    raw = bytearray(path.read_bytes())
    place = bytes(raw).index(ends)
    raw[place : place + 8] = (1 << 50).to_bytes(8, "little")
    path.write_bytes(raw)
    with pytest.raises(UserError, match="damaged"):
        write_source(tmp_path, [path], empty_manifest())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "cannot read"),
        ('{"format": "source/9"}', "source/9"),
        (
            '{"format": "source/1", "parts": []}',
            "cannot read(.|\n)*source/1(.|\n)*rebuild the shards with this release",
        ),
        ('{"format": "source/2"}', "damaged"),
    ],
)
def test_a_bad_manifest_is_a_user_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(UserError, match=message):
        open_source(tmp_path)


def test_a_part_outside_the_folder_is_refused(source: Path) -> None:
    facts = json.loads((source / MANIFEST_NAME).read_bytes())
    facts["parts"][0]["file"] = "../part-00000.arrow"
    (source / MANIFEST_NAME).write_text(json.dumps(facts))
    with pytest.raises(UserError, match="damaged"):
        open_source(source)


def test_a_missing_folder_and_a_missing_part_are_user_errors(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable source"):
        open_source(tmp_path / "nowhere")
    (source / "part-00000.arrow").unlink()
    with pytest.raises(UserError, match="missing"):
        open_source(source).tokens(0)
    with pytest.raises(UserError, match="no such part"):
        open_source(source).tokens(99)


def test_a_part_of_another_format_version_is_refused(source: Path) -> None:
    path = source / "part-00000.arrow"
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all()
    with pa.ipc.new_file(
        path, table.schema.with_metadata({"windtunnel.format": "shard/9"})
    ) as writer:
        writer.write_table(table.replace_schema_metadata({"windtunnel.format": "shard/9"}))
    with pytest.raises(UserError, match="shard/9"):
        open_source(source).tokens(0)


def test_the_manifest_is_canonical_json(source: Path) -> None:
    raw = (source / MANIFEST_NAME).read_bytes()
    assert raw.endswith(b"}\n")
    assert raw == read_manifest(source).to_json()
    assert list(json.loads(raw)) == sorted(json.loads(raw))


def test_inspect_has_a_row_per_part_that_sums_to_the_source(source: Path) -> None:
    rows, manifest = inspect(source), read_manifest(source)
    assert [row["file"] for row in rows] == [part.file for part in manifest.parts]
    assert sum(int(row["tokens"]) for row in rows) == manifest.tokens
    assert all((source / str(row["file"])).stat().st_size == row["bytes"] for row in rows)


def test_reading_shards_imports_no_curation_library() -> None:
    program = "import sys, tokenizer.shards.reader; print(sorted(set(sys.modules) & {'datatrove', 'dask', 'polars', 'fasttext', 'numba', 'torch'}))"
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert found.stdout.strip() == "[]"
