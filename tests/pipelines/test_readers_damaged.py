"""Damaged Parquet and JSON Lines: every record is accounted for, however the file is cut."""

from __future__ import annotations

import io
import random
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UserError
from artifacts.ledger import Entry
from artifacts.schemas import DOCUMENTS, QUARANTINE
from pipelines.chunks.reading import account
from pipelines.readers import Fields, InputFile, Limits, plan_chunks, read

RECORDS = [
    {"id": f"d{row}", "text": f"text {row} 中文 " * (row % 9 + 1), "n": row / 3, "tags": ["x", "y"]}
    for row in range(200)
]
LIMITS = Limits(batch_bytes=4096, record_bytes=1 << 20, quarantine_bytes=256)


def json_lines() -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in RECORDS)


def parquet(codec: str, pages: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(RECORDS),
        out,
        row_group_size=60,
        compression=codec,
        data_page_version=pages,
    )
    return out.getvalue()


SOUND = {
    "jsonl": [json_lines()],
    "parquet": [parquet("none", "1.0"), parquet("zstd", "2.0"), parquet("snappy", "1.0")],
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with bytes flipped, cut out, doubled or put elsewhere, mostly near its end."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        near_end = chance.random() < 0.5
        low = max(0, len(changed) - 900) if near_end else 0
        start = chance.randrange(low, max(low + 1, len(changed)))
        stretch = bytes(changed[start : start + chance.randint(1, 60)])
        kind = chance.choice(["flip", "flip", "cut", "double", "splice", "end"])
        if kind == "flip" and start < len(changed):
            changed[start] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del changed[start : start + len(stretch)]
        elif kind == "double":
            changed[start:start] = stretch
        elif kind == "splice":
            place = chance.randrange(len(changed) + 1)
            changed[place : place + len(stretch)] = stretch
        elif kind == "end" and chance.random() < 0.2:
            del changed[start:]
    return bytes(changed)


def outcome(path: Path, format: str, chunk_bytes: int) -> object:
    file = InputFile(str(path), path.name, path.stat().st_size, format)
    entry, documents, bad = Entry(), [], []
    try:
        for chunk in plan_chunks([file], chunk_bytes):
            for span in chunk:
                for batch in read(span, format, "src", Fields(id_field="id"), LIMITS):
                    account(entry, batch)
                    documents.append(batch.documents)
                    bad.append(batch.quarantine)
    except UserError as error:
        return str(error)
    entry.check("read", "src")
    return (
        entry.to_json(),
        pa.Table.from_batches(documents, DOCUMENTS).to_pylist(),
        pa.Table.from_batches(bad, QUARANTINE).to_pylist(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
)
def test_a_damaged_file_is_accounted_for_and_the_same_however_it_is_cut(
    tmp_path: Path, format: str, seed: int
) -> None:
    chance = random.Random(seed)
    path = tmp_path / f"a.{format}"
    for number in range(60):
        sound = SOUND[format][number % len(SOUND[format])]
        path.write_bytes(damaged(sound, chance))
        whole = outcome(path, format, 1 << 30)
        for chunk_bytes in (1 << 10, 5000):
            assert outcome(path, format, chunk_bytes) == whole, (seed, number, chunk_bytes)
