"""Measure checkpoints of a run without training: one as it is, or several merged as a decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenizer.encode import Tokenizer
from trainer.experiments.outcomes import Losses
from trainer.experiments.runs import Merge
from trainer.loop.settings import TrainSettings
from trainer.shapes.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.checkpoints.checkpoint import Checkpoint, Tensors


def merge_losses(
    merge: Merge,
    folder: str,
    config: ModelConfig,
    settings: TrainSettings,
    held_out: Mapping[str, str],
    tokenizer: Tokenizer,
) -> dict[str, Losses]:
    """Held-out losses by source of checkpoints in the ``folder`` of a run, measured as a training
    measures its own. Raises: UserError where a checkpoint is missing, and where several are not
    stable checkpoints of one training.
    """
    from trainer.checkpoints.checkpoint import at_step
    from trainer.checkpoints.weights import filled_model
    from trainer.devices.determinism import deterministic
    from trainer.devices.precision import DTYPES, computing_in, device_of
    from trainer.evaluation import held_out as texts
    from trainer.objectives.contract import rows_together
    from trainer.objectives.next_token import NextToken

    checkpoints = [at_step(folder, step) for step in merge.steps]
    precision = settings.resolved_precision
    with deterministic(settings.threads), computing_in(precision):
        objective = NextToken.of(tokenizer)
        model = filled_model(config, _weights(checkpoints, merge), checkpoints[-1].folder)
        measured = texts.held_out(
            held_out,
            tokenizer,
            sequence_length=settings.sequence_length,
            windows=settings.validation_windows,
            rows=settings.micro_batch_windows,
            together=rows_together(objective),
            rule=settings.validation_rule,
        ).measure(model.to(device_of(settings.device), DTYPES[precision]), objective)
    facts = {name: found.to_json() for name, found in sorted(measured.items())}
    return {
        name: Losses(nats=loss["loss"], bits_per_byte=loss.get("bits_per_byte"))
        for name, loss in facts.items()
    }


def _weights(checkpoints: Sequence[Checkpoint], merge: Merge) -> Tensors:
    from trainer.loop.decay_merge import decayed_by_merging

    if merge.decay is None:
        return checkpoints[0].weights()
    return decayed_by_merging(checkpoints, merge.decay)
