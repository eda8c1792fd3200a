"""How rows of any width are laid on blocks, whose sizes are powers of two, and programs on
multiprocessors.
"""

from __future__ import annotations

import functools

import torch


def next_power_of_two(count: int) -> int:
    """The smallest power of two that is at least ``count``."""
    return 1 << max(0, count - 1).bit_length()


def two_blocks(width: int) -> tuple[int, int]:
    """A row as a block of the largest power of two in it and one for the rest: 2304 = 2048 + 256,
    1536 = 1024 + 512.

    The second block is rounded up to a power of two and masked; it is at least 8 wide, one 16-byte
    access in bf16. A row that is a power of two is cut in halves.
    """
    first = next_power_of_two(width) // 2 if width > 1 else 1
    return first, max(8, next_power_of_two(width - first))


@functools.cache
def _multiprocessors(index: int) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count


def multiprocessors(device: torch.device) -> int:
    """Streaming multiprocessors of a GPU; 4 for a CPU, where kernels only run in the
    interpreter.
    """
    if device.type != "cuda":
        return 4
    return _multiprocessors(torch.cuda.current_device() if device.index is None else device.index)
