"""From start to the first batch of a plan over ten trillion tokens in 50 sources: seconds, memory,
and what a checkpoint has to hold.

    PYTHONPATH=. python benchmarks/loader_start.py [--tokens 10e12] [--sources 50]
        [--part-tokens 1073741824] [--repeats 5]
    PYTHONPATH=. python benchmarks/loader_start.py --tokens 1e11 --part-tokens 4194304
        --repeats 1      # a look

The plan is simulated, its files are not: one real part (2^30 tokens of real text, 2 GB) is written
once and hard-linked under as many names as the sources have parts, in 50 folders with manifests of
their own, and a plan is frozen over them: one phase, weights that fall from source to source, each
source with as many parts as its weight asks for. Then, in a fresh process each time, behind the
imports: read the plan, open the loader, make the batch of step 0 or of a step deep inside (default:
nine tenths of the run), make the next batch; trace the step (opening the sources anew), and trace
one document (parts count as added one by one). ``memory_growth_bytes`` is what the process itself
holds (anonymous pages) at the first batch over that behind the imports; ``peak_growth_bytes`` is
the growth of its peak resident size, in which the kernel also counts pages of mapped shards, and of
those it maps up to two megabytes for every byte that is looked at. Kernels are compiled before the
first run; loading them is part of the figure, numba's own machinery belongs to the imports
(``seconds_importing``). All links are one file, so its pages are warm: this measures what the
number of parts costs, not the disk.

``state_bytes`` is what a checkpoint needs of the loader: the step and the plan's hash; the plan
itself, which a checkpoint carries as a file, is stated beside it. Needs 5 bytes of disk per token
of a part while it is made, and removes all of it (``--keep`` leaves it). Writes
``benchmarks/results/loader_start.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

PLAN, FOLDERS = "plan.json", "folders.json"
LINKS = 60_000  # ext4 allows 65,000 names of a file


def main() -> None:
    arguments = parse()
    if arguments.one is not None:
        print(json.dumps(one_start(arguments.one, arguments.step)))
        return
    if arguments.freeze is not None:
        print(json.dumps(frozen(arguments.freeze, arguments)))
        return
    core = one_core.pin(arguments.core)
    arguments.work.mkdir(parents=True, exist_ok=True)
    needed, free = 5 * arguments.part_tokens, shutil.disk_usage(arguments.work).free
    if free < needed:
        found = (
            f"{needed / 1e9:.1f} GB are needed under {arguments.work}, {free / 1e9:.1f} GB are free"
        )
        raise SystemExit(f"{found}: take smaller --part-tokens")
    folder = Path(tempfile.mkdtemp(prefix="start-", dir=arguments.work))
    try:
        result = measured(folder, arguments, core)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    one_core.publish("loader_start", result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        type=Path,
        default=[one_core.ROOT / "examples" / "corpus"],
        metavar="PATH",
    )
    parser.add_argument("--work", type=Path, default=one_core.WORK)
    parser.add_argument(
        "--tokens", type=float, default=10e12, help="of the simulated run (default: %(default)g)"
    )
    parser.add_argument("--sources", type=int, default=50)
    parser.add_argument("--part-tokens", type=int, default=1 << 30)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument(
        "--batch", type=int, default=64, help="windows per batch (default: %(default)s)"
    )
    parser.add_argument(
        "--deep",
        type=float,
        default=0.9,
        help="how far inside the second step lies (default: %(default)s of the run)",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--one", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--freeze", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(folder: Path, arguments: argparse.Namespace, core: int) -> dict[str, Any]:
    """Make files and plan, then start again and again."""
    parts = linked_sources(folder, arguments)
    script = Path(__file__)
    options = (
        "--tokens",
        arguments.tokens,
        "--window",
        arguments.window,
        "--batch",
        arguments.batch,
    )
    plan = one_core.fresh(script, "--freeze", folder, *options)
    steps = {"first_step": 0, "deep_step": int(plan["steps"] * arguments.deep)}
    one_core.fresh(script, "--one", folder)  # compiles what is not compiled yet
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in steps}
    for _ in range(arguments.repeats):
        for name, step in steps.items():
            runs[name].append(one_core.fresh(script, "--one", folder, "--step", step))
    names = runs["first_step"][0]
    return {
        "machine": one_core.machine(("numpy", "pyarrow", "pydantic", "numba"), core),
        "repeats": arguments.repeats,
        "tokens": plan["tokens"],
        "sources": arguments.sources,
        "parts": parts,
        "part_tokens": arguments.part_tokens,
        "window": arguments.window,
        "batch": arguments.batch,
        "steps": plan["steps"],
        "manifest_bytes": sum(path.stat().st_size for path in folder.glob("*/source.json")),
        "plan_bytes": (folder / PLAN).stat().st_size,
        "state_bytes": len(json.dumps({"step": steps["deep_step"], "plan_hash": plan["hash"]})),
        "freeze": {key: plan[key] for key in ("seconds", "peak_growth_bytes")},
        **{
            name: {
                "step": steps[name],
                **{key: one_core.spread([run[key] for run in runs[name]]) for key in names},
            }
            for name in steps
        },
    }


def linked_sources(folder: Path, arguments: argparse.Namespace) -> int:
    """Sources whose parts are all one file; returns how many parts there are."""
    from token_data import prepare

    from tokenizer.shards.manifest import MANIFEST_NAME

    data = prepare(
        folder,
        arguments.texts,
        arguments.part_tokens,
        names=("part",),
        part_tokens=2 * arguments.part_tokens,
    )
    real, (source,) = data.folders["part"], data.sources.values()
    (record,) = source.manifest.parts
    beside = [path for path in real.iterdir() if path.name.startswith(Path(record.file).stem)]
    names = [f"source-{number:02d}" for number in range(arguments.sources)]
    counts = [
        max(1, -(-int(weight * arguments.tokens) // record.tokens))
        for weight in weights(names).values()
    ]
    if sum(counts) > LINKS:
        raise SystemExit(
            f"{sum(counts)} parts are more names than a file may have: take larger --part-tokens"
        )
    for name, count in zip(names, counts, strict=True):
        (folder / name).mkdir()
        records = []
        for number in range(count):
            stem = f"part-{number:05d}"
            for path in beside:
                os.link(path, folder / name / path.name.replace(Path(record.file).stem, stem, 1))
            records.append(
                record.model_copy(
                    update={"file": stem + Path(record.file).suffix, "append": number}
                )
            )
        manifest = source.manifest.model_copy(update={"source": name, "parts": ()}).with_parts(
            records
        )
        (folder / name / MANIFEST_NAME).write_bytes(manifest.to_json())
    (folder / FOLDERS).write_text(json.dumps({name: str(folder / name) for name in names}))
    return sum(counts)


def weights(names: list[str]) -> dict[str, float]:
    """Shares that fall as one over the square root of the rank."""
    shares = [(rank + 1) ** -0.5 for rank in range(len(names))]
    return {name: share / sum(shares) for name, share in zip(names, shares, strict=True)}


def frozen(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Freeze the plan and write it."""
    from mixtures.freeze.freeze import freeze
    from mixtures.spec.spec import MixtureSpec
    from tokenizer.shards.reader import open_source

    folders = json.loads((folder / FOLDERS).read_text())
    before, clock = forget_peak(), time.perf_counter()
    spec = MixtureSpec(
        phases=[  # type: ignore[arg-type]
            {"name": "stable", "tokens": int(arguments.tokens), "weights": weights(list(folders))}
        ]
    )
    sources = {name: open_source(path) for name, path in folders.items()}
    plan = freeze(
        spec,
        sources,
        sequence_length=arguments.window,
        batch_tokens=arguments.window * arguments.batch,
        seed=1,
    )
    (folder / PLAN).write_bytes(plan.to_json())
    taken = time.perf_counter() - clock
    return {
        "seconds": taken,
        "peak_growth_bytes": peak() - before,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "hash": plan.hash,
    }


def one_start(folder: Path, step: int) -> dict[str, float]:
    """Seconds and bytes from the plan's file to a batch, in this process."""
    importing = time.perf_counter()
    from artifacts.jit import start
    from mixtures.inspect.trace import Tracer
    from mixtures.loader.loader import Loader
    from mixtures.order.sound_plan import load_plan

    start()  # numba's own machinery, loaded with the first kernel of a process
    folders = json.loads((folder / FOLDERS).read_text())
    before, anonymous, clock = forget_peak(), status("RssAnon"), time.perf_counter()
    plan = load_plan(folder / PLAN)
    read = time.perf_counter()
    loader = Loader(plan, folders)
    opened = time.perf_counter()
    loader.batch(step)
    made = time.perf_counter()
    grown = status("RssAnon") - anonymous
    loader.batch(step + 1)
    again = time.perf_counter()
    tracer = Tracer(plan, folders)
    spans = tracer.step(step)
    traced = time.perf_counter()
    tracer.document(tracer.streams[0].batch(0, 3).record.column("id")[7].as_py().hex())
    found = time.perf_counter()
    return {
        "seconds_importing": clock - importing,
        "seconds_to_first_batch": made - clock,
        "seconds_reading_plan": read - clock,
        "seconds_opening": opened - read,
        "seconds_of_first_batch": made - opened,
        "seconds_of_next_batch": again - made,
        "seconds_tracing_a_step": traced - again,
        "seconds_tracing_a_document": found - traced,
        "documents_of_the_step": len(spans),
        "peak_growth_bytes": peak() - before,
        "memory_growth_bytes": grown,
        "processor_seconds_of_process": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
    }


def forget_peak() -> int:
    """Start the peak anew; returns the resident size now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak() -> int:
    return status("VmHWM")


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"this system does not tell {name}; run on Linux")


if __name__ == "__main__":
    main()
