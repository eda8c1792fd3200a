"""Who may look at whom: a token sees itself and earlier tokens of its own document, nothing else.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def document_mask(documents: Tensor | None) -> Tensor | None:
    """The mask (B, 1, T, T), True where attention is allowed; None where plain causal attention
    says the same.

    ``documents`` (B, T) holds a document number per token, equal numbers being neighbours of one
    document. None, or rows of one document each, need no mask; the rows are looked at on the CPU
    alone, since an answer from a device would hold up the step.
    """
    if documents is None or (
        documents.device.type == "cpu" and bool((documents == documents[:, :1]).all())
    ):
        return None
    tokens = documents.shape[1]
    same = documents[:, :, None] == documents[:, None, :]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=documents.device).tril()
    return (same & causal)[:, None]
