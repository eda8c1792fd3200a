"""Damaged files of every format, read by a whole run: does each end, balance, and end alike?

    python benchmarks/mutated_files.py [--files 10000] [--per-source 500] [--seed 1] [--keep DIR]
        [--report FILE.json]

Sound files of a few records in JSON Lines, Parquet, WARC, ARC and HTML, plain and compressed, are
damaged in one to five places by a seeded generator: bits flipped, stretches cut out, doubled or
overwritten, the end cut off. Each source of ``--per-source`` files is read by a run with one worker
and by one with two. A file whose fields a reader refuses (a Parquet column that damage has renamed)
is taken out and counted. Exit code 1 when a run fails otherwise, a ledger does not balance, or the
two runs write different bytes.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from fastwarc.stream_io import Lz4Writer

from artifacts.errors import UserError
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "と",
    "天气",
    "où",
    "café",
    "while",
    "rain",
]
LONGEST = 60.0  # seconds a file may take on average before a source counts as hanging
LENIENT: dict[str, Any] = {"max_quarantined_share": 1}  # more fields of the source
READ = ("documents", "quarantine")  # folders of a run that hold what was read


def lz4(content: bytes) -> bytes:
    target = io.BytesIO()
    writer = Lz4Writer(target)
    writer.write(content)
    writer.finish()
    writer.flush()
    return target.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lz4": lz4,
}


def prose(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(3, 60)))


def page(rng: random.Random) -> bytes:
    paragraphs = "".join(f"<p>{prose(rng)}</p>" for _ in range(rng.randint(1, 6)))
    return (
        f"<html><head><title>{prose(rng)}</title></head><body>{paragraphs}</body></html>".encode()
    )


def json_lines(rng: random.Random) -> tuple[str, bytes]:
    records = [{"id": number, "text": prose(rng), "n": rng.random()} for number in range(12)]
    pack = rng.choice(list(PACK))
    content = "\n".join([*map(json.dumps, records), ""]).encode()
    return f".jsonl{pack}", PACK[pack](content)


def parquet(rng: random.Random) -> tuple[str, bytes]:
    rows = rng.randint(1, 60)
    table = pa.table(
        {
            "id": [str(number) for number in range(rows)],
            "text": [prose(rng) for _ in range(rows)],
            "tags": [[prose(rng)] for _ in range(rows)],
        }
    )
    target = io.BytesIO()
    compression = rng.choice(["zstd", "snappy", "none"])
    pq.write_table(table, target, row_group_size=rng.choice([5, 20, 100]), compression=compression)
    return ".parquet", target.getvalue()


def warc(rng: random.Random) -> tuple[str, bytes]:
    records = []
    for number in range(6):
        body = page(rng)
        coding = rng.choice(["", "gzip", "chunked"])
        fields = {"": "", "gzip": "Content-Encoding: gzip\r\n"}.get(
            coding, "Transfer-Encoding: chunked\r\n"
        )
        body = gzip.compress(body) if coding == "gzip" else body
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if coding == "chunked" else body
        message = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}\r\n".encode() + body
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:x:{number}>\r\n"
            f"Content-Type: application/http\r\nContent-Length: {len(message)}\r\n\r\n"
        )
        records.append(head.encode() + message + b"\r\n\r\n")
    pack = rng.choice(["", ".gz", ".zst", ".lz4"])
    return f".warc{pack}", b"".join(map(PACK[pack], records))


def arc(rng: random.Random) -> tuple[str, bytes]:
    records = []
    for _ in range(6):
        message = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + page(rng)
        head = f"http://e.com/ 10.0.0.1 20080430204825 text/html; a=b {len(message)}\n".encode()
        records.append(head + message + b"\n")
    pack = rng.choice(["", ".gz"])
    return f".arc{pack}", b"".join(map(PACK[pack], records))


def html(rng: random.Random) -> tuple[str, bytes]:
    pack = rng.choice(["", "", ".gz", ".zst"])
    return f".html{pack}", PACK[pack](page(rng))


KINDS = {"jsonl": (json_lines,), "parquet": (parquet,), "warc": (warc, arc), "html": (html,)}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file's bytes with one to five faults."""
    raw = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        if not raw:
            break
        at, length = rng.randrange(len(raw)), rng.randint(1, 200)
        fault = rng.choice(["flip", "cut", "double", "overwrite", "end"])
        if fault == "flip":
            raw[at] ^= 1 << rng.randrange(8)
        elif fault == "cut":
            del raw[at : at + length]
        elif fault == "double":
            raw[at:at] = raw[at : at + length]
        elif fault == "overwrite":
            raw[at : at + length] = rng.randbytes(length)
        elif rng.random() < 0.3:
            del raw[at:]
    return bytes(raw)


def write_source(folder: Path, kind: str, files: int, seed: int) -> None:
    """``files`` damaged files of a kind; the same for the same seed."""
    folder.mkdir(parents=True)
    rng = random.Random(f"{kind} {seed}")
    for number in range(files):
        suffix, content = rng.choice(KINDS[kind])(rng)
        (folder / f"{number:05}{suffix}").write_bytes(damaged(content, rng))


def run(folder: Path, kind: str, workers: int, runs: Path) -> dict[str, Any]:
    """Read a source; what came of it, in numbers and as a digest of all that was written."""
    recipe = folder.with_suffix(".yaml")
    source = {"name": "damaged", "paths": [f"{folder}/*"], "format": kind}
    recipe.write_text(
        json.dumps(
            {
                "name": f"run-{workers}",
                "corpus": {"sources": [{**source, **LENIENT}], "chunk_mib": 0.0625},
            }
        )
    )
    refused = 0
    started = time.monotonic()
    while True:
        try:
            outcome = run_recipe(
                load_recipe(str(recipe)), str(runs), workers=workers, until="corpus"
            )
            break
        except UserError as error:
            named = [path for path in folder.iterdir() if str(path) in str(error)]
            if len(named) != 1:
                raise
            named[0].unlink()
            refused += 1
    (ledger,) = [ledger for ledger in outcome.ledgers if ledger.step == "read"]
    entry = ledger.sources["damaged"].to_json()
    written = hashlib.sha256()
    root = runs / f"run-{workers}"
    for path in sorted(path for area in READ for path in (root / area).rglob("*.parquet")):
        written.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return {
        "refused": refused,
        "entry": entry,
        "digest": written.hexdigest(),
        "seconds": time.monotonic() - started,
    }


def compare(folder: Path, kind: str, files: int, seed: int) -> dict[str, Any]:
    """One source read by one worker and by two."""
    write_source(folder / "files", kind, files, seed)
    one = run(folder / "files", kind, 1, folder / "runs")
    two = run(folder / "files", kind, 2, folder / "runs")
    alike = one["digest"] == two["digest"] and one["entry"] == two["entry"]
    return {
        "kind": kind,
        "files": files,
        "seed": seed,
        "alike": alike,
        "refused": one["refused"],
        "seconds": [one["seconds"], two["seconds"]],
        "entry": one["entry"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--per-source", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    results, failed = [], Counter[str]()
    sources = -(-options.files // options.per_source)
    with tempfile.TemporaryDirectory() as scratch:
        base = options.keep or Path(scratch)
        for number in range(sources):
            kind = list(KINDS)[number % len(KINDS)]
            result = compare(
                base / f"{number:03}-{kind}", kind, options.per_source, options.seed + number
            )
            results.append(result)
            failed["different"] += not result["alike"]
            failed["slow"] += sum(result["seconds"]) > LONGEST * options.per_source
            kept, seconds = result["entry"]["kept"]["documents"], result["seconds"]
            print(
                f"{number + 1}/{sources} {kind}: {options.per_source} files, {kept} documents, "
                f"{result['refused']} files refused, {seconds[0]:.1f} s and {seconds[1]:.1f} s, "
                f"{'alike' if result['alike'] else 'DIFFERENT'}",
                flush=True,
            )
    if options.report:
        options.report.write_text(json.dumps(results, indent=2) + "\n")
    print(f"{sum(r['files'] for r in results)} files, failures: {dict(+failed) or 'none'}")
    return 1 if +failed else 0


if __name__ == "__main__":
    sys.exit(main())
