"""Shards on an object store: the same batches as from a disk, few requests, a bounded cache, damage
noticed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze.freeze import Plan, freeze
from mixtures.inspect.trace import Tracer
from mixtures.loader.loader import Loader
from mixtures.parts.remote_parts import RangeCache, open_remote
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.conftest import write_shards
from tests.s3_server import s3_bucket
from tokenizer.shards.reader import open_source

LENGTH = 64


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two sources of about a million tokens, in parts of several blocks and record batches of a few
    hundred documents.
    """
    root, draw = tmp_path_factory.mktemp("large"), np.random.default_rng(11)
    folders = {}
    for name, documents in (("web", 30_000), ("sft", 9_000)):
        texts = [
            draw.integers(3, 1000, length).tolist()
            for length in draw.integers(1, 70, documents).tolist()
        ]
        spans = [[(0, len(text))] for text in texts] if name == "sft" else None
        folders[name] = write_shards(root / name, name, texts, spans, 400_000, "a", batch_rows=300)
    return folders


@pytest.fixture(scope="module")
def bucket(local: dict[str, Path]) -> Iterator[dict[str, str]]:
    """The same on a real S3 server; URLs by name."""
    with s3_bucket("shards", verbose=True) as url:
        store = Store(url)
        for name, folder in local.items():
            for file in sorted(folder.iterdir()):
                store.fs.put_file(str(file), f"shards/{name}/{file.name}")
        yield {name: f"{url}/{name}" for name in local}


def plan_of(folders: dict[str, Path], tokens: int = 900_000) -> Plan:
    spec = MixtureSpec(
        phases=(PhaseSpec(name="one", tokens=tokens, weights={"web": 0.8, "sft": 0.2}),)
    )
    sources = {name: open_source(folder) for name, folder in folders.items()}
    return freeze(
        spec, sources, sequence_length=LENGTH, batch_tokens=64 * LENGTH, seed=1, open_tokens=0
    )


def test_batches_from_a_store_are_those_from_a_disk_with_at_most_six_requests_for_five_blocks(
    local: dict[str, Path], bucket: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(local)
    blocks = sum(
        -(-source.tokens // own.block_tokens)
        for source, own in zip(plan.sources, plan.contexts[0].sources, strict=True)
    )
    cache = RangeCache(limit=64 << 20)
    caplog.set_level(logging.INFO, "werkzeug")
    remote, disk = Loader(plan, bucket, cache=cache), Loader(plan, local)
    for step in range(plan.steps):
        one, other = remote.batch(step), disk.batch(step)
        for name in ("tokens", "targets", "weights", "positions", "documents", "lengths", "pieces"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), (step, name)
        assert cache.bytes <= cache.limit
    requests = [
        record.getMessage() for record in caplog.records if "GET /shards/" in record.getMessage()
    ]
    reads = [request for request in requests if ".arrow" in request]
    parts = sum(len(source.parts) for source in plan.sources)
    assert blocks >= 18
    assert len(reads) <= 1.2 * blocks
    # a manifest each, an index for each part
    assert len(requests) - len(reads) == len(plan.sources) + parts
    assert cache.requests == len(requests)


def test_a_cache_that_holds_a_part_of_the_shards_lets_go_of_what_was_used_longest_ago(
    local: dict[str, Path], bucket: dict[str, str]
) -> None:
    plan = plan_of(local, 1_500_000)
    cache = RangeCache(limit=20 << 20)
    remote, disk = Loader(plan, bucket, cache=cache), Loader(plan, local)
    fetched, seen = 0, 0
    for step in (*range(0, plan.steps, 9), 0, plan.steps - 1, 1):
        before = cache.requests
        assert np.array_equal(remote.batch(step).tokens, disk.batch(step).tokens)
        fetched += cache.requests - before
        seen = max(seen, cache.bytes)
    assert seen <= cache.limit
    assert fetched > 2 * cache.ranges


def test_a_cache_too_small_for_one_batch_is_refused_with_the_size_that_would_do(
    local: dict[str, Path], bucket: dict[str, str]
) -> None:
    with pytest.raises(UserError) as raised:
        Loader(plan_of(local), bucket, cache=RangeCache(limit=1 << 18)).batch(0)
    assert raised.value.field == "cache_bytes"
    assert "262,144" in str(raised.value.found)


def test_a_plan_is_frozen_and_traced_over_a_store_as_over_a_disk(
    local: dict[str, Path], bucket: dict[str, str]
) -> None:
    plan = plan_of(local, 30_000)
    sources: dict[str, Any] = {name: open_remote(url) for name, url in bucket.items()}
    spec = MixtureSpec(
        phases=(PhaseSpec(name="one", tokens=30_000, weights={"web": 0.8, "sft": 0.2}),)
    )
    assert (
        freeze(
            spec, sources, sequence_length=LENGTH, batch_tokens=64 * LENGTH, seed=1, open_tokens=0
        ).hash
        == plan.hash
    )
    remote, disk = Tracer(plan, bucket), Tracer(plan, local)
    spans = disk.step(3)
    assert remote.step(3) == spans
    for document in sorted({span.id for span in spans})[:3]:
        assert remote.document(document) == disk.document(document)


def test_bytes_that_changed_on_the_store_are_named(
    local: dict[str, Path], bucket: dict[str, str]
) -> None:
    store = Store("s3://shards")
    damaged = bytearray((local["web"] / "part-00001.arrow").read_bytes())
    damaged[len(damaged) // 2] ^= 4
    for file in local["web"].iterdir():
        store.fs.put_file(str(file), f"shards/damaged/{file.name}")
    store.fs.pipe_file("shards/damaged/part-00001.arrow", bytes(damaged))
    plan = plan_of(local)
    loader = Loader(plan, {**bucket, "web": "s3://shards/damaged"})
    with pytest.raises(UserError, match="are not what was written") as raised:
        for step in range(plan.steps):
            loader.batch(step)
    assert raised.value.file == "s3://shards/damaged/part-00001.arrow"


def test_what_is_no_source_on_a_store_is_refused(
    local: dict[str, Path], bucket: dict[str, str]
) -> None:
    plan = plan_of(local)
    with pytest.raises(UserError, match="no such file"):
        Loader(plan, {**bucket, "web": "s3://shards/nothing"})
    with pytest.raises(UserError, match="another tokenizer"):
        open_remote(bucket["web"], "b" * 32)
