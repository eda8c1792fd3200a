"""How a checkpoint says that it was trained."""

from __future__ import annotations

from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.recorded import read_settings, with_version
from trainer.loop.settings import TrainSettings


def train_settings(checkpoint: Checkpoint) -> TrainSettings:
    """The settings of a training, the precision as the one computed in. Raises: UserError for a
    setting that is not known or not valid.
    """
    recorded = checkpoint.state.settings
    recorded = {**recorded, "schedule": with_version(recorded.get("schedule", {}))}
    return read_settings(checkpoint, "train", TrainSettings, recorded)
