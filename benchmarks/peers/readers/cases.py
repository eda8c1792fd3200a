"""Models of several kinds, and the folders that they are exported to.

plain         the checkpoint
ntk, dynamic, yarn
              its weights with positions scaled, four times past a quarter of its window
wide heads    drawn: heads that do not fill the width, fewer for keys and values, and a head of
              its own beside the embedding
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from artifacts.errors import UserError
from artifacts.paths import Store
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, save
from trainer.checkpoints.recorded import model_config
from trainer.checkpoints.state import CheckpointState, Imported
from trainer.export.export import ExportSettings, export_model
from trainer.model import Model, init
from trainer.shapes.config import ModelConfig
from trainer.shapes.presets import preset

SCALINGS = ("ntk", "dynamic", "yarn")
PLAIN, WIDE = "plain", "wide heads"
FACTOR = 4
OUTTYPES = {PLAIN: ("f32", "f16")}
"""What a model is converted to for llama.cpp; ``f32`` where it does not stand here."""


@dataclass(frozen=True)
class Case:
    """One exported folder. ``untie``: a head of its own also where it is the embedding."""

    model: str
    layout: str
    untie: bool = False
    dtype: str = "fp32"

    @property
    def name(self) -> str:
        return f"{self.model}, {self.layout}{', untied' * self.untie}, {self.dtype}"

    @property
    def settings(self) -> ExportSettings:
        return ExportSettings(self.layout, self.dtype, self.untie)

    def described(self, answers: Path) -> dict[str, Any]:
        """What a reader has to know besides the folder; ids are looked at once for a layout."""
        first = self.model == PLAIN and self.dtype == "fp32" and not self.untie
        return {
            "name": self.name,
            "layout": self.layout,
            "dtype": self.dtype,
            "scaling": self.model if self.model in SCALINGS else "none",
            "tokenizer": first,
            "outtypes": OUTTYPES.get(self.model, ("f32",)),
            "answers": str(answers),
        }


def cases() -> Iterator[Case]:
    """All of them, those of one model after one another."""
    for dtype in ("fp32", "bf16"):
        yield Case(PLAIN, "granite", dtype=dtype)
        yield Case(PLAIN, "llama", dtype=dtype)
        yield Case(PLAIN, "llama", True, dtype)
    yield Case(PLAIN, "minicpm")
    for model in (*SCALINGS, WIDE):
        yield Case(model, "granite")
        yield Case(model, "llama")
    for model in ("ntk", "dynamic"):
        yield Case(model, "minicpm")


def exported(checkpoint: Checkpoint, case: Case, folder: Path) -> str | None:
    """Write a case's folder; returns why it was refused, where it was."""
    try:
        export_model(checkpoint, folder, case.settings)
    except UserError as error:
        return str(error)
    return None


def drawn(tokenizer: Tokenizer, name: str, folder: Path, window: int) -> Checkpoint:
    """A preset with this tokenizer's vocabulary, not trained."""
    shape = dataclasses.replace(preset(name), vocab_size=tokenizer.vocab_size)
    return _written(shape, _weights(shape), tokenizer, folder, window)


def variants(base: Checkpoint, folder: Path, window: int) -> dict[str, Checkpoint]:
    """The models by name."""
    config, weights = model_config(base), base.weights()
    tokenizer = Tokenizer.load(base.read(TOKENIZER))
    found = {PLAIN: base}
    for scaling in SCALINGS:
        original = None if scaling == "ntk" else window // FACTOR
        shape = dataclasses.replace(
            config, rope_scaling=scaling, rope_factor=FACTOR, rope_original_context=original
        )
        found[scaling] = _written(shape, weights, tokenizer, folder / scaling, window)
    shape = dataclasses.replace(config, heads=4, kv_heads=2, head_dim=config.width // 2, tied=False)
    found[WIDE] = _written(shape, _weights(shape), tokenizer, folder / "wide", window)
    return found


def _weights(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Drawn weights; gains too, which a model begins with 1 for."""
    model = Model(config)
    init(model, config, seed=1)
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.3 * torch.randn(parameter.shape, generator=source))
    return dict(model.named_parameters())


def _written(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    tokenizer: Tokenizer,
    folder: Path,
    window: int,
) -> Checkpoint:
    """A checkpoint of weights alone, for texts of ``window`` tokens."""
    state = CheckpointState(
        step=0,
        tokens=0,
        plan_hash="",
        history=(),
        schedule={},
        model=config.recorded(),
        settings={},
        tokenizer_hash=tokenizer.hash,
        seeds={},
        imported=Imported(layout="granite", context=window),
    )
    return save(Store(folder), state, weights, {}, {TOKENIZER: tokenizer.model})
