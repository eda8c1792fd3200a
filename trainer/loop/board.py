"""A training for TensorBoard: a run with a name, its hyperparameters, the figures of its series as
scalars, and texts.

    tensorboard --logdir FOLDER       shows every folder below as a run of that name

The lines of :mod:`trainer.loop.metrics` are the record; a board whose folder is empty is filled
with those that are there, so one that was lost, or that lay elsewhere, is whole again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from artifacts.visible_text import visible

_FLUSHED = 30  # seconds


@dataclass(frozen=True)
class BoardRun:
    """Where a run's events lie: a local folder, whose name is what TensorBoard calls the run.

    ``facts``: what else stands among its hyperparameters.
    """

    folder: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Board:
    """The events of a run, open for more."""

    def __init__(self, run: BoardRun, step: int) -> None:
        """``step``: updates made before; events of later ones are hidden."""
        # an import of seconds that reading a series does not need
        from torch.utils.tensorboard import SummaryWriter

        self.empty = not os.path.isdir(run.folder) or not os.listdir(run.folder)
        self.facts = run.facts
        purged = None if self.empty else step + 1
        self._writer = SummaryWriter(run.folder, purge_step=purged, flush_secs=_FLUSHED)

    def name(self, settings: Mapping[str, Any], figures: Iterable[str]) -> None:
        """Write the hyperparameters, and the tags of the figures that stand beside them."""
        from torch.utils.tensorboard.summary import hparams

        values = hyperparameters({**self.facts, **settings})
        for summary in hparams(values, dict.fromkeys(figures)):
            self._writer._get_file_writer().add_summary(summary)

    def record(self, series: str, step: int, figures: Iterable[tuple[str, float]]) -> None:
        """Add figures of a step."""
        for tag, value in figures:
            self._writer.add_scalar(f"{series}/{tag}", value, step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Add a text as it is: every line of it is code to TensorBoard, which reads Markdown."""
        lines = "\n".join(f"    {visible(line)}" for line in text.split("\n"))
        self._writer.add_text(tag, lines, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def hyperparameters(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings under dotted names, lists as text, what is not set left out.

    >>> hyperparameters({"train": {"clip": None, "betas": [0.9, 0.95], "seed": 1}})
    {'train.betas': '[0.9, 0.95]', 'train.seed': 1}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= hyperparameters(value, f"{above}{name}.")
        elif value is not None:
            plain = isinstance(value, bool | int | float | str)
            found[f"{above}{name}"] = value if plain else str(value)
    return found
