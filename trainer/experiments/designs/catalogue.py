"""The kinds of experiment there are; a further one is a file and a line here."""

from __future__ import annotations

from trainer.experiments.design import Design
from trainer.experiments.designs.batch.design import BatchDesign
from trainer.experiments.designs.coordinate_check import CoordinateCheckDesign
from trainer.experiments.designs.dynamics import DynamicsDesign
from trainer.experiments.designs.forecast import ForecastDesign
from trainer.experiments.designs.law import LawDesign
from trainer.experiments.designs.learning_rate import LearningRateDesign
from trainer.experiments.designs.mixtures.design import MixturesDesign
from trainer.experiments.designs.schedule import ScheduleDesign
from trainer.experiments.designs.search.design import SearchDesign
from trainer.experiments.designs.stages import StagesDesign
from trainer.experiments.designs.value import ValueDesign

_ALL: tuple[type[Design], ...] = (
    BatchDesign,
    CoordinateCheckDesign,
    DynamicsDesign,
    ForecastDesign,
    LawDesign,
    LearningRateDesign,
    MixturesDesign,
    ScheduleDesign,
    SearchDesign,
    StagesDesign,
    ValueDesign,
)

DESIGNS: dict[str, type[Design]] = {design.kind: design for design in _ALL}
"""Designs by the name that an experiment's ``study`` gives."""
