"""A training for TensorBoard: a run with a name, its hyperparameters, the figures of its series as
scalars, and texts.

    tensorboard --logdir FOLDER       shows every folder below as a run of that name

The lines of :mod:`trainer.loop.metrics` are the record; a board whose folder is empty is filled
with those that are there, so one that was lost, or that lay elsewhere, is whole again. Events for
an object store are written on the local disk, and go there whole with every checkpoint.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from artifacts.paths import Store
from artifacts.visible_text import visible

_FLUSHED = 30  # seconds


@dataclass(frozen=True)
class BoardRun:
    """Where a run's events lie: a folder or a store's URL, whose last name is what TensorBoard
    calls the run.

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

        store = Store(run.folder)
        before = store.names()
        self.empty = not before
        self.facts = run.facts
        purged = None if self.empty else step + 1
        self._store = None if store.local else store
        self._folder = store.base if store.local else tempfile.mkdtemp(prefix="windtunnel-board-")
        _wait_for_a_later_name(before)
        self._writer = SummaryWriter(self._folder, purge_step=purged, flush_secs=_FLUSHED)

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
        self._send()

    def close(self) -> None:
        self._writer.close()
        self._send()
        if self._store is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self) -> None:
        """Have the store hold every event so far."""
        if self._store is not None:
            for name in os.listdir(self._folder):
                path = os.path.join(self._folder, name)
                self._store.fs.put_file(path, self._store.full(name))


def _wait_for_a_later_name(names: list[str]) -> None:
    """Wait until this second is not that of an events file among ``names``, at most one second.

    TensorBoard reads the files of a run in the order of their names. A name holds the second, then
    numbers of varying length: of two names of one second, the later one may sort first.
    """
    this_second = int(time.time())
    if any(f".tfevents.{this_second:010d}." in name for name in names):
        time.sleep(max(0.0, this_second + 1 - time.time()))


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
