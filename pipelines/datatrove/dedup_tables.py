"""The tables between the passes of a deduplication in datatrove pipelines: signatures of each rank,
and what was decided of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.books import DamageError, parse_object
from artifacts.errors import UserError
from artifacts.ids import as_words
from artifacts.paths import Store
from dedup.near.minhash import MinHashConfig
from dedup.near.verify import Verdict

_DONE = "decision.json"


def write_table(store: Store, name: str, table: pa.Table) -> None:
    with store.writer(name) as file:
        pq.write_table(table, pa.PythonFile(file, mode="w"), compression="zstd")


def read_table(store: Store, name: str) -> pa.Table:
    """A table that was written here. Raises: UserError when it is damaged."""
    try:
        with store.open(name) as file:
            table = pq.ParquetFile(file).read(use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(store, name, error) from None
    return table


def _damaged(store: Store, name: str, error: object) -> UserError:
    return UserError(
        "the table is damaged",
        file=store.full(name),
        found=str(error).partition("\n")[0],
        fix="empty the folder and run MinHashSignatures again",
    )


def _facts(store: Store, name: str, table: pa.Table) -> dict[str, Any]:
    """What a table of signatures was made with."""
    try:
        return parse_object((table.schema.metadata or {}).get(b"minhash", b""))
    except DamageError as error:
        raise _damaged(store, name, error) from None


def whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def read_signatures(store: Store) -> tuple[list[pa.Table], MinHashConfig]:
    """The signatures of all ranks in order, and what they were made with. Raises: UserError."""
    first = "signatures/00000.parquet"
    if not store.exists(first):
        raise UserError(
            "no signatures",
            file=store.full(first),
            fix="run MinHashSignatures with this folder first",
        )
    tables = [read_table(store, first)]
    facts = _facts(store, first, tables[0])
    for rank in range(1, facts["world_size"]):
        name = f"signatures/{rank:05d}.parquet"
        if not store.exists(name):
            fix = (
                "wait for all tasks of MinHashSignatures (depends=…), "
                "or run those that failed again"
            )
            raise UserError(
                "a rank has not signed",
                file=store.full(name),
                found=f"{rank} of {facts['world_size']} ranks",
                fix=fix,
            )
        tables.append(read_table(store, name))
        other = _facts(store, name, tables[-1])
        if other != facts:
            changed = ", ".join(
                f"{key} {facts[key]} and {other[key]}"
                for key in sorted(facts)
                if facts[key] != other[key]
            )
            raise UserError(
                "signatures of several settings",
                file=store.full(name),
                found=changed,
                fix="empty the folder and sign again",
            )
    config = MinHashConfig(facts["ngrams"], facts["bands"], facts["rows"], facts["seed"])
    if config.algorithm != facts["algorithm"]:
        facts_of = {
            "found": facts["algorithm"],
            "allowed": [config.algorithm],
            "fix": "empty the folder and sign again",
        }
        raise UserError("signatures of another release", file=store.full(first), **facts_of)
    return [table.replace_schema_metadata(None) for table in tables], config


def keys_of(every: pa.Table, config: MinHashConfig) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    column = whole(every["bands"])
    signed = column.is_valid().to_numpy(zero_copy_only=False)
    keys = np.zeros((len(every), config.bands), np.uint64)
    keys[signed] = column.drop_null().flatten().to_numpy().reshape(-1, config.bands)
    return keys, signed


def keep_order(every: pa.Table) -> NDArray[np.int64]:
    """Rank of each document, 0 = most wanted: preferred, then longer, then by id, equal ids by rank
    and place.
    """
    prefer = np.nan_to_num(whole(every["prefer"]).fill_null(-np.inf).to_numpy(), nan=-np.inf)
    words = as_words(whole(every["id"]))
    order = np.lexsort((words[:, 1], words[:, 0], -whole(every["characters"]).to_numpy(), -prefer))
    priority = np.empty(len(order), np.int64)
    priority[order] = np.arange(len(order))
    return priority


def write_decision(
    store: Store, every: pa.Table, starts: NDArray[np.int64], verdict: Verdict
) -> None:
    """Per rank its documents' ids, with evidence where they go, and for how many they stand; the
    count of ranks last, when all is there.
    """
    store.delete(_DONE)
    rows = len(every)
    kept_row = np.full(rows, -1, np.int64)
    kept_row[verdict.document] = verdict.kept_document
    similarity = np.zeros(rows, np.float32)
    similarity[verdict.document] = verdict.similarity
    goes = kept_row >= 0
    table = pa.table(
        {
            "id": every["id"],
            "duplicate_of": whole(every["native_id"]).take(
                pa.array(np.maximum(kept_row, 0), mask=~goes)
            ),
            "similarity": pa.array(similarity, mask=~goes),
            "stands_for": 1 + np.bincount(verdict.kept_document, minlength=rows),
        }
    )
    for rank, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        write_table(store, f"decision/{rank:05d}.parquet", table.slice(start, end - start))
    facts = {
        "ranks": len(starts) - 1,
        "documents": rows,
        "removed": len(verdict.document),
        "comparisons": verdict.compared,
        "comparisons_skipped": verdict.skipped,
        "largest_cluster": verdict.largest_cluster,
    }
    store.write(_DONE, orjson.dumps(facts, option=orjson.OPT_INDENT_2))


def read_decision(
    store: Store, rank: int, world_size: int
) -> tuple[pa.FixedSizeBinaryArray, dict[int, dict[str, Any]], dict[int, int]]:
    """A rank's ids; evidence of the documents that go, by place; how many each other one stands
    for, where several. Raises: UserError.
    """
    if not store.exists(_DONE):
        raise UserError(
            "nothing was decided",
            file=store.full(_DONE),
            fix="run MinHashDecision with this folder first",
        )
    try:
        ranks = parse_object(store.read(_DONE))["ranks"]
    except (DamageError, KeyError) as error:
        raise _damaged(store, _DONE, error) from None
    if ranks != world_size:
        fix = f"run with tasks={ranks}"
        raise UserError(
            "another number of tasks than signed",
            parameter="tasks",
            found=world_size,
            allowed=[ranks],
            fix=fix,
        )
    table = read_table(store, f"decision/{rank:05d}.parquet")
    kept, similarity, counts = (
        table["duplicate_of"].to_pylist(),
        table["similarity"].to_pylist(),
        table["stands_for"].to_pylist(),
    )
    removed = {
        place: {"duplicate_of": one, "similarity": similarity[place]}
        for place, one in enumerate(kept)
        if one is not None
    }
    return (
        whole(table["id"]),
        removed,
        {place: count for place, count in enumerate(counts) if count > 1},
    )
