"""How a checkpoint says that it was trained."""

from __future__ import annotations

from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.recorded import read_settings
from trainer.loop.settings import TrainSettings


def train_settings(checkpoint: Checkpoint) -> TrainSettings:
    """The settings of a training, the precision as the one computed in. Raises: UserError for a
    setting that is not known or not valid.
    """
    return read_settings(checkpoint, "train", TrainSettings, checkpoint.state.settings)
