"""The kinds of experiment there are; a further one is a file and a line here."""

from __future__ import annotations

from trainer.experiments.design import Design
from trainer.experiments.designs.coordinate_check import CoordinateCheckDesign
from trainer.experiments.designs.learning_rate import LearningRateDesign
from trainer.experiments.designs.mixtures.design import MixturesDesign
from trainer.experiments.designs.stages import StagesDesign
from trainer.experiments.designs.value import ValueDesign

_ALL: tuple[type[Design], ...] = (
    CoordinateCheckDesign,
    LearningRateDesign,
    MixturesDesign,
    StagesDesign,
    ValueDesign,
)

DESIGNS: dict[str, type[Design]] = {design.kind: design for design in _ALL}
"""Designs by the name that an experiment's ``study`` gives."""
