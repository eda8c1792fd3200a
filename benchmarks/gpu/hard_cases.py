"""What random values do not show: inputs at which kernels have been found wrong, and ways to catch
a wait for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.judging import SLACK, TIMES
from benchmarks.gpu.operations import OPERATIONS, Draw, Tensors
from benchmarks.gpu.session import Session
from benchmarks.gpu.shapes import Shape

COMMON = 60.0
SURE = 14.0
LARGE = {"rms_norm": 1_000_000, "swiglu": 200_000}
"""Rows of 2304 and of 2 x 5760 values that pass 2^31."""


def _loss_inputs(shape: Shape, draw: Draw) -> list[Any]:
    return list(
        next(one for one in OPERATIONS if one.name == "linear_cross_entropy").inputs(shape, draw)
    )


def sure(shape: Shape, draw: Draw) -> Tensors:
    """Every target's logit far above the rest, p near 1: its gradient is the small difference of
    two figures near 1.
    """
    hidden, head, targets, *rest = _loss_inputs(shape, draw)
    towards = head[targets].float()
    hidden = (towards * SURE / towards.square().sum(-1, keepdim=True)).to(hidden.dtype)
    return hidden, head, targets, *rest


def common_offset(shape: Shape, draw: Draw) -> Tensors:
    """The same large figure added to every logit, which must change nothing but z-loss."""
    hidden, head, *rest = _loss_inputs(shape, draw)
    hidden[:, 0], head[:, 0] = COMMON, 1.0
    return hidden, head, *rest


def few_weights(shape: Shape, draw: Draw) -> Tensors:
    """All weights 0 but those of the last tokens, as in a window of a prompt with a short
    answer.
    """
    *first, weights, vocab_size, scale, z_loss = _loss_inputs(shape, draw)
    weights[: -max(1, len(weights) // 50)] = 0.0
    return *first, weights, vocab_size, scale, z_loss


def no_weights(shape: Shape, draw: Draw) -> Tensors:
    """No target at all: loss and gradients are 0 and finite."""
    *first, weights, vocab_size, scale, z_loss = _loss_inputs(shape, draw)
    return *first, torch.zeros_like(weights), vocab_size, scale, z_loss


def ignored(shape: Shape, draw: Draw) -> Tensors:
    """Every third target is none, -100, whatever its weight."""
    hidden, head, targets, *rest = _loss_inputs(shape, draw)
    targets[::3] = -100
    return hidden, head, targets, *rest


def last_word(shape: Shape, draw: Draw) -> Tensors:
    """Targets at both ends of the vocabulary, next to its padding, without scale and z-loss."""
    hidden, head, targets, weights, vocab_size, *_ = _loss_inputs(shape, draw)
    head[vocab_size:] = 50.0  # padding that must not be seen
    ends = torch.where(
        torch.arange(len(targets), device=targets.device) % 2 == 0, vocab_size - 1, 0
    )
    return hidden, head, ends, weights, vocab_size, 1.0, 0.0


LOSSES = {
    "sure softmax": sure,
    "large common offset": common_offset,
    "few weights": few_weights,
    "ignored targets": ignored,
    "no weights": no_weights,
    "targets beside the padding": last_word,
}


def large_inputs(name: str, rows: int, draw: Draw) -> Tensors:
    """Arguments of ``name`` with so many rows, drawn part by part: no fp32 copy of the whole."""
    columns = {"rms_norm": 2304, "swiglu": 2 * 5760}[name]
    x = torch.empty(rows, columns, dtype=draw.dtype, device=draw.device)
    for part in x.split(65_536):
        part.copy_(draw(*part.shape))
    return (x, draw(columns), 1e-5) if name == "rms_norm" else (x,)


@contextlib.contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """While the block runs, the host waiting for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def adamw(session: Session) -> dict[str, Any]:
    """Five updates of the trainer's optimizer, clipped, against the formula in fp64 and torch's own
    in fp32.
    """
    from trainer.model.parameterisation import ParameterGroup
    from trainer.optimizer.adamw import AdamW

    draw = Draw(session.device, torch.float32, seed=3)
    start = [draw(33, 17), draw(129)]
    gradients = [[draw(*tensor.shape) for tensor in start] for _ in range(5)]
    runs: dict[str, list[Tensor]] = {}
    for name in ("ours", "again"):
        parameters = [nn.Parameter(tensor.clone()) for tensor in start]
        group = ParameterGroup("hidden", ("a", "b"), tuple(parameters), 0.5, 0.005, 0.1)
        optimizer = AdamW([group], betas=(0.9, 0.95), eps=1e-8)
        for each in gradients:
            for parameter, gradient in zip(parameters, each, strict=True):
                parameter.grad = gradient.clone()
            optimizer.clip(1.0)
            optimizer.step(0.01)
        runs[name] = [parameter.detach() for parameter in parameters]
    exact, plain = (_formula(start, gradients, dtype) for dtype in (torch.float64, torch.float32))
    error = max(
        float((a.double() - b).abs().max()) for a, b in zip(runs["ours"], exact, strict=True)
    )
    allowed = (
        TIMES * max(float((a.double() - b).abs().max()) for a, b in zip(plain, exact, strict=True))
        + SLACK
    )
    same = all(torch.equal(a, b) for a, b in zip(*runs.values(), strict=True))
    return {"ok": same and error <= allowed, "error": error, "allowed": allowed, "same_bits": same}


def _formula(
    start: list[Tensor], gradients: list[list[Tensor]], dtype: torch.dtype
) -> list[Tensor]:
    """torch's AdamW, not fused, at rate 0.005 with decay 0.1, gradients scaled to a joint norm of
    1.
    """
    parameters = [nn.Parameter(tensor.to(dtype)) for tensor in start]
    optimizer = torch.optim.AdamW(
        parameters, lr=0.005, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, foreach=False
    )
    for each in gradients:
        for parameter, gradient in zip(parameters, each, strict=True):
            parameter.grad = gradient.to(dtype)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]
