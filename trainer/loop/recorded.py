"""How a checkpoint says that it was trained."""

from __future__ import annotations

from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.recorded import read_settings, with_version
from trainer.evaluation.rule import WINDOWS
from trainer.loop.settings import TrainSettings


def train_settings(checkpoint: Checkpoint) -> TrainSettings:
    """The settings of a training, the precision as the one computed in; one that records no rule
    for held-out text measured windows. Raises: UserError for a setting that is not known or not
    valid.
    """
    recorded = {"validation_rule": WINDOWS, **checkpoint.state.settings}
    recorded["schedule"] = with_version(recorded.get("schedule", {}))
    return read_settings(checkpoint, "train", TrainSettings, recorded)
