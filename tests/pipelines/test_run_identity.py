"""Outputs are functions of inputs: not of workers, file order, the corpus's folder, or the cut into
files.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.paths import Store
from pipelines.executors.base import worker_environment
from pipelines.readers.span import Limits
from pipelines.readers.streams.decoding import blocks
from pipelines.readers.streams.opened import open_input
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from tests.pipelines.run_trees import products, record, tree


def test_two_dask_workers_write_the_same_bytes_as_one_process(
    root: Path, tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    before = {name: os.environ.get(name) for name in worker_environment()}
    run_recipe(
        load_recipe(root / "recipes" / "tiny.yaml"), str(tmp_path), workers=2, until="shards"
    )
    assert {name: os.environ.get(name) for name in worker_environment()} == before, (
        "what holds workers to one thread does not stay in the driver, where training comes next"
    )
    assert tree(tmp_path / "tiny") == tree(tiny[0])


@pytest.mark.slow
def test_a_running_dask_scheduler_can_be_used_by_its_address(starter: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster

    run_recipe(load_recipe(starter), str(tmp_path / "here"))
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        env=worker_environment(),
    ) as cluster:
        run_recipe(
            load_recipe(starter), str(tmp_path / "there"), scheduler=cluster.scheduler_address
        )
    assert tree(tmp_path / "there" / "starter") == tree(tmp_path / "here" / "starter")


def test_a_corpus_in_another_folder_listed_in_another_order_gives_the_same_bytes(
    root: Path, tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    shutil.copytree(root / "examples", tmp_path / "else" / "where")
    turned = json.dumps(
        list(reversed(load_recipe(root / "recipes" / "tiny.yaml").recipe.corpus.sources[0].paths))
    )
    loaded = load_recipe(
        root / "recipes" / "tiny.yaml",
        [f"corpus.root={tmp_path / 'else' / 'where'}", f"corpus.sources.0.paths={turned}"],
    )
    run_recipe(loaded, str(tmp_path / "runs"), until="shards")
    assert tree(tmp_path / "runs" / "tiny") == tree(tiny[0])


def test_records_dealt_to_other_files_give_the_same_selection_evidence_tokenizer_and_shards(
    root: Path, tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    """Each source that has ids is shuffled and cut into other files; only path and offset of its
    documents may differ.
    """
    shutil.copytree(root / "examples", tmp_path / "examples")
    loaded = load_recipe(root / "recipes" / "tiny.yaml")
    overrides = [f"corpus.root={tmp_path / 'examples'}", "corpus.chunk_mib=0.7"]
    for index, source in enumerate(loaded.recipe.corpus.sources):
        if source.id_field is None:
            continue
        lines = [
            line for pattern in source.paths for line in jsonl_lines(root / "examples" / pattern)
        ]
        random.Random(index).shuffle(lines)
        for number in range(3):
            (tmp_path / "examples" / f"{source.name}-{number}.jsonl").write_bytes(
                b"".join(lines[number::3])
            )
        overrides.append(f"corpus.sources.{index}.paths=[{source.name}-*.jsonl]")
    run_recipe(
        load_recipe(root / "recipes" / "tiny.yaml", overrides),
        str(tmp_path / "runs"),
        until="shards",
    )
    assert products(tmp_path / "runs" / "tiny") == products(tiny[0])
    assert documents(tmp_path / "runs" / "tiny").equals(documents(tiny[0]))


def jsonl_lines(path: Path) -> list[bytes]:
    with open_input(str(path)) as file:
        return b"".join(
            block for block in blocks(file, "zstd", Limits()) if isinstance(block, bytes)
        ).splitlines(keepends=True)


def documents(run: Path) -> pa.Table:
    """All documents of a run by id, without the columns that say where they lay (nor pages, whose
    ids are places).
    """
    store = Store(run)
    tables = []
    for chunk in record(run)["chunks"]:
        with store.open(chunk["documents"]["name"]) as file:
            table = pq.read_table(
                file,
                columns=[
                    "id",
                    "native_id",
                    "text",
                    "text_hash",
                    "source",
                    "lang",
                    "url",
                    "license",
                    "date",
                    "meta",
                ],
            )
        tables.append(table)
    return pa.concat_tables(tables).sort_by("id").combine_chunks()


@pytest.mark.slow
def test_local_disk_and_object_store_hold_the_same_bytes(
    starter: Path, tmp_path: Path, s3: str
) -> None:
    """A whole run on a real S3 server, read from there and written to there."""
    run_recipe(load_recipe(starter), str(tmp_path))
    outcome = run_recipe(load_recipe(starter), f"{s3}/runs")
    remote = outcome.store
    names = [
        name
        for name in remote.names()
        if name.split("/")[0] not in {"ledgers", "cache", "run.json"}
    ]
    local = tree(tmp_path / "starter")
    assert sorted(names) == sorted(local)
    for name in names:
        assert remote.read(name) == (tmp_path / "starter" / name).read_bytes(), name
    again = run_recipe(load_recipe(starter), f"{s3}/runs")
    assert again.computed == 0
