"""Is a result as good as torch's own: at most three times as far from the truth, which is torch in
fp64 (QuACK's rule).

A little is added for where torch happens to be exact: a hundred-thousandth of the largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.operations import UPWARD, Operation, Tensors, outputs_of

TIMES, SLACK = 3.0, 1e-5


def results(
    run: Callable[..., Any],
    arguments: Tensors,
    leaves: Sequence[int],
    dtype: torch.dtype | None = None,
) -> list[Tensor]:
    """Outputs of ``run``, then its gradients at ``leaves`` under a gradient from above that is
    random and not 1.

    With ``dtype`` floating arguments are taken in it. Outputs that take no gradient are compared,
    not followed.
    """
    cast = [in_dtype(argument, dtype) for argument in arguments]
    for place in leaves:
        cast[place] = cast[place].detach().clone().requires_grad_()
    made = outputs_of(run(*cast))
    followed = [output for output in made if output.requires_grad]
    source = torch.Generator(made[0].device).manual_seed(9)
    above = [
        (torch.randn(output.shape, generator=source, device=output.device) * UPWARD).to(
            output.dtype
        )
        for output in followed
    ]
    gradients = torch.autograd.grad(followed, [cast[place] for place in leaves], above)
    return [*(output.detach() for output in made), *gradients]


def in_dtype(value: Any, dtype: torch.dtype | None) -> Any:
    """Floating tensors in ``dtype``, where one is given."""
    return (
        value.to(dtype)
        if dtype and isinstance(value, Tensor) and value.is_floating_point()
        else value
    )


def errors(
    found: Sequence[Tensor], torchs: Sequence[Tensor], exact: Sequence[Tensor]
) -> list[dict[str, Any]]:
    """For each result: its largest error, what it may be, and whether it is that good. A value that
    is not finite is not.
    """
    judged = []
    for ours, plain, truth in zip(found, torchs, exact, strict=True):
        truth = truth.double()
        own, allowed = (
            float((ours.double() - truth).abs().max()),
            float((plain.double() - truth).abs().max()),
        )
        allowed = TIMES * allowed + SLACK * float(truth.abs().max())
        judged.append({"ok": own <= allowed, "error": own, "allowed": allowed})
    return judged


def judge(operation: Operation, arguments: Tensors) -> list[dict[str, Any]]:
    """Ours against plain torch in the dtype of ``arguments``, both against plain torch in fp64."""
    exact = results(operation.plain, arguments, operation.leaves, torch.float64)
    plain = results(operation.plain, arguments, operation.leaves)
    return errors(results(operation.ours, arguments, operation.leaves), plain, exact)


def same_bits(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for a, b in zip(first, second, strict=True)
    )
