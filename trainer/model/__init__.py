"""The model: MiniCPM's decoder, how its tensors start and at what rate each learns.

    tokens, positions, documents (B, T) ─ Model ─▶ hidden states ─▶ logits, or loss by token

:mod:`~trainer.model.decoder` is the model, :mod:`~trainer.model.parameterisation` starts it and
groups its parameters, :mod:`~trainer.model.rotary` has the angles of positions,
:mod:`~trainer.model.cache` keys and values of tokens that were read,
:mod:`~trainer.model.float8` products in 8-bit floats. Needs torch and numpy alone.

>>> import torch
>>> from trainer.model import Model, init, parameter_groups
>>> from trainer.shapes.presets import preset
>>> config = preset("tiny", vocab_size=512, layers=1)
>>> model = Model(config)
>>> init(model, config, seed=1)
>>> tokens, positions = torch.tensor([[1, 5, 9]]), torch.tensor([[0, 1, 2]])
>>> model.logits(model(tokens, positions)).shape
torch.Size([1, 3, 512])
>>> [group.name for group in parameter_groups(model, config, peak=0.01, weight_decay=0.1)]
['hidden', 'embedding', 'gain']
"""

from trainer.model.decoder import Model
from trainer.model.parameterisation import ParameterGroup, init, parameter_groups
from trainer.shapes.config import ModelConfig

__all__ = ["Model", "ModelConfig", "ParameterGroup", "init", "parameter_groups"]
