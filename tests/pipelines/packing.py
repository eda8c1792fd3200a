"""Compression as tests write it, by suffix: that of the benchmark of damaged files."""

from __future__ import annotations

from benchmarks.mutated_files import PACK, lz4

COMPRESS = {suffix.removeprefix("."): pack for suffix, pack in PACK.items() if suffix}

__all__ = ["COMPRESS", "lz4"]
