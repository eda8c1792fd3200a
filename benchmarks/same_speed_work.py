"""The work of one figure of ``same_speed.py``, in the checkout that PYTHONPATH names.

The last line of standard output is a JSON object. Modules are looked for under the names that
checkouts have given them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

READ_SECONDS = 20
SIGNATURE_PASSES, SIGNAL_PASSES, LOADER_BATCHES, TRAINING_STEPS = 8, 6, 12_000, 5
WINDOW, BATCH_WINDOWS = 256, 16
Work = Callable[[], object]


def named(symbol: str, *modules: str) -> Any:
    """A symbol of the one of these modules that the checkout has it in.

    The newest name comes first and is tried last: where this project is installed in editable mode,
    the installed checkout answers for modules that the measured one does not have.
    """
    for module in reversed(modules):
        try:
            return getattr(importlib.import_module(module), symbol)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise SystemExit(f"no module of {', '.join(modules)} has {symbol}")


def texts(run: Path) -> pa.LargeStringArray:
    """The texts of a run's documents as they were read."""
    files = sorted((run / "documents" / "read").rglob("documents.parquet"))
    column = pa.chunked_array([pq.read_table(file, columns=["text"])["text"] for file in files])
    merged: pa.LargeStringArray = pa.concat_arrays(
        [chunk for part in [column] for chunk in part.chunks]
    )
    return merged


def dedup_signatures(run: Path) -> Work:
    """Band keys of all texts."""
    config = named("MinHashConfig", "dedup.near.minhash", "dedup.minhash")()
    band_keys = named("band_keys", "dedup.near.minhash", "dedup.minhash")
    column = texts(run)
    return lambda: [band_keys(column, config) for _ in range(SIGNATURE_PASSES)]


def signals(run: Path) -> Work:
    """Gopher measures of all texts."""
    measure = named("measure", "pipelines.signals.gopher")
    column = texts(run)
    return lambda: [measure(column) for _ in range(SIGNAL_PASSES)]


def shards(run: Path) -> dict[str, Path]:
    """Folders of the run's shards by source, held-out ones left out."""
    record = json.loads((run / "run.json").read_text())
    return {
        name: run / entry["folder"]
        for name, entry in record["shards"].items()
        if entry["documents"] and not name.endswith("-validation")
    }


def frozen(run: Path, steps: int) -> tuple[Any, dict[str, Path]]:
    """A plan of so many steps over all sources, and the folders of their shards."""
    spec = named("MixtureSpec", "mixtures.spec.spec", "mixtures.spec")
    freeze = named("freeze", "mixtures.freeze.freeze", "mixtures.plan")
    open_source = named("open_source", "tokenizer.shards.reader", "tokenizer.shards")
    folders = shards(run)
    tokens = steps * WINDOW * BATCH_WINDOWS
    weights = dict.fromkeys(folders, 1 / len(folders))
    phases = [{"name": "stable", "tokens": tokens, "weights": weights}]
    plan = freeze(
        spec(phases=phases),
        {name: open_source(folder) for name, folder in folders.items()},
        sequence_length=WINDOW,
        batch_tokens=WINDOW * BATCH_WINDOWS,
        seed=1,
    )
    return plan, folders


def loader(run: Path) -> Work:
    """Batches of a plan over many epochs, in order."""
    plan, folders = frozen(run, LOADER_BATCHES)
    reader = named("Loader", "mixtures.loader.loader", "mixtures.loader")(plan, folders)
    return lambda: [reader.batch(step).tokens[0, 0] for step in range(LOADER_BATCHES)]


def training(run: Path) -> Work:
    """Steps of the preset ``tiny``, with the checkpoint at their end."""
    plan, folders = frozen(run, TRAINING_STEPS)
    train = named("train", "trainer.loop.training", "trainer.loop")
    settings = named("TrainSettings", "trainer.loop.settings", "trainer.settings")
    model = named("ModelSettings", "trainer.loop.settings", "trainer.settings")
    tokenizer = named("Tokenizer", "tokenizer.encode").load(
        next((run / "tokenizer").rglob("tokenizer.model")).read_bytes()
    )
    chosen = settings(
        sequence_length=WINDOW,
        batch_tokens=WINDOW * BATCH_WINDOWS,
        threads=1,
        tensorboard=False,
        schedule={"kind": "constant", "warmup": 1},
    )

    def work() -> None:
        with tempfile.TemporaryDirectory() as output:
            train(plan, folders, model(), chosen, output, tokenizer)

    return work


def reading(folder: Path, suffixes: tuple[str, ...], kind: str) -> Work:
    """Batches of all files of a folder with one of the suffixes, over and over."""
    read, span = named("read", "pipelines.readers"), named("Span", "pipelines.readers")
    files = sorted(path for path in folder.rglob("*") if path.name.endswith(suffixes))
    if not files:
        raise SystemExit(f"no file in {folder} ends with {' or '.join(suffixes)}")

    def once() -> None:
        for path in files:
            for _ in read(span(str(path), path.name), kind, "source"):
                pass

    began = time.process_time()
    once()  # compiles kernels
    once()
    passes = max(1, round(READ_SECONDS / ((time.process_time() - began) / 2)))
    return Passes(once, passes)


@dataclass(frozen=True)
class Passes:
    """Work done so many times; what is measured is one of them."""

    once: Work
    passes: int

    def __call__(self) -> object:
        return [self.once() for _ in range(self.passes)]


def read_jsonl(folder: Path) -> Work:
    """Documents of JSON Lines."""
    return reading(folder, (".jsonl.zst", ".jsonl.gz", ".jsonl"), "jsonl")


def read_parquet(folder: Path) -> Work:
    """Documents of Parquet files."""
    return reading(folder, (".parquet",), "parquet")


def read_warc(folder: Path) -> Work:
    """Texts of the pages of web archives."""
    return reading(folder, (".warc.gz", ".warc", ".warc.zst", ".arc.gz", ".arc", ".wet.gz"), "warc")


def read_html(folder: Path) -> Work:
    """Texts of pages in files."""
    return reading(folder, (".html", ".htm"), "html")


RUN_FIGURES = (dedup_signatures, signals, loader, training)
READ_FIGURES = (read_jsonl, read_parquet, read_warc, read_html)
FIGURES = {work.__name__: work for work in (*RUN_FIGURES, *READ_FIGURES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("run", type=Path, help="a run folder; of figures of reading, one of inputs")
    arguments = parser.parse_args()
    work = FIGURES[arguments.figure](arguments.run)
    passes = work.passes if isinstance(work, Passes) else 1
    if passes == 1:
        work()
    before = time.process_time()
    work()
    spent = (time.process_time() - before) / passes
    house = importlib.import_module("artifacts").__file__
    print(json.dumps({"processor_seconds": spent, "house": house}))


if __name__ == "__main__":
    main()
