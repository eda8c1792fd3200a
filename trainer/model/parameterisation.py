"""How a model's tensors start and at what rate they learn (arXiv 2404.06395, Table 7, read as its
authors' code does).

A model is any module with named parameters: ``embedding`` and ``head`` are the tables, names that
end in ``norm.weight`` the gains, all others hidden matrices. A matrix that is several of the paper
stacked by rows says so: its module has ``pieces``, rows by name.

| tensors             | start                                 | learning rate | weight decay |
|---------------------|---------------------------------------|---------------|--------------|
| hidden matrices     | normal, init_std / sqrt(m)            | peak / m      | yes          |
| embedding and head  | normal, init_std; padding rows zero   | peak          | yes          |
| gains of the norms  | 1                                     | peak          | no           |

Weight decay is AdamW's: each step a decayed tensor shrinks by its own learning rate times the
decay. Rows of padding stay zero for ever: they start there, get no gradient, and decay keeps them
there.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.shapes.config import ModelConfig

_DRAWN_AT_ONCE = 2**24  # values; bounds the memory that starting a large tensor takes


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """Tensors that learn at one rate: ``rate(step) * lr_multiplier``; ``lr`` is that figure at the
    peak.
    """

    name: str
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    lr_multiplier: float
    lr: float
    weight_decay: float


def init(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Fill ``model`` with its starting weights.

    Each matrix of the paper (q, k, v, out, gate, up, down of each layer, embedding, head) draws
    from a generator of its own, keyed by ``seed`` and its name: the values do not depend on how
    matrices are stacked, on the device, on the number of layers, or on the padding of the
    vocabulary.
    """
    rows = config.vocab_size
    with torch.no_grad():
        for name, tensor in _matrices(model):
            if name in ("embedding", "head"):
                tensor[rows:].zero_()
                _fill(tensor[:rows], name, seed, config.init_std)
            else:
                _fill(tensor, name, seed, config.hidden_std)
        for name, parameter in model.named_parameters():
            if kind(name) == "gain":
                parameter.fill_(1.0)


def kind(name: str) -> str:
    """What a parameter is by its name: ``embedding`` (also the head), ``gain`` of a norm, or
    ``hidden`` matrix.
    """
    if name in ("embedding", "head"):
        return "embedding"
    return "gain" if name.endswith("norm.weight") else "hidden"


def parameter_groups(
    model: nn.Module, config: ModelConfig, peak: float, weight_decay: float
) -> list[ParameterGroup]:
    """Three groups in a fixed order: ``hidden``, ``embedding``, ``gain`` (see the table above).

    ``peak`` is the global learning rate of the stable stage (0.01 in the paper). A tied weight
    appears once.
    """
    rules = {
        "hidden": (1.0 / config.width_multiplier, weight_decay),
        "embedding": (1.0, weight_decay),
        "gain": (1.0, 0.0),
    }
    groups = []
    for group, (multiplier, decay) in rules.items():
        members = [
            (name, parameter) for name, parameter in model.named_parameters() if kind(name) == group
        ]
        names, parameters = zip(*members, strict=True)
        groups.append(
            ParameterGroup(group, names, parameters, multiplier, peak * multiplier, decay)
        )
    return groups


def _matrices(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The matrices by the names of the paper's pieces; stacked ones as views of their rows."""
    yield from model.named_parameters(recurse=False)
    for path, module in model.named_modules():
        pieces: dict[str, int] | Any = getattr(module, "pieces", None)
        if pieces is None:
            continue
        weight = module.get_parameter("weight")
        for piece, part in zip(pieces, weight.split(list(pieces.values())), strict=True):
            yield f"{path.rpartition('.')[0]}.{piece}", part


def _fill(tensor: Tensor, name: str, seed: int, std: float) -> None:
    """Standard normal values times ``std``, drawn in fp32 by Philox keyed with (seed, name)."""
    key = int.from_bytes(
        hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest(), "little"
    )
    generator = np.random.Generator(np.random.Philox(key=key))
    rows = max(1, _DRAWN_AT_ONCE // tensor.shape[1])
    for part in tensor.split(rows):
        values = generator.standard_normal(tuple(part.shape), dtype=np.float32)
        values *= np.float32(std)
        part.copy_(torch.from_numpy(values))
