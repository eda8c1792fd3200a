"""The model a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from artifacts.errors import UserError
from trainer.checkpoints.checkpoint import Checkpoint
from trainer.model import Model, ModelConfig


def fitting_weights(
    checkpoint: Checkpoint, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint. Raises: UserError when the file is damaged or their names or
    shapes are not those of ``own``.
    """
    weights = checkpoint.weights()
    odd = sorted(weights.keys() ^ own.keys()) or sorted(
        name for name, value in own.items() if weights[name].shape != value.shape
    )
    if odd:
        raise UserError(
            "the weights are of another model",
            file=checkpoint.folder,
            field=odd[0],
            fix="use the model settings of the run that wrote them",
        )
    return weights


def model_of(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Model:
    """The model of a checkpoint, weights and all, computing in ``dtype`` on ``device``. Raises:
    UserError when a file is damaged.
    """
    model = Model(ModelConfig.from_dict(checkpoint.state.model))
    own = dict(model.named_parameters())
    weights = fitting_weights(checkpoint, own)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
    return model.to(device, dtype)
