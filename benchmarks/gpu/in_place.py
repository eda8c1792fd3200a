"""Kernels that write into their arguments, timed: the optimizer's, the gradient of the embedding,
the rows of the loss.

A case is the runs by name, ours first, what one costs, and what puts back what a run overwrites.
torch's fused AdamW writes no bf16 copies, 2 bytes per parameter less than ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.operations import Draw
from benchmarks.gpu.session import Session
from benchmarks.gpu.shapes import Shape
from trainer.costs import kernel_costs as costs
from trainer.costs.kernel_costs import LOGIT_ROWS, Cost
from trainer.kernels.cross_entropy_rows import launch_cross_entropy_rows, torch_cross_entropy_rows
from trainer.kernels.cuda_rows import launch_cuda_rows
from trainer.kernels.embedding import add_token_gradients_
from trainer.model import Model, parameter_groups
from trainer.optimizer.adamw import AdamW

Case = tuple[dict[str, Callable[[], Any]], Cost, Callable[[], Any] | None]
# of the model whose tensors are updated: the bandwidth is that of all, the memory is not
LAYERS = 8


def _parameters(session: Session, shape: Shape) -> tuple[Model, AdamW]:
    """A shallower model with fp32 gradients, and its optimizer."""
    config = dataclasses.replace(shape.config, layers=min(LAYERS, shape.config.layers))
    with session.device:
        model = Model(config)
    optimizer = AdamW(parameter_groups(model, config, 0.01, 0.1), compute=torch.bfloat16)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, device=session.device)
    return model, optimizer


def _count(model: Model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def adamw(session: Session, shape: Shape) -> Case:
    model, optimizer = _parameters(session, shape)
    masters = [torch.nn.Parameter(parameter.detach().float()) for parameter in model.parameters()]
    for master, parameter in zip(masters, model.parameters(), strict=True):
        master.grad = parameter.grad
    torchs = torch.optim.AdamW(masters, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    return (
        {"ours": partial(optimizer.step, 1e-5), "torch, fused": torchs.step},
        costs.adamw(_count(model), copies=True),
        None,
    )


def gradient_norm(session: Session, shape: Shape) -> Case:
    model, optimizer = _parameters(session, shape)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    runs = {
        "ours": partial(optimizer.clip, 1.0),
        "torch": partial(torch.nn.utils.get_total_norm, gradients, foreach=True),
    }
    return runs, costs.gradient_norm(_count(model)), None


def token_gradients(session: Session, shape: Shape) -> Case:
    draw = Draw(session.device, torch.bfloat16)
    gradient = torch.zeros(shape.config.padded_vocab, shape.config.width, device=session.device)
    tokens, dy = (
        draw.integers(shape.config.vocab_size, shape.tokens),
        draw(shape.tokens, shape.config.width),
    )
    runs = {
        "ours": partial(add_token_gradients_, gradient, tokens, dy, 12.0),
        "torch, index_add": lambda: gradient.index_add_(0, tokens, dy.float(), alpha=12.0),
    }
    return runs, costs.embedding_backward(shape.tokens, shape.config.width), None


def loss_rows(session: Session, shape: Shape) -> Case:
    """Rows of logits, which turn into their gradient and are put back before the next call."""
    draw, rows = Draw(session.device, torch.bfloat16), min(LOGIT_ROWS, shape.tokens)
    targets, weights = draw.integers(shape.config.vocab_size, rows), draw.weights(rows)
    drawn = draw(rows, shape.config.padded_vocab)
    logits = drawn.clone()
    rest = (targets, weights, shape.config.vocab_size, 1.0, 0.0, True)

    def wide() -> tuple[Tensor, Tensor]:
        return torch_cross_entropy_rows(logits.float(), *rest)

    # the reference is what a CPU runs
    runs: dict[str, Callable[[], Any]] = {"ours" if not session.cuda else "torch": wide}
    if session.cuda:
        triton, cuda = (
            partial(launch_cross_entropy_rows, logits, *rest),
            partial(launch_cuda_rows, logits, *rest),
        )
        runs = {"ours": triton, "ours, CUDA C++": cuda, **runs}
    return (
        runs,
        costs.cross_entropy_rows(rows, shape.config.padded_vocab),
        partial(logits.copy_, drawn),
    )


CASES: dict[str, Callable[[Session, Shape], Case]] = {
    "adamw": adamw,
    "gradient_norm": gradient_norm,
    "token_gradients": token_gradients,
    "cross_entropy_rows": loss_rows,
}
