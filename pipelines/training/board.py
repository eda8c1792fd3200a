"""A run's trainings for TensorBoard, side by side under their names: ``tensorboard/NAME-XXXXXXXX``.

``tensorboard --logdir runs/NAME/tensorboard`` shows each ending of each training of a run: its
name, and digits that tell trainings with other settings apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from pipelines.recipe.fields import Recipe
from pipelines.report.training_metrics import MAIN
from trainer.loop.board import Board, BoardRun

FOLDER = "tensorboard"


def board_run(store: Store, run: str, name: str, folder: str) -> BoardRun:
    """The ending ``name`` of a run that lies in ``folder``."""
    key = content_key({"training": folder})[:8]
    return BoardRun(store.full(f"{FOLDER}/{name}-{key}"), {"run": run, "ending": name})


def show_samples(
    store: Store,
    recipe: Recipe,
    folder: str,
    samples: Sequence[Mapping[str, Any]],
    steps: tuple[int, int],
) -> None:
    """Add what the run's own ending said ``before`` and ``after`` its decay, at these steps."""
    if not recipe.train.tensorboard:
        return
    board = Board(board_run(store, recipe.name, MAIN, folder), max(steps))
    said = dict(zip(steps, ("before", "after"), strict=True))  # one where nothing decays
    for number, sample in enumerate(samples, 1):
        for step, when in said.items():
            board.text(f"samples/{number}", f"{sample['prompt']}\n\n{sample[when]}", step)
    board.close()
