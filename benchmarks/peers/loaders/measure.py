"""One peer, one measurement, in a process of its own; the last line of standard output is a JSON
object.

    python measure.py --loader streaming|datasets-numpy|datasets-torch|dataloader
        --stream FILE --work FOLDER --window 4096 --batch 8 --seconds 20 --core 1 [--prepare]

FILE holds bare uint16 tokens, window after window. ``--prepare`` writes what the loader reads (MDS
shards, Arrow files) into the folder and measures nothing. Every loader gives batches of int64
tokens, (batch, window), in shuffled order:

- streaming: mosaicml-streaming's ``StreamingDataset`` over uncompressed local MDS shards with one
  window per sample, ``shuffle=True`` with its default algorithm, in a ``DataLoader`` with
  ``num_workers=0``
- datasets-numpy, datasets-torch: Hugging Face ``datasets`` over rows of one window (fixed-length
  list of uint16), ``shuffle``, ``with_format`` and ``iter(batch_size)``, which was as fast as
  slices
- dataloader: torch's ``DataLoader`` with ``num_workers=0`` over a memory-mapped array, shuffled

None makes targets, position ids, document borders or loss weights. With ``--borders`` the tokens of
a batch are turned into these by vectorised numpy, as a collator would for training on packed
documents: targets, positions that restart behind each EOS, numbers of documents, cumulative
lengths, weights. Start-up (imports, opening with shuffling, the first batch) is stated apart; files
are read once before, so that they are in the page cache.
"""

from __future__ import annotations

import os

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[pool] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import argparse  # noqa: E402
import functools  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import types  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

BEGUN = time.perf_counter()
WARM_UP_BATCHES = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loader", choices=sorted(LOADERS), required=True)
    parser.add_argument("--stream", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--borders", action="store_true")
    parser.add_argument("--eos", type=int, default=2)
    parser.add_argument("--prepare", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    prepare, open_loader, packages = LOADERS[arguments.loader]
    folder = arguments.work / arguments.loader.split("-")[0]
    if arguments.prepare:
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            prepare(arguments.stream, folder, arguments.window)
            (folder / "complete").touch()
        print(json.dumps({"packages": {name: metadata.version(name) for name in packages}}))
        return
    read(
        [arguments.stream]
        if arguments.loader == "dataloader"
        else [path for path in sorted(folder.rglob("*")) if path.is_file()]
    )
    borders = functools.partial(with_borders, eos=arguments.eos) if arguments.borders else None
    print(json.dumps(measure(open_loader(arguments, folder), arguments.seconds, borders)))


def with_borders(batch: Any, eos: int) -> dict[str, Any]:
    """What training on packed documents takes, from the tokens of a batch (B, T) that end each
    document with ``eos``.
    """
    import numpy as np

    tokens = np.asarray(batch).astype(np.int32, copy=False)
    rows, length = tokens.shape
    targets = np.empty_like(tokens)
    targets[:, :-1] = tokens[:, 1:]
    targets[:, -1] = eos
    begins = np.empty(tokens.shape, np.bool_)
    begins[:, 0] = True
    np.equal(tokens[:, :-1], eos, out=begins[:, 1:])
    place = np.arange(length, dtype=np.int32)
    return {
        "tokens": tokens,
        "targets": targets,
        "weights": (tokens != eos).astype(np.float32),
        "positions": place - np.maximum.accumulate(np.where(begins, place, 0), axis=1),
        "documents": np.cumsum(begins, axis=1, dtype=np.int32),
        "lengths": np.append(np.flatnonzero(begins), rows * length).astype(np.int32),
    }


def measure(
    epochs: Callable[[], Iterator[Any]],
    seconds: float,
    borders: Callable[[Any], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Tokens and seconds of epoch after epoch, behind some batches of warm-up."""
    opened = time.perf_counter()
    batches = endless(epochs)
    next(batches)
    first = time.perf_counter()
    for _ in range(WARM_UP_BATCHES):
        next(batches)
    tokens = seen = 0
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    clock, used = time.perf_counter(), time.process_time()
    while time.perf_counter() - clock < seconds:
        batch = next(batches)
        rows, length = batch.shape
        tokens += rows * length
        seen += int(batch[0, 0])  # looked at, as training would
        if borders is not None:
            made = borders(batch)
            seen += int(made["positions"][0, -1])
    return {
        "tokens": tokens,
        "seconds": time.perf_counter() - clock,
        "processor_seconds": time.process_time() - used,
        "major_faults": resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults,
        "start_up_seconds": {"open": opened - BEGUN, "first_batch": first - opened},
        "bytes_per_token": batch.dtype.itemsize if borders is None else 20,
        "sum_of_first_tokens": seen,
    }


def endless(epochs: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    while True:
        yield from epochs()


def read(files: list[Path]) -> None:
    """Front to back, so that the page cache holds them."""
    room = bytearray(1 << 23)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass


def windows_of(stream: Path, window: int) -> Any:
    import numpy as np

    return np.memmap(stream, np.uint16, "r").reshape(-1, window)


def write_streaming(stream: Path, folder: Path, window: int) -> None:
    MDSWriter = streaming().MDSWriter  # noqa: N806
    with MDSWriter(
        out=str(folder / "mds"), columns={"tokens": f"ndarray:uint16:{window}"}, compression=None
    ) as out:
        for row in windows_of(stream, window):
            out.write({"tokens": row})


def open_streaming(arguments: argparse.Namespace, folder: Path) -> Callable[[], Iterator[Any]]:
    import numpy as np
    import torch

    torch.set_num_threads(1)
    library = streaming()
    library.base.util.clean_stale_shared_memory()
    dataset = library.StreamingDataset(
        local=str(folder / "mds"), shuffle=True, batch_size=arguments.batch
    )

    def collate(samples: list[dict[str, Any]]) -> torch.Tensor:
        return torch.from_numpy(np.stack([sample["tokens"] for sample in samples]).astype(np.int64))

    loader = torch.utils.data.DataLoader(
        dataset, batch_size=arguments.batch, num_workers=0, collate_fn=collate, drop_last=True
    )
    return lambda: iter(loader)


def streaming() -> Any:
    """The library, without torchvision: it derives image data sets, not used here, from a class of
    it.
    """
    import transformers.feature_extraction_utils  # noqa: F401  (imported by it; asks whether torchvision is there)

    names = (
        "torchvision",
        "torchvision.datasets",
        "torchvision.transforms",
        "torchvision.transforms.functional",
    )
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.datasets"].VisionDataset = type("VisionDataset", (), {})  # type: ignore[attr-defined]
    sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]
    import streaming as library
    import streaming.base.util

    return library


def write_datasets(stream: Path, folder: Path, window: int) -> None:
    import datasets
    import pyarrow as pa

    flat = windows_of(stream, window).reshape(-1)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat), window)
    features = datasets.Features(
        {"tokens": datasets.Sequence(datasets.Value("uint16"), length=window)}
    )
    table = pa.table({"tokens": column}, schema=features.arrow_schema)
    datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(str(folder / "arrow"))


def open_datasets(arguments: argparse.Namespace, folder: Path) -> Callable[[], Iterator[Any]]:
    import datasets
    import pyarrow as pa
    import torch

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    kind = arguments.loader.split("-")[1]
    rows = (
        datasets.load_from_disk(str(folder / "arrow"))
        .shuffle(seed=1, keep_in_memory=True)
        .with_format(kind)
    )
    return lambda: (
        batch["tokens"] for batch in rows.iter(batch_size=arguments.batch, drop_last_batch=True)
    )


def write_nothing(stream: Path, folder: Path, window: int) -> None:
    """The stream itself is read."""


def open_dataloader(arguments: argparse.Namespace, folder: Path) -> Callable[[], Iterator[Any]]:
    import numpy as np
    import torch

    torch.set_num_threads(1)
    windows = windows_of(arguments.stream, arguments.window)

    class Windows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(windows)

        def __getitem__(self, row: int) -> torch.Tensor:
            return torch.from_numpy(windows[row].astype(np.int64))

    loader = torch.utils.data.DataLoader(
        Windows(), batch_size=arguments.batch, shuffle=True, num_workers=0, drop_last=True
    )
    return lambda: iter(loader)


LOADERS = {
    "streaming": (write_streaming, open_streaming, ("mosaicml-streaming", "torch", "numpy")),
    "datasets-numpy": (write_datasets, open_datasets, ("datasets", "pyarrow", "numpy")),
    "datasets-torch": (write_datasets, open_datasets, ("datasets", "pyarrow", "torch")),
    "dataloader": (write_nothing, open_dataloader, ("torch", "numpy")),
}

if __name__ == "__main__":
    main()
