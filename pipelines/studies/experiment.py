"""The file of an experiment: what is asked, fixed before it runs.

    name: lr-width
    recipe: wind-tunnel.yaml
    study: lr
    hypothesis: "The best rate stays within one grid step from width 48 to 192."
    stopping: every run of the design is made; nothing is looked at before
    design: {widths: [48, 96, 192], peaks: [0.0025, 0.005, 0.01, 0.02], seeds: [1, 2, 3]}

Its fields stand in docs/experiments.md, those of ``design`` with each kind of experiment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from artifacts.errors import UserError
from artifacts.settings import Part
from pipelines.recipe.load import LoadedRecipe, load_recipe, validated
from pipelines.recipe.name import Name
from pipelines.recipe.yaml_lines import YamlFile
from trainer.experiments.design import Design
from trainer.experiments.designs.catalogue import DESIGNS
from trainer.experiments.outcomes import Primary

Sentence = Annotated[str, Field(min_length=1, max_length=2000)]


class Experiment(Part):
    """An experiment. ``recipe`` and the files of ``lines`` are relative to its own file.

    ``set``: fields of the recipe by address, in place of its own. ``primary``: the number it is
    judged by, ``margin`` the difference of losses that matters, in the primary's unit. ``stopping``
    says when no further run is made. ``threads`` of a run; ``lines``: tables of runs that were made
    elsewhere and count as made.
    """

    name: Name
    recipe: str
    set: tuple[str, ...] = ()
    study: str
    hypothesis: Sentence
    primary: Primary = Primary()
    margin: Annotated[float, Field(gt=0)] = 0.02
    stopping: Sentence
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    lines: tuple[str, ...] = ()
    design: dict[str, Any] = {}


class ExperimentFile(YamlFile):
    """The YAML of an experiment."""

    documented = "see docs/experiments.md for what this field takes"


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment with its design and its base recipe."""

    experiment: Experiment
    design: Design
    recipe: LoadedRecipe
    file: ExperimentFile

    def full(self, path: str) -> str:
        """A path of the experiment's file."""
        return path if os.path.isabs(path) else str(self.file.path.resolve().parent / path)

    def plain(self) -> dict[str, Any]:
        """Everything it says, defaults written out."""
        facts = self.experiment.model_dump(mode="json")
        return {**facts, "design": self.design.model_dump(mode="json")}


def load_experiment(
    path: str | os.PathLike[str], study: str | None = None, overrides: tuple[str, ...] = ()
) -> LoadedExperiment:
    """Read the file of an experiment, and its recipe. ``study``: the kind it has to be.
    ``overrides``: fields given in place of the file's.

    Raises: UserError for anything that is wrong with either.
    """
    file = ExperimentFile(Path(path), overrides)
    try:
        experiment = validated(file, Experiment, file.plain(), ())
        _check_kind(experiment, study)
        kind = DESIGNS[experiment.study]
        design = validated(file, kind, experiment.design, ("design",))
    except UserError as error:
        raise error.relocated(file.place) from None
    given = Path(experiment.recipe)
    place = given if given.is_absolute() else file.path.resolve().parent / given
    if not place.is_file():
        raise file.error(
            ("recipe",),
            "no recipe lies there",
            found=experiment.recipe,
            fix="give the path of the base recipe, relative to this file",
        )
    recipe = load_recipe(place, experiment.set)
    if recipe.recipe.mixture is None:
        raise file.error(
            ("recipe",),
            "the base recipe has no mixture to train on",
            found=experiment.recipe,
            fix="name a recipe with mixture: {phases: [...]}",
        )
    return LoadedExperiment(experiment, design, recipe, file)


def _check_kind(experiment: Experiment, study: str | None) -> None:
    if experiment.study not in DESIGNS:
        raise UserError(
            "no such kind of experiment",
            field="study",
            found=experiment.study,
            allowed=sorted(DESIGNS),
            fix="use one of these",
        )
    if study not in (None, experiment.study):
        raise UserError(
            "an experiment of another kind",
            field="study",
            found=experiment.study,
            allowed=[study or ""],
            fix=f"give it to the command {experiment.study}, or name a file of this kind",
        )
