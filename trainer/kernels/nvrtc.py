"""CUDA C++ to machine code at run time, by NVIDIA's compiler library: no nvcc, and no GPU to
compile.

    cubin = compile_cuda(source, "cross_entropy_rows.cu", "sm_90a", {"THREADS": 512})

NVRTC comes with the CUDA builds of torch, or as the package ``nvidia-cuda-nvrtc``.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path


class CompileError(RuntimeError):
    """What the compiler said, with the name of the source."""


class NoCompilerError(RuntimeError):
    """NVRTC is not installed."""


@functools.cache
def library() -> ctypes.CDLL:
    """NVRTC. Raises: NoCompilerError."""
    for name in [*_in_packages(), "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue  # the next place
        found.nvrtcGetErrorString.restype = ctypes.c_char_p
        return found
    raise NoCompilerError(
        "NVRTC was not found: pip install nvidia-cuda-nvrtc, or a CUDA build of torch"
    )


def _in_packages() -> list[str]:
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [path for folder in folders for path in Path(folder).glob("*/lib/libnvrtc.so.*")]
    return [str(path) for path in sorted(found, reverse=True)]


def version() -> tuple[int, int]:
    """Major and minor version of NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile_cuda(
    source: str,
    name: str,
    architecture: str,
    macros: Mapping[str, int | str],
    options: tuple[str, ...] = (),
) -> bytes:
    """Machine code (cubin) of ``source`` for an ``architecture`` such as ``sm_90a``.

    ``name`` stands in messages. Raises: CompileError with the compiler's log, NoCompilerError.
    """
    nvrtc = library()
    program = ctypes.c_void_p()
    words = [
        f"--gpu-architecture={architecture}",
        "--std=c++17",
        *options,
        *(f"-D{key}={value}" for key, value in macros.items()),
    ]
    _check(
        nvrtc,
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), name.encode(), 0, None, None
        ),
    )
    try:
        listed = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        failed = nvrtc.nvrtcCompileProgram(program, len(words), listed)
        if failed:
            log = (
                _bytes(nvrtc, program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")
                .rstrip(b"\0")
                .decode(errors="replace")
            )
            raise CompileError(f"{name} does not compile for {architecture}:\n{log}")
        return _bytes(nvrtc, program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, ask_size: str, ask: str) -> bytes:
    size = ctypes.c_size_t()
    _check(nvrtc, getattr(nvrtc, ask_size)(program, ctypes.byref(size)))
    room = ctypes.create_string_buffer(size.value)
    _check(nvrtc, getattr(nvrtc, ask)(program, room))
    return room.raw


def _check(nvrtc: ctypes.CDLL, code: int) -> None:
    if code:
        raise CompileError(f"NVRTC: {nvrtc.nvrtcGetErrorString(code).decode()}")
