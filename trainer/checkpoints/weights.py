"""Weights: the model a checkpoint holds, and weights alone as the start of another training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from artifacts.errors import UserError
from trainer.checkpoints.checkpoint import WEIGHTS, Checkpoint, file_record
from trainer.checkpoints.recorded import model_config
from trainer.model import Model, ModelConfig


@dataclass(frozen=True)
class Weights:
    """Weights without a past: a training that starts from them is at step 0 and has no moments.

    ``tensors`` by parameter name; ``where`` says in errors where they came from; ``parent`` is what
    checkpoints of that training record; ``model`` is the shape they belong to, None where it is not
    known.
    """

    tensors: Mapping[str, torch.Tensor]
    where: str
    parent: dict[str, Any]
    model: dict[str, Any] | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Weights:
        """Those of a checkpoint. Raises: UserError when the file is missing or damaged."""
        parent = {**parent_of(checkpoint), "weights_alone": True}
        model = model_config(checkpoint).as_dict()
        return cls(checkpoint.weights(), checkpoint.folder, parent, model)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Weights:
        """Those of a safetensors file. Raises: UserError when it cannot be read."""
        file = Path(path)
        try:
            tensors = load_file(file)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"not a safetensors file of weights: {error}",
                file=file,
                fix="name a file of weights, such as checkpoints/step-…/weights.safetensors",
            ) from None
        parent = {"weights": file_record(file).checksum, "weights_alone": True}
        return cls(tensors, str(file), parent)

    def fitting(
        self, own: Mapping[str, torch.Tensor], config: ModelConfig
    ) -> Mapping[str, torch.Tensor]:
        """The tensors. Raises: UserError when names, shapes or the known model are not those of
        ``own`` and ``config``.
        """
        check_names(self.tensors, own, self.where)
        found = config.as_dict() if self.model is None else self.model
        for name, value in config.as_dict().items():
            if found.get(name, value) != value:
                raise UserError(
                    "the weights are of another model",
                    file=self.where,
                    field=f"model.{name}",
                    found=value,
                    allowed=[found[name]],
                    fix="use the model settings of the run that wrote them",
                )
        return self.tensors


def parent_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the checkpoints of a training that started from this one record of it."""
    return {"step": checkpoint.state.step, "weights": checkpoint.state.files[WEIGHTS].checksum}


def check_names(
    weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], where: str
) -> None:
    """Raises: UserError when names or shapes are not those of ``own``."""
    odd = sorted(weights.keys() ^ own.keys()) or sorted(
        name for name, value in own.items() if weights[name].shape != value.shape
    )
    if odd:
        raise UserError(
            "the weights are of another model",
            file=where,
            field=odd[0],
            fix="use the model settings of the run that wrote them",
        )


def fitting_weights(
    checkpoint: Checkpoint, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint. Raises: UserError when the file is damaged or their names or
    shapes are not those of ``own``.
    """
    weights = checkpoint.weights()
    check_names(weights, own, checkpoint.folder)
    return weights


def model_of(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Model:
    """The model of a checkpoint, weights and all, computing in ``dtype`` on ``device``. Raises:
    UserError when a file is damaged.
    """
    model = Model(model_config(checkpoint))
    own = dict(model.named_parameters())
    weights = fitting_weights(checkpoint, own)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
    return model.to(device, dtype)
