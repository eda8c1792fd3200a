"""A run in TensorBoard: its endings by name, hyperparameters and samples, read back by
TensorBoard's own readers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from artifacts.visible_text import visible
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from tests.trainer.test_loop_board import hparams, texts


@pytest.mark.slow
def test_tensorboard_shows_endings_by_name_with_hyperparameters_and_samples(
    tmp_path: Path, root: Path
) -> None:
    loaded = load_recipe(root / "recipes" / "tiny.yaml", ("train.tensorboard=true",))
    outcome = run_recipe(loaded, str(tmp_path))
    logs = Path(outcome.store.full("tensorboard"))
    runs = EventMultiplexer().AddRunsFromDirectory(str(logs))
    runs.Reload()
    names = {name.rpartition("-")[0]: name for name in runs.Runs()}
    assert set(names) == {"main", "without-instructions"}
    training = outcome.record["training"]
    for ending, first in (("main", 1), ("without-instructions", 21)):
        steps = [event.step for event in runs.Scalars(names[ending], "train/loss")]
        assert steps == list(range(first, training["steps"] + 1))
        values, figures = hparams(logs / names[ending])
        assert (values["run"], values["ending"]) == ("tiny", ending)
        assert values["train.schedule.peak"] == 0.01
        assert values["model.layers"] == 2
        assert "train/loss" in figures
        assert "validation/sources/sft/loss" in figures
    for number, sample in enumerate(outcome.record["samples"], 1):
        shown = texts(logs / names["main"], f"samples/{number}")
        assert [step for step, _ in shown] == [20, 25]
        for (_, text), when in zip(shown, ("before", "after"), strict=True):
            lines = f"{sample['prompt']}\n\n{sample[when]}".split("\n")
            assert text.split("\n") == [f"    {visible(line)}" for line in lines]
    again = run_recipe(loaded, str(tmp_path))
    assert again.record["training"] == training
    assert len(texts(logs / names["main"], "samples/1")) == 2, "nothing is written twice"
