"""The optimizer's moments in a checkpoint."""

from __future__ import annotations

import torch

from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.weights import fitting_weights
from trainer.optimizer.adamw import AdamW

FIRST, SECOND = "mean.", "square."


def moment_tensors(optimizer: AdamW) -> dict[str, torch.Tensor]:
    """The optimizer's moments under the names of a checkpoint."""
    found = {}
    for name, (first, second) in optimizer.moments().items():
        found[FIRST + name] = first
        found[SECOND + name] = second
    return found


def restore(checkpoint: Checkpoint, optimizer: AdamW) -> None:
    """Put weights and moments back, into masters and model.

    Raises: UserError when any file is damaged, those not read here too, or belongs to another
    model.
    """
    checkpoint.check()
    optimizer.load(fitting_weights(checkpoint, optimizer.named))
    moments = checkpoint.moments()
    names = {name.removeprefix(FIRST) for name in moments if name.startswith(FIRST)}
    pairs = {
        name: (moments[FIRST + name], moments[SECOND + name])
        for name in names
        if SECOND + name in moments
    }
    optimizer.restore(pairs, checkpoint.state.counted)
