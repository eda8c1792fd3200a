"""Documents of a damaged member are kept in a run, with a mark."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from artifacts.paths import Store
from artifacts.schemas import DOCUMENTS
from artifacts.tables import read_parquet
from pipelines.chunks.work import ChunkTask, run_chunk
from pipelines.readers.suspect import marked, with_mark
from pipelines.recipe.load import load_recipe
from pipelines.run.work_plan import plan_corpus


def member(first: int, count: int) -> bytes:
    lines = [json.dumps({"id": f"{n}", "text": f"text number {n}", "k": n}) for n in range(count)]
    return gzip.compress("\n".join([*lines, ""]).replace("number ", f"number {first}").encode())


@pytest.mark.parametrize("damaged", [True, False])
def test_a_run_marks_the_documents_of_a_member_whose_checksum_fails(
    tmp_path: Path, damaged: bool
) -> None:
    members = [bytearray(member(n, 20)) for n in range(3)]
    if damaged:
        members[1][-8] ^= 1
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(map(bytes, members)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: one\ncorpus:\n  sources: [{name: web, paths: [a.jsonl.gz]}]\n")
    plan = plan_corpus(load_recipe(str(recipe)), {})
    chunk = plan.chunks[0]
    task = ChunkTask(str(tmp_path / "run"), chunk, (plan.readers[chunk.source],))
    result = run_chunk(task)
    assert result is not None
    assert result.chunk.documents is not None
    store = Store(str(tmp_path / "run"))
    table = read_parquet(store, result.chunk.documents.name, "documents")
    marks = ["damaged" in json.loads(meta) for meta in table["meta"].to_pylist()]
    assert marks == [False] * 20 + [damaged] * 20 + [False] * 20
    entry = result.outcomes[0].entry
    assert entry.kept.documents == 60
    assert entry.entered.documents == 60 + damaged
    again = run_chunk(task, compute=False)
    assert again is not None
    assert again.chunk.documents == result.chunk.documents


def test_a_member_of_that_name_moves_into_meta() -> None:
    assert json.loads(with_mark(None, "checksum")) == {"damaged": "checksum"}
    own = with_mark('{"damaged":"hail","k":1}', "checksum")
    assert json.loads(own) == {"damaged": "checksum", "k": 1, "meta": {"damaged": "hail"}}
    long = '{"n":123456789012345678901234567890}'
    assert with_mark(long, "checksum") == '{"damaged":"checksum",' + long[1:]


def test_only_what_starts_in_a_stretch_is_marked() -> None:
    empty = pa.table({field.name: pa.nulls(4, field.type) for field in DOCUMENTS})
    place = DOCUMENTS.get_field_index("offset")
    table = empty.set_column(place, DOCUMENTS.field(place), pa.array([0, 10, 20, 30], pa.int64()))
    (batch,) = table.to_batches()
    found = marked(batch, ((10, 20), (30, 31)))["meta"].to_pylist()
    assert [meta is not None for meta in found] == [False, True, False, True]
    assert marked(batch, ()) is batch
