"""Whether an export is the model it was made of: its files, read back, against the model's logits.

What is compared are texts of drawn ids, of several lengths. The files are held against a model of
the weights as they are stored, rounded where they are in bf16: their logits may differ by
:data:`LARGEST`. How far rounding moved them from the checkpoint's is measured besides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
"""Of a logit, where logits are of size 1; larger ones may differ by as much more."""

ROUNDED = 2.0**-8
"""Of a weight: twice what rounding to bf16 takes it."""

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
def drawn_logits(model: Model) -> list[Tensor]:
    """Scores (T, V) fp32 of a model on the CPU for each text that is compared."""
    return [
        model.logits(model(text[None], torch.arange(len(text))[None]))[0].float()
        for text in _texts(model.config.vocab_size)
    ]


@torch.inference_mode()
def check_logits(folder: Path, exact: Sequence[Tensor], stored: Sequence[Tensor]) -> LogitCheck:
    """Compare a folder with :func:`drawn_logits` of its model, ``exact`` those of the checkpoint,
    ``stored`` those of the weights as they are stored.

    Raises: UserError when the folder is another model.
    """
    values = json.loads((folder / CONFIG).read_bytes())
    tensors = tensor_files(folder).read()
    texts = list(_texts(values["vocab_size"]))
    read = [stock_logits(values, tensors, text) for text in texts]
    size = max(float(logits.abs().max()) for logits in exact)
    off = max(map(_difference, read, stored))
    if not off <= LARGEST * max(1.0, size):  # NaN is not
        raise UserError(
            "the export is another model than the checkpoint",
            file=folder,
            found=f"logits differ by up to {off:.3g}, of {size:.3g}",
            fix="this is a defect: please report it",
        )
    tokens = sum(map(len, texts))
    divergence = sum(float(_kl(*pair).sum()) for pair in zip(exact, read, strict=True))
    return LogitCheck(tokens, max(map(_difference, exact, read)), size, divergence / tokens)


def check_rounded(found: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raises: UserError when weights are further from those of the checkpoint than rounding to bf16
    takes them.
    """
    for name, value in found.items():
        own = weights["embedding" if name == "head" and name not in weights else name]
        off = (value - own).abs() > own.abs() * ROUNDED + 1e-30
        if bool(off.any()):
            raise UserError(
                "the export is another model than the checkpoint",
                field=name,
                found=f"{int(off.sum())} of {off.numel()} values",
                fix="this is a defect: please report it",
            )


def _difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


def _texts(vocabulary: int) -> Iterator[Tensor]:
    source = torch.Generator().manual_seed(1)
    for length in LENGTHS:
        yield torch.randint(vocabulary, (length,), generator=source)


def _kl(own: Tensor, read: Tensor) -> Tensor:
    """Divergence (T,) of the distributions over the next token."""
    first, second = own.double().log_softmax(-1), read.double().log_softmax(-1)
    return (first.exp() * (first - second)).sum(-1)
