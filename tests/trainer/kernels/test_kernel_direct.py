"""Without a gradient the torch code is called as it is, and gives the bits of the op."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.kernels.embedding import embedding
from trainer.kernels.residual_norm import residual_norm
from trainer.kernels.rms_norm import rms_norm
from trainer.kernels.rope import rotated_qkv
from trainer.kernels.swiglu import swiglu, swiglu_linear


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def turned(qkv: Tensor) -> tuple[Tensor, ...]:
    angle = drawn(2, 7, 1, 8)
    return rotated_qkv(qkv.clone(), angle.cos(), angle.sin(), 4, 2)


CALLS: dict[str, tuple[Tensor, Callable[[Tensor], Tensor | tuple[Tensor, ...]]]] = {
    "rms_norm": (drawn(2, 7, 32), lambda x: rms_norm(x, drawn(32), 1e-5)),
    "residual_norm": (
        drawn(2, 7, 32),
        lambda x: residual_norm(drawn(2, 7, 32).sin(), x, drawn(32), 0.3, 1e-5),
    ),
    "rope": (drawn(2, 7, 8, 16), turned),
    "swiglu": (drawn(2, 7, 64), swiglu),
    "swiglu_linear": (drawn(2, 7, 64), lambda x: swiglu_linear(x, drawn(24, 32))),
    "embedding": (drawn(9, 32), lambda table: embedding(torch.tensor([[3, 0, 3]]), table, 12.0)),
}


class Calls(TorchDispatchMode):
    """Counts ops of this house."""

    ours = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.ours += "windtunnel" in str(op)
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CALLS)
def test_the_bits_are_those_of_the_op(name: str) -> None:
    x, call = CALLS[name]
    with Calls() as with_gradient:
        expected = call(x.clone().requires_grad_())
    with torch.inference_mode():
        found = call(x)
    with torch.no_grad(), Calls() as without:
        again = call(x)
    assert with_gradient.ours > 0 == without.ours
    results = [one if isinstance(one, tuple) else (one,) for one in (expected, found, again)]
    for parts in zip(*results, strict=True):
        assert all(torch.equal(part, parts[0]) for part in parts)
