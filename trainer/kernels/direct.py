"""Where the torch code of a kernel is called as it is, and not as an op.

An op of ``torch.library`` costs 6 to 50 us a call on a CPU beside what it does: nothing in a step
of training, a third of a forward pass of one token through a small model. The op's code for a CPU
is that same torch code, so the bits are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_direct(x: Tensor) -> bool:
    """Whether no gradient is kept of ``x``, it is on a CPU, and nothing is compiled."""
    return not torch.is_grad_enabled() and x.is_cpu and not torch.compiler.is_compiling()
