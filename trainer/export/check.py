"""Whether an export is the model it was made of: its files, read back, against the model's logits.

What is compared are texts of drawn ids, of several lengths. In fp32 the largest difference of a
logit may be :data:`LARGEST`; in bf16, whose rounding decides, the mean divergence of the next
token's distribution may be :data:`LARGEST_KL`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import UserError
from trainer.export.config_json import CONFIG
from trainer.export.stock import stock_logits
from trainer.export.tensor_files import tensor_files
from trainer.model import Model

LARGEST = 1e-4
"""Of a logit, in fp32, where logits are of size 1; larger logits may differ by as much more."""

LARGEST_KL = 1e-2
"""Nats."""

LENGTHS = (1, 7, 64)


@dataclass(frozen=True)
class LogitCheck:
    """How far an export's logits are from the model's over ``tokens`` places: the largest
    difference, the largest logit, and the mean divergence of the distributions in nats.
    """

    tokens: int
    largest_difference: float
    largest_logit: float
    mean_kl: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@torch.inference_mode()
def check_logits(folder: Path, model: Model, dtype: str) -> LogitCheck:
    """Compare a folder with the model that it was written from, on the CPU.

    Raises: UserError when they are not the same model.
    """
    values = json.loads((folder / CONFIG).read_bytes())
    tensors = tensor_files(folder).read()
    difference = size = divergence = 0.0
    tokens = 0
    for text in _texts(model.config.vocab_size):
        own = model.logits(model(text[None], torch.arange(len(text))[None]))[0].float()
        read = stock_logits(values, tensors, text)
        difference = max(difference, float((own - read).abs().max()))
        size = max(size, float(own.abs().max()))
        divergence += float(_kl(own, read).sum())
        tokens += len(text)
    found = LogitCheck(tokens, difference, size, divergence / tokens)
    _judge(found, dtype, folder)
    return found


def _judge(found: LogitCheck, dtype: str, folder: Path) -> None:
    exact = dtype == "fp32"
    off = found.largest_difference / max(1.0, found.largest_logit) if exact else found.mean_kl
    if not off <= (LARGEST if exact else LARGEST_KL):  # NaN is not
        raise UserError(
            "the export is another model than the checkpoint",
            file=folder,
            found=(
                f"logits differ by up to {found.largest_difference:.3g} of "
                f"{found.largest_logit:.3g}, {found.mean_kl:.3g} nats on average"
            ),
            fix=(
                "this is a defect: please report it"
                if exact
                else "export in fp32: the model does not stand rounding to bf16"
            ),
        )


def _texts(vocabulary: int) -> Iterator[Tensor]:
    source = torch.Generator().manual_seed(1)
    for length in LENGTHS:
        yield torch.randint(vocabulary, (length,), generator=source)


def _kl(own: Tensor, read: Tensor) -> Tensor:
    """Divergence (T,) of the distributions over the next token."""
    first, second = own.double().log_softmax(-1), read.double().log_softmax(-1)
    return (first.exp() * (first - second)).sum(-1)
