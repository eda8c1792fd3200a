"""Weights by name: of a checkpoint, of a file, and whether they fit a model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file

from artifacts.errors import UserError
from trainer.checkpoints.checkpoint import Checkpoint, file_record
from trainer.checkpoints.paths import RESTORE
from trainer.checkpoints.recorded import model_config
from trainer.model import Model
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters


def read_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises: UserError when it cannot be read."""
    with _readable(path):
        return load_file(Path(path))


def file_checksum(path: str | os.PathLike[str]) -> str:
    """xxh3_128 of a file's bytes, 32 hex digits. Raises: UserError when it cannot be read."""
    with _readable(path):
        return file_record(Path(path)).checksum


def checksum(weights: Mapping[str, torch.Tensor]) -> str:
    """xxh3_128 over names, types, shapes and values, 32 hex digits."""
    digest = xxhash.xxh3_128()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_fitting(
    weights: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
    where: str,
    fix: str = "use the model settings of the run that wrote them",
) -> None:
    """Raises: UserError, which says ``where`` the weights are from, when their names or shapes are
    not those of ``own``.
    """
    odd = sorted(weights.keys() ^ own.keys()) or sorted(
        name for name, value in own.items() if weights[name].shape != value.shape
    )
    if odd:
        raise UserError(
            "the weights are of another model",
            file=where,
            field=odd[0],
            fix=fix,
        )


def check_finite(
    weights: Mapping[str, torch.Tensor],
    where: str,
    fix: str = "take the weights of an earlier checkpoint",
) -> None:
    """Raises: UserError, which says ``where`` the weights are from, when one is not finite."""
    for name in sorted(weights):
        finite = torch.isfinite(weights[name])
        if not bool(finite.all()):
            raise UserError(
                "weights that are not finite",
                file=where,
                field=name,
                found=f"{int((~finite).sum())} of {finite.numel()} values",
                fix=fix,
            )


def fitting_weights(
    checkpoint: Checkpoint, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint. Raises: UserError when the file is damaged or their names or
    shapes are not those of ``own``.
    """
    weights = checkpoint.weights()
    check_fitting(weights, own, checkpoint.folder)
    return weights


def fill(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy weights that fit into a model's parameters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def model_of(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Model:
    """The model of a checkpoint, weights and all, computing in ``dtype`` on ``device``. Raises:
    UserError when a file is damaged.
    """
    config, weights = model_config(checkpoint), checkpoint.weights()
    return filled_model(config, weights, checkpoint.folder).to(device, dtype)


def filled_model(config: ModelConfig, weights: Mapping[str, torch.Tensor], where: str) -> Model:
    """The model of a shape with weights, which errors say to be from ``where``, in fp32 on the CPU.
    Raises: UserError when they are not of that shape.
    """
    _check_size(config, weights, where)
    model = Model(config)
    check_fitting(weights, dict(model.named_parameters()), where)
    fill(model, weights)
    return model


def check_weights(config: ModelConfig, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Raises: UserError, which says ``where`` the weights are from, when they are not of a shape or
    not finite. Takes no memory for a model.
    """
    _check_size(config, weights, where)
    with torch.device("meta"):
        model = Model(config)
    check_fitting(weights, dict(model.named_parameters()), where)
    check_finite(weights, where)


def _check_size(config: ModelConfig, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Raises: UserError when a shape takes another number of values than there are, before a model
    of that shape takes memory.
    """
    asked = count_parameters(config).allocated
    found = sum(value.numel() for value in weights.values())
    if asked != found:
        raise UserError(
            "the recorded shape is not that of the weights",
            file=where,
            field="model",
            found=f"a shape of {asked:,} values",
            allowed=[f"{found:,} values, as the weights have"],
            fix=RESTORE,
        )


@contextlib.contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(
            "no readable weights here",
            file=Path(path),
            found=error,
            fix="name a safetensors file, such as the weights.safetensors of a checkpoint",
        ) from None
