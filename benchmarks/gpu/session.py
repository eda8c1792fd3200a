"""What every measurement here shares: which device, how large, where the result goes, and on what
it was measured.

    session = begin(__doc__)            # reads --device, --tiny, --output
    record = Record(session, "kernels")
    record["rms_norm"] = …              # written at once: what was measured
                                        # stays when the rest fails
    record.done()

A result says on which device and day it was measured, and whether at toy sizes. Those of a CPU or
of ``--tiny`` show that the code runs; they go to runs/ unless told otherwise and no page is made of
them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
TRIALS = Path("runs") / "benchmarks" / "gpu"
PACKAGES = ("torch", "triton", "numpy", "liger-kernel", "quack-kernels")
CLOCKS = (
    "clocks.sm",
    "clocks.mem",
    "temperature.gpu",
    "power.draw",
    "clocks_throttle_reasons.active",
)


@dataclass(frozen=True)
class Session:
    """A device, toy sizes or real ones, and the folder results go to."""

    device: torch.device
    tiny: bool
    output: Path
    options: argparse.Namespace

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.device)


def begin(
    description: str | None,
    extra: Sequence[tuple[str, dict[str, Any]]] = (),
    arguments: Sequence[str] | None = None,
) -> Session:
    """A session from the command line; ``extra`` are further options as (name, keywords of
    ``add_argument``).
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that it runs")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the result; default: results/, or runs/benchmarks/gpu for a CPU or --tiny",
    )
    for name, keywords in extra:
        parser.add_argument(name, **keywords)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --device cpu --tiny shows that the code runs")
    if options.device == "cpu" and not options.tiny:
        parser.error("real sizes take hours on a CPU: add --tiny")
    output = options.output or (TRIALS if options.tiny else RESULTS)
    # read once, at the first product; without it determinism is an error
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(0)
    return Session(torch.device(options.device), options.tiny, output, options)


class Record(dict[str, Any]):
    """A result that lies on disk after each entry, marked as partial until it is done."""

    def __init__(self, session: Session, name: str) -> None:
        today = datetime.date.today().isoformat()
        super().__init__(
            benchmark=name,
            partial=True,
            tiny=session.tiny,
            measured=today,
            machine=machine(session),
        )
        self.path = session.output / f"{name}.json"

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(self, indent=2) + "\n", encoding="utf-8")
        os.replace(draft, self.path)

    def done(self) -> None:
        """All of it was measured."""
        self["partial"] = False
        print(self.path)


def machine(session: Session) -> dict[str, Any]:
    """The device, its driver and clocks, and versions."""
    found: dict[str, Any] = {
        "device": session.device.type,
        "python": platform.python_version(),
        "packages": versions(),
    }
    if session.cuda:
        facts = torch.cuda.get_device_properties(session.device)
        found |= {
            "name": facts.name,
            "memory_bytes": facts.total_memory,
            "multiprocessors": facts.multi_processor_count,
        }
        found |= {"cuda": torch.version.cuda, "clocks": clocks()}
    else:
        found |= {
            "name": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "numpy": np.__version__,
        }
    return found


def versions() -> dict[str, str]:
    """Of the packages that are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def clocks() -> dict[str, str]:
    """What nvidia-smi says now: clocks in MHz, temperature, power, and a bit mask of what holds the
    clocks down.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return {"unknown": str(error)}
    return dict(
        zip(
            CLOCKS,
            (value.strip() for value in done.stdout.splitlines()[0].split(",")),
            strict=False,
        )
    )
