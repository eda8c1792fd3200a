"""Write a checkpoint as a folder that other programs load.

    done = export_model("runs/quickstart/training/…/checkpoints/step-00000190", "model")
    print(done.folder, done.logits.largest_difference)

The folder appears whole or not at all: it is written beside its place, read back and compared with
the model, and renamed. Its bytes depend on the checkpoint and the settings alone.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import Place, UserError
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.files import huggingface_files
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, load
from trainer.checkpoints.recorded import model_config, trained_window
from trainer.checkpoints.weights import check_finite, filled_model
from trainer.export.appearing import appearing
from trainer.export.card import CARD, Story, Written, model_card
from trainer.export.check import LogitCheck, check_logits, check_rounded, drawn_logits
from trainer.export.config_json import CONFIG, GENERATION, config_json, generation_json
from trainer.export.ids import id_check
from trainer.export.layouts import Layout, layout_named
from trainer.export.names import inward, outward
from trainer.export.rope import longest
from trainer.export.tensor_files import DTYPES, PART_BYTES, save_tensors, write_tensors
from trainer.model import Model
from trainer.shapes.config import ModelConfig

MOMENTS = "moments/moments.safetensors"
"""Below the folder: vLLM reads every safetensors file that lies beside the weights."""


@dataclass(frozen=True)
class ExportSettings:
    """How a model is written. ``layout`` and ``dtype`` by name. ``untie``: a head of its own also
    where it is the embedding. ``context``: the longest text it is meant for, in tokens; default the
    longest window it was trained on. ``moments``: the optimizer's too, so that an import trains on
    as the checkpoint does. ``part_bytes``: of a file of weights, at most.
    """

    layout: str = "granite"
    dtype: str = "fp32"
    untie: bool = False
    context: int | None = None
    moments: bool = False
    part_bytes: int = PART_BYTES


@dataclass(frozen=True)
class ExportedModel:
    """What was written: file names in ``folder``, and how far its logits are from the model's."""

    folder: str
    files: tuple[str, ...]
    bytes: int
    logits: LogitCheck
    ids: str

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "files": list(self.files), "logits": self.logits.as_dict()}


def export_model(
    checkpoint: Checkpoint | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    settings: ExportSettings | None = None,
    story: Story | None = None,
) -> ExportedModel:
    """Write a checkpoint into a folder that is not there yet.

    ``story``: what else the card says. Raises: UserError when the checkpoint is damaged, when the
    layout has no place for something of the model, when the folder holds something already, and
    when the files, read back, are not the model.
    """
    chosen = settings or ExportSettings()
    found = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
    config, layout = model_config(found), layout_named(chosen.layout)
    _check(chosen, layout, config, found)
    tied = config.tied and not chosen.untie
    context = chosen.context or trained_window(found)
    tokenizer = Tokenizer.load(found.read(TOKENIZER))
    with appearing(Path(folder)) as place:
        for name, content in huggingface_files(tokenizer, longest(config, context)).items():
            (place / name).write_bytes(content)
        (place / CONFIG).write_bytes(
            config_json(
                config, layout, tokenizer, context=context, dtype=_torch_name(chosen), tied=tied
            )
        )
        (place / GENERATION).write_bytes(generation_json(tokenizer))
        weights = found.weights()
        check_finite(weights, found.folder)
        tensors = partial(_tensors, config, weights, layout, tied, DTYPES[chosen.dtype])
        write_tensors(place, tensors(), chosen.part_bytes)
        if chosen.moments:
            _write_moments(found, place)
        exact = drawn_logits(filled_model(config, weights, found.folder))
        rounded = chosen.dtype != "fp32"
        stored = (
            drawn_logits(_stored(config, weights, tensors(), layout, tied)) if rounded else exact
        )
        logits = check_logits(place, exact, stored)
        ids = id_check(tokenizer, place)
        written = Written(config, layout, chosen.dtype, tied, context, logits, ids)
        told = story or Story(Path(folder).resolve().name)
        (place / CARD).write_text(model_card(written, found.state, told), encoding="utf-8")
        files = sorted(path for path in place.rglob("*") if path.is_file())
        names = tuple(str(path.relative_to(place)) for path in files)
        size = sum(path.stat().st_size for path in files)
    return ExportedModel(os.fspath(folder), names, size, logits, ids)


def _check(
    chosen: ExportSettings, layout: Layout, config: ModelConfig, checkpoint: Checkpoint
) -> None:
    """Raises: UserError for settings that name nothing or do not go together."""
    if chosen.dtype not in DTYPES:
        raise UserError(
            "no such type of weights", parameter="dtype", found=chosen.dtype, allowed=DTYPES
        )
    for name, value in (("context", chosen.context), ("part_bytes", chosen.part_bytes)):
        if value is not None and value < 1:
            raise UserError(
                "not a size", parameter=name, found=value, fix="give a number of at least 1"
            )
    if chosen.moments and layout.folded:
        raise UserError(
            "moments belong to weights that are not folded",
            parameter="moments",
            found=layout.name,
            fix="export to granite or minicpm, or leave the moments out",
        )
    if chosen.moments and checkpoint.state.imported is not None and not checkpoint.state.optimizer:
        raise UserError(
            "the checkpoint has no moments: it was imported without",
            file=checkpoint.folder,
            parameter="moments",
            fix="leave the moments out",
        )
    try:
        layout.check(config)
    except UserError as error:
        raise error.relocated(lambda address: Place(address, file=checkpoint.folder)) from None


def _tensors(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    layout: Layout,
    tied: bool,
    dtype: torch.dtype,
) -> Iterator[tuple[str, Tensor]]:
    """Tensors as they are stored: folded in fp32, then rounded."""
    for name, tensor in outward(config, weights, layout.factors(config, tied), tied):
        yield name, tensor.to(dtype)


def _stored(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tensors: Iterable[tuple[str, Tensor]],
    layout: Layout,
    tied: bool,
) -> Model:
    """The model that the stored tensors are, unfolded. Raises: UserError where they are more than
    rounded ``weights``.
    """
    shape = dataclasses.replace(config, tied=tied)
    read = inward(shape, dict(tensors), layout.factors(config, tied).inverse())
    check_rounded(read, weights)
    return filled_model(shape, read, "the export")


def _write_moments(checkpoint: Checkpoint, place: Path) -> None:
    counted = checkpoint.state.counted
    facts = {"updates": str(counted.updates), "rule": str(counted.rule)}
    (place / MOMENTS).parent.mkdir()
    save_tensors(checkpoint.moments(), place / MOMENTS, facts)


def _torch_name(chosen: ExportSettings) -> str:
    return str(DTYPES[chosen.dtype]).removeprefix("torch.")
