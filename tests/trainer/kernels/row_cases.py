"""Rows of logits with their targets and weights, and what is true of them in fp64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tests.trainer.kernels.judge import draw


@dataclass(frozen=True)
class Case:
    """``logits`` (C, P) of which ``vocab`` columns count, ``targets`` (C,), ``weights`` (C,)."""

    logits: Tensor
    targets: Tensor
    weights: Tensor
    vocab: int
    scale: float = 1.0
    zeta: float = 0.0

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, int, float, float, bool]:
        """What a row kernel takes; the logits a copy, since they are overwritten."""
        return (
            self.logits.clone(),
            self.targets,
            self.weights,
            self.vocab,
            self.scale,
            self.zeta,
            True,
        )

    def truth(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
        """nll (C,), logsumexp (C,) and the gradient of the weighted sum (C, P), by torch's
        autograd.
        """
        logits = self.logits.to(dtype, copy=True).requires_grad_()
        counted = (self.targets >= 0) & (self.targets < self.vocab)
        z = logits[:, : self.vocab] * self.scale
        lse = torch.logsumexp(z, 1)
        nll = lse - z.gather(1, torch.where(counted, self.targets, 0)[:, None])[:, 0]
        each = torch.where(counted, self.weights.to(dtype) * (nll + self.zeta * lse.square()), 0.0)
        each.sum().backward()
        zero = torch.zeros((), dtype=dtype)
        return (
            torch.where(counted, nll, zero).detach(),
            torch.where(counted, lse, zero).detach(),
            logits.grad,
        )


def case(
    rows: int,
    vocab: int,
    width: int,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    spread: float = 3.0,
    offset: float = 0.0,
    scale: float = 1.0,
    zeta: float = 0.0,
) -> Case:
    """Random rows; padding columns hold large values that must not show."""
    logits = draw(rows, width, seed=seed, scale=spread) + offset
    logits[:, vocab:] = 50.0
    generator = torch.Generator().manual_seed(seed + 1)
    targets = torch.randint(0, vocab, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)
    return Case(logits.to(dtype), targets, weights, vocab, scale, zeta)


def sure(width: int, vocab: int, margin: float, dtype: torch.dtype = torch.float32) -> Case:
    """A row whose target stands ``margin`` above all others."""
    logits = torch.zeros(1, width)
    logits[0, 3] = margin
    return Case(logits.to(dtype), torch.tensor([3]), torch.ones(1), vocab)
