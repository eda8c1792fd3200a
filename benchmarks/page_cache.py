"""The page cache: forget files, and see what is left of them."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PAGE = mmap.PAGESIZE


def drop(files: Sequence[Path]) -> None:
    """Ask the system to forget the files' pages; dirty ones are written first, for they cannot be
    dropped.
    """
    for path in files:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def resident(files: Sequence[Path]) -> float:
    """Share of the files' pages that the page cache holds."""
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    held = pages = 0
    for path in files:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            bytes_of = np.frombuffer(view, np.uint8)
            states = np.zeros(-(-len(view) // PAGE), np.uint8)
            if mincore(bytes_of.ctypes.data, len(view), states.ctypes.data):
                raise OSError(ctypes.get_errno(), "mincore")
            held, pages = held + int((states & 1).sum()), pages + len(states)
            del bytes_of
    return held / pages
