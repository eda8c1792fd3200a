"""Many tensors in one launch: a table of their addresses and a table of the blocks they are cut
into.

    table = TensorTable(masters, firsts, seconds, shadows)
    addresses, blocks = table.addresses(gradients), table.blocks(2048)

A program looks up its block (tensor, number) in one table and the tensor's addresses in the other;
so tensors of any size share a launch, and none is copied into a joint buffer.

``addresses``, (tensors, 8) int64: master, gradient, first and second moment, bf16 copy, elements, 1
where the gradient is bf16, 0. An address is 0 where there is no such tensor. ``blocks``, (B, 2)
int32: tensor, number of the block in it, all blocks of a tensor in a row. Both are made on the host
and copied without waiting for the device; blocks once, addresses when a gradient has moved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.kernels.transfer import to_device

COLUMNS = 8
MASTER, GRADIENT, FIRST, SECOND, SHADOW, ELEMENTS, HALF = range(7)
ALIGNMENT = 16
"""Bytes; an access of a thread is as wide."""


class TensorTable:
    """The tables of some tensors, which must stay where they are. ``moments`` and ``shadows`` are
    as many as ``masters`` or none.
    """

    def __init__(
        self,
        masters: Sequence[Tensor],
        firsts: Sequence[Tensor] = (),
        seconds: Sequence[Tensor] = (),
        shadows: Sequence[Tensor] = (),
    ) -> None:
        self.device = masters[0].device if masters else torch.device("cpu")
        self.elements = np.array([master.numel() for master in masters], np.int64)
        self.even = not (self.elements % ALIGNMENT).any()
        """Whether every tensor is whole accesses of any type, which lets kernels check bounds per
        access.
        """
        self._host = np.zeros((len(masters), COLUMNS), np.int64)
        self._host[:, ELEMENTS] = self.elements
        for column, tensors in (
            (MASTER, masters),
            (FIRST, firsts),
            (SECOND, seconds),
            (SHADOW, shadows),
        ):
            if tensors:
                self._host[:, column] = [_address(tensor) for tensor in tensors]
        self._blocks: dict[int, Tensor] = {}
        self._addresses: Tensor | None = None

    def addresses(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """The addresses with those of ``gradients``, each fp32, bf16 or None. Raises: ValueError
        for another type or layout.
        """
        pairs = [(0, 0) if one is None else (_address(one), _half(one)) for one in gradients]
        found = np.array(pairs, np.int64).reshape(len(pairs), 2)
        columns = self._host[:, [GRADIENT, HALF]]
        if self._addresses is None or not np.array_equal(found, columns):
            self._host[:, [GRADIENT, HALF]] = found
            self._addresses = to_device(torch.from_numpy(self._host.copy()), self.device)
        return self._addresses

    def blocks(self, size: int) -> Tensor:
        """The blocks of at most ``size`` elements."""
        if size not in self._blocks:
            self._blocks[size] = to_device(
                torch.from_numpy(blocks_of(self.elements, size)), self.device
            )
        return self._blocks[size]


def blocks_of(elements: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """(B, 2): tensor and number of every block of at most ``size`` elements, in order."""
    counts = -(-elements // size)
    tensors = np.repeat(np.arange(len(elements)), counts)
    numbers = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    return np.stack([tensors, numbers], 1).astype(np.int32)


def _address(tensor: Tensor) -> int:
    """Where a tensor begins; 0 for one without elements."""
    if not tensor.is_contiguous() or tensor.data_ptr() % ALIGNMENT:
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} is not contiguous and aligned to {ALIGNMENT} "
            "bytes: clone it"
        )
    return tensor.data_ptr() if tensor.numel() else 0


def _half(gradient: Tensor) -> int:
    if gradient.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"gradients are fp32 or bf16, not {gradient.dtype}")
    return int(gradient.dtype == torch.bfloat16)
