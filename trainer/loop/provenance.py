"""What computed a step: a digest of its source, and versions of the software. Every checkpoint
carries both.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import numpy as np
import torch
import xxhash

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = (".py", ".cu")


@functools.cache
def source_digest() -> str:
    """xxh3_128 over the source of what computes a step: the trainer and the loader, 32 hex
    digits.
    """
    digest = xxhash.xxh3_128()
    for folder in ("mixtures", "trainer"):
        for path in sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in SOURCES):
            digest.update(f"{path.relative_to(ROOT).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def software(device: torch.device) -> dict[str, str]:
    """Versions behind the bits; on a GPU also which one, and CUDA's."""
    gpu = (
        {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
        if device.type == "cuda"
        else {}
    )
    return {
        **gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """The model of this machine's processor, as the system names it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
