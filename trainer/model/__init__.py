"""The decoder and how its tensors start."""

from trainer.model.decoder import Model
from trainer.model.parameterisation import ParameterGroup, init, parameter_groups
from trainer.shapes.config import ModelConfig

__all__ = ["Model", "ModelConfig", "ParameterGroup", "init", "parameter_groups"]
