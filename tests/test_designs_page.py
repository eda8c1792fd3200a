"""The pages on experiments: generated where that is said, every field there, every example sound."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pipelines.studies.experiment import Experiment, load_experiment
from tests.test_docs import check_fields, sections, text_of
from trainer.experiments.designs.catalogue import DESIGNS

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "recipes" / "experiments").glob("*.yaml"))


def test_the_page_of_designs_is_the_one_that_is_made() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_designs.py"))["page"]()
    assert (ROOT / "docs" / "designs.md").read_text() == made, "run python docs/make_designs.py"


def test_every_field_of_an_experiment_is_documented() -> None:
    check_fields(Experiment, sections(text_of("docs/experiments.md"))["The file"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_of_an_experiment_can_be_carried_out(path: Path) -> None:
    loaded = load_experiment(path)
    assert loaded.experiment.name == path.stem
    assert loaded.recipe.recipe.name == "wind-tunnel"


def test_every_kind_of_experiment_has_an_example() -> None:
    studies = {load_experiment(path).experiment.study for path in EXAMPLES}
    assert studies == set(DESIGNS)
