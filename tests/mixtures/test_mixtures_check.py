"""A plan held against shards: changed ones are refused with the numbers, what was added or taken
down is counted, damage is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, freeze
from mixtures.inspect.check_plan import check_plan
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.conftest import Shards
from tokenizer.shards.manifest import MANIFEST_NAME, read_manifest
from tokenizer.shards.reader import ShardSource

Writer = Callable[..., Path]


def documents(count: int, first: int = 3) -> list[list[int]]:
    return [[first + number] * (5 + number % 7) for number in range(count)]


@pytest.fixture
def own(shard_writer: Writer) -> Shards:
    return Shards(
        {
            "a": shard_writer("a", documents(60), part_tokens=150),
            "b": shard_writer("b", documents(40)),
        }
    )


def plan(shards: Shards, sources: dict[str, ShardSource] | None = None) -> Plan:
    phase: dict[str, Any] = {"name": "only", "tokens": 640, "weights": {"a": 0.5, "b": 0.5}}
    return freeze(
        MixtureSpec.model_validate({"phases": [phase]}),
        sources or shards.sources,
        sequence_length=8,
        batch_tokens=64,
        seed=3,
    )


def test_shards_as_they_were_hold_with_their_counts(own: Shards) -> None:
    first, second = check_plan(plan(own), own.folders, deep=True)
    manifest = read_manifest(own.folders["a"])
    assert (first.source, first.parts, first.rows, first.tokens) == (
        "a",
        len(manifest.parts),
        60,
        manifest.tokens,
    )
    assert first.parts > 1
    for row in (first, second):
        assert (
            row.later_parts,
            row.later_tokens,
            row.removed_documents,
            row.removed_tokens,
            row.findings,
        ) == (0, 0, 0, 0, ())


def test_documents_taken_down_since_are_counted_with_the_tokens_that_are_never_shown(
    own: Shards,
) -> None:
    made = plan(own)
    rows = own.documents("a")
    for row in (rows[0], rows[17], rows[-1]):
        own.remove("a", bytes(row["id"]).hex())  # type: ignore[call-overload]
    first = check_plan(made, own.folders)[0]
    lost = sum(len(rows[place]["tokens"]) for place in (0, 17, -1))  # type: ignore[arg-type]
    assert (first.removed_documents, first.removed_tokens) == (3, lost)


def test_parts_added_since_are_counted_and_not_planned(own: Shards) -> None:
    manifest = read_manifest(own.folders["a"])
    before = ShardSource(
        own.folders["a"], manifest.model_copy(update={"parts": manifest.parts[:-1]})
    )
    first = check_plan(plan(own, {**own.sources, "a": before}), own.folders)[0]
    assert (first.later_parts, first.later_tokens, first.parts) == (
        1,
        manifest.parts[-1].tokens,
        len(manifest.parts) - 1,
    )


def test_other_shards_are_refused_with_the_numbers(
    own: Shards, shard_writer: Writer, tmp_path: Path
) -> None:
    made = plan(own)
    other = shard_writer("other", documents(41))
    with pytest.raises(UserError) as error:
        check_plan(made, {**own.folders, "b": other})
    assert str(read_manifest(other).tokens) in str(error.value.found).replace(",", "")
    assert str(made.sources[1].tokens) in str(error.value.allowed).replace(",", "")
    with pytest.raises(UserError, match="no folder") as missing:
        check_plan(made, {"a": own.folders["a"]})
    assert missing.value.found == "b"


def test_counts_that_do_not_follow_from_the_segments_are_refused(own: Shards) -> None:
    made = plan(own)
    broken = made.model_copy(
        update={"segments": (made.segments[0].model_copy(update={"cursors": (1, 0)}),)}
    )
    with pytest.raises(UserError, match="do not follow"):
        check_plan(broken, own.folders)


def test_a_damaged_block_is_named_when_bytes_are_read_again_and_only_then(own: Shards) -> None:
    made = plan(own)
    record = read_manifest(own.folders["a"]).parts[1]
    path = own.folders["a"] / record.file
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert all(row.findings == () for row in check_plan(made, own.folders))
    first, second = check_plan(made, own.folders, deep=True)
    assert second.findings == ()
    assert {finding.part for finding in first.findings} == {record.file}
    damaged = next(finding for finding in first.findings if finding.kind == "damaged")
    assert damaged.byte_range is not None
    assert damaged.byte_range[0] <= len(raw) // 2 < damaged.byte_range[1]
    assert dataclasses.asdict(first)["findings"]


def test_a_manifest_that_was_changed_is_refused(own: Shards) -> None:
    made = plan(own)
    manifest = read_manifest(own.folders["a"])
    parts = (manifest.parts[0].model_copy(update={"checksum": "0" * 32}), *manifest.parts[1:])
    (own.folders["a"] / MANIFEST_NAME).write_bytes(
        manifest.model_copy(update={"parts": parts}).to_json()
    )
    with pytest.raises(UserError) as error:
        check_plan(made, own.folders)
    assert "0" * 32 in str(error.value.found)
    assert made.sources[0].parts[0].checksum in str(error.value.allowed)
