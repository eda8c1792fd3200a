"""AdamW on fp32 masters, of which the model holds bf16 copies, in one kernel a step and without
waiting for the device.

The masters are what a checkpoint stores and what decay and moments act on; the copies are what the
model computes with. A gradient is kept in fp32 where torch can (``Tensor.grad_dtype``): a
micro-batch's share is rounded to bf16 by the product that makes it, the sum over micro-batches is
not. A model that computes in fp32 is its own master.

Rate, coefficient of clipping, skip flag and the number of updates are scalars on the device:
clipping and stepping only enqueue, and whether a step was skipped is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.kernels.adamw import adamw_
from trainer.kernels.gradient_norm import gradient_norm
from trainer.kernels.tensor_table import ALIGNMENT, TensorTable
from trainer.model.parameterisation import ParameterGroup
from trainer.optimizer.rule import UpdateCount


class MasterUpdate:
    """Masters, moments and scalars of some groups. ``compute``: bf16 turns their parameters into
    copies; else they are the masters.

    Raises: ValueError for parameters that are not fp32 and contiguous.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        betas: tuple[float, float],
        eps: float,
        compute: torch.dtype | None,
    ) -> None:
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        odd = [parameter.dtype for parameter in self.parameters if parameter.dtype != torch.float32]
        if odd:
            raise ValueError(f"masters are made of fp32 parameters, not {odd[0]}")
        self.betas, self.eps = betas, eps
        self._masters = [parameter.detach() for parameter in self.parameters]
        self._firsts, self._seconds = (
            [torch.zeros_like(master) for master in self._masters] for _ in range(2)
        )
        self._copies: list[Tensor] = []
        if compute == torch.bfloat16:
            self._copies = [master.to(torch.bfloat16) for master in self._masters]
            for parameter, copy in zip(self.parameters, self._copies, strict=True):
                parameter.data = copy
                if hasattr(parameter, "grad_dtype"):
                    parameter.grad_dtype = torch.float32
        self._table = TensorTable(self._masters, self._firsts, self._seconds, self._copies)

        rules = [
            (group.lr_multiplier, group.weight_decay) for group in groups for _ in group.parameters
        ]
        device = self._table.device
        self._rules = torch.tensor(rules, dtype=torch.float32, device=device)
        self._powers = torch.tensor(betas, dtype=torch.float64, device=device)
        self._updates = torch.zeros((), dtype=torch.int64, device=device)
        self._counts_every_step = False
        self._rate = torch.zeros((), dtype=torch.float32, device=device)
        self._whole = torch.ones((), dtype=torch.float32, device=device)
        self._never = torch.zeros((), dtype=torch.int32, device=device)
        self._clipping = self._whole, self._never

    @property
    def updates(self) -> int:
        return int(self._updates)

    def clip(self, limit: float | None, loss: Tensor | None) -> Tensor:
        norm, coefficient, skip = gradient_norm(self._table, self._gradients(), limit)
        if loss is not None:
            skip = skip | (~torch.isfinite(loss)).int()
        self._clipping = coefficient, skip
        return norm

    @torch.no_grad()
    def step(self, rate: float) -> None:
        (coefficient, skip), self._clipping = self._clipping, (self._whole, self._never)
        gradients = self._gradients()
        if self._counts_every_step or any(gradient is not None for gradient in gradients):
            self._updates += 1 - skip
        corrections = (1 - self._powers**self._updates).float()
        self._rate.fill_(rate)
        adamw_(
            self._table,
            self._masters,
            gradients,
            self._firsts,
            self._seconds,
            self._copies,
            self._rules,
            [self._rate, coefficient, skip, corrections],
            betas=self.betas,
            eps=self.eps,
        )

    def masters(self) -> Sequence[Tensor]:
        return self._masters if self._copies else self.parameters

    def moments(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self._firsts, self._seconds, strict=True))

    def restore(self, moments: Sequence[tuple[Tensor, Tensor]], count: UpdateCount) -> None:
        for own, stored in zip(self.moments(), moments, strict=True):
            for tensor, value in zip(own, stored, strict=True):
                tensor.copy_(value)
        self._updates.fill_(count.updates)
        self._counts_every_step = count.counts_every_step

    def _gradients(self) -> list[Tensor | None]:
        """The gradients, each contiguous and aligned."""
        for parameter in self.parameters:
            gradient = parameter.grad
            if gradient is not None and (
                not gradient.is_contiguous() or gradient.data_ptr() % ALIGNMENT
            ):
                parameter.grad = gradient.clone(memory_format=torch.contiguous_format)
        return [parameter.grad for parameter in self.parameters]
