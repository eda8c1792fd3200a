"""Globs to files, files to chunks: sorted, relative to their root, the same on an object store."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.schemas import DOCUMENTS
from pipelines.readers import Fields, InputFile, Span, discover, format_of, plan_chunks, read
from tests.s3_server import s3_bucket


def plant(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}\n")


def test_paths_are_relative_to_the_folder_before_the_first_wildcard(tmp_path: Path) -> None:
    plant(tmp_path, ["web/b/1.jsonl", "web/a/2.jsonl", "web/a/2.txt", "web/é.jsonl"])
    found = discover("web", ["web/*/*.jsonl"], base=tmp_path)
    assert found == [
        InputFile(str(tmp_path / f"web/{path}"), path, 3, "jsonl")
        for path in ("a/2.jsonl", "b/1.jsonl")
    ]
    assert [file.path for file in discover("web", [str(tmp_path / "web/**/*.jsonl")])] == [
        "a/2.jsonl",
        "b/1.jsonl",
        "é.jsonl",
    ]
    assert [file.path for file in discover("web", ["web/a/2.jsonl"], base=tmp_path)] == ["2.jsonl"]
    assert [file.path for file in discover("web", ["web/[a]/?.jsonl"], base=tmp_path)] == [
        "a/2.jsonl"
    ]


def test_the_order_is_that_of_the_bytes_of_the_paths(tmp_path: Path) -> None:
    names = ["Z.jsonl", "a.jsonl", "a-b.jsonl", "é.jsonl", "中.jsonl", "😀.jsonl", "ﬀ.jsonl"]
    plant(tmp_path, names)
    assert [file.path for file in discover("s", ["*.jsonl"], base=tmp_path)] == sorted(
        names, key=str.encode
    )


def test_a_file_matched_twice_is_read_once(tmp_path: Path) -> None:
    plant(tmp_path, ["a.jsonl", "b.jsonl"])
    assert [
        file.path for file in discover("s", ["*.jsonl", "a.jsonl", "[ab].jsonl"], base=tmp_path)
    ] == ["a.jsonl", "b.jsonl"]


def test_one_file_under_two_relative_paths_is_the_users_error(tmp_path: Path) -> None:
    plant(tmp_path, ["sub/a.jsonl"])
    with pytest.raises(UserError, match="two patterns"):
        discover("s", ["*/*.jsonl", "sub/*.jsonl"], base=tmp_path)


def test_two_files_with_one_relative_path_are_the_users_error(tmp_path: Path) -> None:
    plant(tmp_path, ["x/a.jsonl", "y/a.jsonl"])
    with pytest.raises(UserError, match=r"same relative path 'a\.jsonl'") as error:
        discover("s", ["x/*.jsonl", "y/*.jsonl"], base=tmp_path)
    assert "share ids" in str(error.value)


@pytest.mark.parametrize(
    "pattern",
    ["web/*.jsonl.gz", "web/pat-0001.jsonl", "wep/part-0001.jsonl", "none/at/all/*.jsonl"],
)
def test_a_pattern_without_files_names_itself_and_what_is_near(
    tmp_path: Path, pattern: str
) -> None:
    plant(tmp_path, ["web/part-0001.jsonl"])
    with pytest.raises(UserError) as error:
        discover("s", [pattern], base=tmp_path)
    assert pattern in str(error.value)
    assert "part-0001.jsonl" in str(error.value) or "web" in str(error.value)


def test_a_folder_is_the_users_error_with_the_pattern_to_write(tmp_path: Path) -> None:
    plant(tmp_path, ["web/a.jsonl"])
    with pytest.raises(UserError, match=r"web/\*\*/"):
        discover("s", ["web"], base=tmp_path)


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("a.jsonl", "jsonl"),
        ("a.b.JSONL.ZST", "jsonl"),
        ("a.json.gz", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.warc.gz", "warc"),
        ("a.warc.wet.gz", "warc"),
        ("a.arc", "warc"),
        ("a.warc.lz4", "warc"),
        ("x/a.htm", "html"),
    ],
)
def test_the_suffix_tells_the_format(path: str, format: str) -> None:
    assert format_of(path) == format


@pytest.mark.parametrize("path", ["a", "a.gz", "a.txt", "a.csv.gz", "a.parquet.gz"])
def test_an_unknown_suffix_is_the_users_error_unless_the_format_is_declared(path: str) -> None:
    with pytest.raises(UserError, match="declare the format"):
        format_of(path)
    assert format_of(path, "jsonl") == "jsonl"


def jsonl(path: str, size: int) -> InputFile:
    return InputFile(f"/root/{path}", path, size, "jsonl")


def test_a_large_file_is_cut_at_multiples_and_small_ones_are_grouped() -> None:
    files = [
        jsonl("a", 10),
        jsonl("b", 30),
        jsonl("c", 250),
        jsonl("d", 40),
        jsonl("e.gz", 5),
        jsonl("f.gz", 500),
    ]
    chunks = plan_chunks(files, 100)
    assert [[(span.path, span.start, span.end) for span in chunk] for chunk in chunks] == [
        [("a", 0, None), ("b", 0, None)],
        [("c", 0, 100)],
        [("c", 100, 200)],
        [("c", 200, None), ("d", 0, None)],
        [("e.gz", 0, None)],
        [("f.gz", 0, None)],
    ]


@settings(deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["", ".gz"])), max_size=20),
    chunk_bytes=st.integers(1, 300),
)
def test_a_plan_covers_every_byte_once_and_keeps_the_order(
    sizes: list[tuple[int, str]], chunk_bytes: int
) -> None:
    files = [jsonl(f"{place:03}.jsonl{suffix}", size) for place, (size, suffix) in enumerate(sizes)]
    spans = [span for chunk in plan_chunks(files, chunk_bytes) for span in chunk]
    place = 0
    for file in files:
        reached: int | None = 0
        while reached is not None:
            span = spans[place]
            assert (span.url, span.path, span.start) == (file.url, file.path, reached)
            reached = span.end
            place += 1
    assert place == len(spans)


def test_parquet_is_cut_between_row_groups_by_uncompressed_size(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": ["x" * 1000] * 40}), path, row_group_size=4, use_dictionary=False
    )
    size = pq.read_metadata(path).row_group(0).total_byte_size
    file = InputFile(str(path), "a.parquet", path.stat().st_size, "parquet")
    spans = [span for chunk in plan_chunks([file], 3 * size) for span in chunk]
    assert [(span.start, span.end) for span in spans] == [(0, 3), (3, 6), (6, 9), (9, None)]
    assert plan_chunks([file], 11 * size) == [(Span(str(path), "a.parquet"),)]
    texts = [
        row
        for span in spans
        for batch in read(span, "auto", "s")
        for row in batch.documents["offset"].to_pylist()
    ]
    assert texts == list(range(40))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("corpus"):
        yield "corpus"


def test_an_object_store_gives_the_ids_and_columns_of_the_local_files(
    tmp_path: Path, bucket: str
) -> None:
    import s3fs

    lines = b"".join(b'{"text":"document %d"}\n' % number for number in range(200))
    table = pa.table({"text": [f"row {number}" for number in range(50)]})
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/a.jsonl").write_bytes(lines)
    (tmp_path / "in/sub/b.jsonl.gz").write_bytes(gzip.compress(lines))
    pq.write_table(table, tmp_path / "in/c.parquet", row_group_size=10)
    store = s3fs.S3FileSystem()
    for path in ("a.jsonl", "sub/b.jsonl.gz", "c.parquet"):
        store.pipe(f"{bucket}/in/{path}", (tmp_path / "in" / path).read_bytes())
    tables = []
    for pattern in (f"{tmp_path}/in/**/*.*", f"s3://{bucket}/in/**/*.*"):
        files = discover("s", [pattern])
        chunks = plan_chunks(files, 1000)
        found = [
            batch.documents
            for chunk in chunks
            for span in chunk
            for batch in read(span, "auto", "s", Fields())
        ]
        table = pa.Table.from_batches(found, DOCUMENTS).combine_chunks()
        tables.append((table, [(file.path, file.bytes) for file in files]))
    assert tables[0][0].num_rows == 450
    assert tables[0][0].equals(tables[1][0])
    assert tables[0][1] == tables[1][1]
    with pytest.raises(UserError, match=r"a\.jsonl"):
        discover("s", [f"s3://{bucket}/in/aa.jsonl"])
    with pytest.raises(UserError, match="no such file"):
        list(read(Span(f"s3://{bucket}/in/gone.jsonl", "gone.jsonl"), "auto", "s"))


def test_an_unknown_protocol_is_the_users_error() -> None:
    with pytest.raises(UserError, match="nearest: s3"):
        discover("s", ["s33://bucket/*.jsonl"])


def test_links_are_followed_and_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    plant(tmp_path, ["web/a.jsonl", "folder.jsonl/b.txt"])
    (tmp_path / "web" / "l.jsonl").symlink_to(tmp_path / "web" / "a.jsonl")
    (tmp_path / "web" / "folder.jsonl").symlink_to(tmp_path / "folder.jsonl")
    assert [file.path for file in discover("s", ["web/*.jsonl"], base=tmp_path)] == [
        "a.jsonl",
        "l.jsonl",
    ]
    (tmp_path / "web" / "z.jsonl").symlink_to(tmp_path / "nothing")
    for pattern in ("web/*.jsonl", "web/z.jsonl"):
        with pytest.raises(UserError, match="leads nowhere") as error:
            discover("s", [pattern], base=tmp_path)
        assert error.value.file == str(tmp_path / "web" / "z.jsonl")


@pytest.mark.parametrize("pattern", ["*.jsonl", "pipe.jsonl"])
def test_a_named_pipe_is_called_one(tmp_path: Path, pattern: str) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UserError, match="a named pipe, not a file"):
        discover("s", [pattern], base=tmp_path)


def test_a_device_is_called_one() -> None:
    with pytest.raises(UserError, match="a device, not a file"):
        discover("s", ["/dev/null"], format="jsonl")


@pytest.mark.parametrize("folder", ["a[1]", "a*", "a?b", "[[*]]"])
def test_wildcards_in_the_base_are_plain_characters(tmp_path: Path, folder: str) -> None:
    plant(tmp_path, [f"{folder}/x/1.jsonl", "a1/x/2.jsonl", "aab/x/3.jsonl"])
    for pattern in ("*/*.jsonl", "x/1.jsonl", "x/[1].jsonl"):
        assert [
            Path(file.path).name for file in discover("s", [pattern], base=tmp_path / folder)
        ] == ["1.jsonl"]
    assert [file.path for file in discover("s", ["*/*.jsonl"], base=tmp_path / folder)] == [
        "x/1.jsonl"
    ]
    with pytest.raises(UserError, match="no file matches"):
        discover("s", ["x/2*.jsonl"], base=tmp_path / folder)


def test_a_base_on_a_store_is_joined_as_text(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/joined[1]/web/a.jsonl", b"{}\n")
    for pattern in ("web/*.jsonl", "web/a.jsonl"):
        found = discover("s", [pattern], base="memory://joined[1]/")
        assert [(file.url, file.path) for file in found] == [
            ("memory:///joined[1]/web/a.jsonl", "a.jsonl")
        ]


@pytest.mark.parametrize("pattern", ["data/*/*.jsonl", "data/**/*.jsonl", "data/**"])
def test_a_linked_folder_is_read_and_loops_of_links_end(tmp_path: Path, pattern: str) -> None:
    plant(tmp_path, ["data/day1/a.jsonl", "disk2/day2/b.jsonl"])
    (tmp_path / "data/day2").symlink_to(tmp_path / "disk2/day2")
    (tmp_path / "data/day1/up").symlink_to("..")
    (tmp_path / "disk2/day2/across").symlink_to(tmp_path / "data/day1")
    (tmp_path / "data/day1/across").symlink_to(tmp_path / "disk2/day2")
    (tmp_path / "data/day1/self").symlink_to(".")

    paths = [file.path for file in discover("web", [pattern], base=tmp_path)]

    assert {"day1/a.jsonl", "day2/b.jsonl"} <= set(paths)
    assert len(paths) <= 6


def test_a_file_of_exactly_that_name_is_no_pattern(tmp_path: Path) -> None:
    plant(tmp_path, ["part1.jsonl", "part[1].jsonl", "more1.jsonl"])
    assert [file.path for file in discover("web", ["part[1].jsonl"], base=tmp_path)] == [
        "part[1].jsonl"
    ]
    assert [file.path for file in discover("web", ["more[1].jsonl"], base=tmp_path)] == [
        "more1.jsonl"
    ]


@pytest.mark.parametrize(
    "path",
    [
        "http://127.0.0.1:9/x.jsonl",
        "http://127.0.0.1:9/*.jsonl",
        "reference://x.jsonl",
        "reference://*.jsonl",
        "github://x.jsonl",
    ],
)
def test_a_store_that_cannot_be_reached_is_one_error(path: str) -> None:
    with pytest.raises(UserError, match="cannot be reached") as caught:
        discover("web", [path])
    assert (caught.value.file, caught.value.field) == (path, "paths")
