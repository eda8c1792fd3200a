"""What a kernel compiles to for a GPU that need not be here: registers, local memory, width of its
memory accesses.

    python -m trainer.kernels.compiled    # every kernel at the shapes of the 1.2B and 2.4B
                                          # presets, for sm_90

Triton compiles for a target without a device; the wheel's own ``cuobjdump`` reads the result. A
kernel that spills registers shows local memory; one whose accesses are not merged shows loads
narrower than 16 bytes.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer.kernels.language import triton
from trainer.shapes.config import VOCABULARY_MULTIPLE

HOPPER = 90
MODULES: tuple[str, ...] = (
    "rms_norm",
    "residual_norm",
    "rope",
    "swiglu",
    "cross_entropy_rows",
    "adamw",
    "gradient_norm",
    "embedding",
    "float8",
)
"""Kernel files that say, in a function ``variants``, what they launch at a width."""
SHAPES = {
    "2.4B": {"width": 2304, "ff": 5760, "heads": 36, "kv_heads": 36},
    "1.2B": {"width": 1536, "ff": 3840, "heads": 24, "kv_heads": 8},
}
VOCABULARY = 122_753
_NAMES = {
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float32: "fp32",
    torch.int64: "i64",
    torch.int32: "i32",
}
_NAMES |= {torch.float8_e4m3fn: "fp8e4nv", torch.float8_e5m2: "fp8e5"}
_BYTES = {
    "b8": 1,
    "b16": 2,
    "b32": 4,
    "b64": 8,
    "u8": 1,
    "u16": 2,
    "u32": 4,
    "u64": 8,
    "s32": 4,
    "s64": 8,
    "f32": 4,
    "f64": 8,
    "b128": 16,
}


def padded(vocab_size: int) -> int:
    """Rows of a table of ``vocab_size`` pieces, as :class:`trainer.shapes.config.ModelConfig` pads
    it.
    """
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def pointer(dtype: torch.dtype) -> str:
    """Triton's name for a pointer to ``dtype``."""
    return f"*{_NAMES[dtype]}"


@dataclass(frozen=True)
class Variant:
    """One kernel as it is launched: ``types`` of its arguments, values of its ``constants``, warps
    of a program.

    Pointers are taken to be aligned to 16 bytes, as torch allocates. ``narrow`` is how many
    accesses of less than 16 bytes the source accounts for (one figure per row, say); any more would
    be a tensor read in bits and pieces.
    """

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    warps: int
    narrow: int = 0
    divisible: tuple[str, ...] = ()
    """Integer arguments that are multiples of 16 at this shape, as Triton finds out at a launch."""
    stages: int = 3
    programs: int = 2
    """How many programs are to fit on a multiprocessor's registers at once."""


@dataclass(frozen=True)
class Resources:
    """``registers`` of a thread, ``local`` and ``shared`` bytes, and global loads and stores in the
    code by their width in bytes.
    """

    kernel: str
    constants: dict[str, Any]
    warps: int
    registers: int
    local: int
    shared: int
    loads: dict[int, int] = field(default_factory=dict)
    stores: dict[int, int] = field(default_factory=dict)

    @property
    def narrow(self) -> int:
        """Accesses of less than 16 bytes."""
        return sum(
            count
            for widths in (self.loads, self.stores)
            for width, count in widths.items()
            if width < 16
        )


def resources(variant: Variant, capability: int = HOPPER) -> Resources:
    """Compile ``variant`` for a compute capability (90 is Hopper) and read what it takes. Needs
    Triton, no GPU.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = variant.kernel.arg_names
    types = {name: variant.types.get(name, "constexpr") for name in names}
    constants = {(names.index(name),): value for name, value in variant.constants.items()}
    aligned = [
        name
        for name, kind in variant.types.items()
        if kind.startswith("*") or name in variant.divisible
    ]
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(variant.kernel, types, constants, attributes)
    options = {"num_warps": variant.warps, "num_stages": variant.stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    usage = usage_of(compiled.asm["cubin"])
    loads, stores = (_accesses(compiled.asm["ptx"], kind) for kind in ("ld", "st"))
    return Resources(
        kernel=variant.kernel.__name__,
        constants=dict(variant.constants),
        warps=variant.warps,
        registers=usage["REG"],
        local=usage["LOCAL"] + usage["STACK"],
        shared=compiled.metadata.shared,
        loads=loads,
        stores=stores,
    )


def usage_of(cubin: bytes) -> dict[str, int]:
    """REG (per thread), STACK, SHARED and LOCAL (bytes) of the one kernel in a cubin, read by the
    wheel's ``cuobjdump``.
    """
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        told = subprocess.run(
            [tool, "-res-usage", path], capture_output=True, text=True, check=True
        ).stdout
    return {
        name: int(value) for name, value in re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", told)
    }


def _accesses(ptx: str, kind: str) -> dict[int, int]:
    """Global loads (``ld``) or stores (``st``) in PTX by bytes of one thread's access."""
    found: dict[int, int] = {}
    for words in re.findall(rf"\b{kind}\.global((?:[.:]+\w+)+)", ptx):
        parts = re.split(r"[.:]+", words)[1:]
        lanes = next((int(part[1:]) for part in parts if re.fullmatch(r"v\d", part)), 1)
        width = lanes * _BYTES[parts[-1]]
        found[width] = found.get(width, 0) + 1
    return found


def all_variants(preset: str) -> list[Variant]:
    """What every kernel launches at the shape of ``preset``."""
    shape = SHAPES[preset]
    found: list[Variant] = []
    for name in MODULES:
        module = importlib.import_module(f"trainer.kernels.{name}")
        found += module.variants(
            **{key: shape[key] for key in module.variants.__annotations__ if key in shape}
        )
    return found


def main() -> None:
    """Print one JSON line per kernel and shape."""
    os.environ.pop("TRITON_INTERPRET", None)
    for preset in SHAPES:
        for variant in all_variants(preset):
            found = resources(variant)
            allowed = {"narrow_allowed": variant.narrow, "programs": variant.programs}
            print(json.dumps({"preset": preset, **allowed, **asdict(found)}))


if __name__ == "__main__":
    if os.environ.get("TRITON_INTERPRET"):
        sys.exit(
            "TRITON_INTERPRET is set: kernels are interpreted and cannot be compiled; unset it"
        )
    main()
