"""What decays of several lengths would come to, before any is trained: merges of a training's
stable checkpoints, measured on the held-out texts that branches are measured on.

    rows = previews(load(folder), DecaySpec(shape="one_minus_sqrt"), [2, 4, 8], held_out_folders)
    rows[0].losses["web-en"]            # of the checkpoint itself
    rows[-1].span, rows[-1].tokens      # steps and tokens that the longest merge spans
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import UserError
from mixtures.loader.loader import Folders
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint
from trainer.checkpoints.merging import merged
from trainer.checkpoints.recorded import model_config, plan_of
from trainer.checkpoints.weights import filled_model
from trainer.devices.precision import DTYPES, device_of
from trainer.evaluation.held_out import Measured, held_out
from trainer.loop.decay_merge import check_mergeable, mergeable
from trainer.loop.fits import check_objective
from trainer.loop.recorded import train_settings
from trainer.loop.settings import TrainSettings
from trainer.objectives.contract import rows_together
from trainer.objectives.losses import Loss
from trainer.objectives.next_token import NextToken
from trainer.optimizer.merge_coefficients import merge_coefficients
from trainer.optimizer.schedules import DecaySpec


@dataclass(frozen=True)
class Preview:
    """The merge of the checkpoints at ``steps`` with ``coefficients``; of one step alone that
    checkpoint. ``tokens`` were shown from the first of them to the last. ``measured`` by held-out
    source.
    """

    steps: tuple[int, ...]
    coefficients: tuple[float, ...]
    tokens: int
    measured: Mapping[str, Measured[Loss]]

    @property
    def span(self) -> int:
        """Steps from the first checkpoint to the last: the length of the decay it stands for."""
        return self.steps[-1] - self.steps[0]

    @property
    def losses(self) -> dict[str, Loss]:
        """What each source came to in all."""
        return {source: found.whole for source, found in self.measured.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "checkpoints": len(self.steps),
            "steps": list(self.steps),
            "coefficients": list(self.coefficients),
            "span": self.span,
            "tokens": self.tokens,
            "sources": {source: found.to_json() for source, found in self.measured.items()},
        }


def previews(
    start: Checkpoint,
    decay: DecaySpec,
    spans: Sequence[int] | None,
    validation: Folders,
    settings: TrainSettings | None = None,
) -> list[Preview]:
    """The checkpoint itself, then a merge for each of ``spans``, numbers of checkpoints that end
    with it; None for 2, 4, 8, … and all. ``validation``: held-out shards by source. ``settings``:
    default those of the checkpoint.

    Raises: UserError when the checkpoint is not stable, minimised another objective than the loss
    on the next token, or has fewer checkpoints before it than a span needs.
    """
    check_objective(start, None)
    line = mergeable(start)
    asked = default_spans(len(line)) if spans is None else sorted(set(spans))
    _check_spans(start, asked, len(line))
    plan, measure = plan_of(start), _Measure(start, validation, settings)
    rows = []
    for number in (1, *asked):
        chosen = line[len(line) - number :]
        steps = tuple(checkpoint.state.step for checkpoint in chosen)
        coefficients: tuple[float, ...] = (1.0,)
        if number > 1:
            check_mergeable(chosen)
            coefficients = merge_coefficients(decay, steps)
        tokens = plan.tokens_before(steps[-1]) - plan.tokens_before(steps[0])
        rows.append(Preview(steps, coefficients, tokens, measure(chosen, coefficients)))
    return rows


def default_spans(available: int) -> list[int]:
    """2, 4, 8, … checkpoints, and all that are available."""
    doubled = [1 << power for power in range(1, available.bit_length())]
    return sorted({*doubled, available} - {1})


def _check_spans(start: Checkpoint, spans: Sequence[int], available: int) -> None:
    if available < 2:
        raise UserError(
            "no stable checkpoint lies before this one: there is nothing to merge it with",
            file=start.folder,
            found=f"step {start.state.step}",
            fix="take a later checkpoint, or train anew with a lower train.checkpoint_every",
        )
    for span in spans:
        if not 2 <= span <= available:
            raise UserError(
                "a merge takes two checkpoints or more, and no more than there are",
                parameter="spans",
                found=span,
                allowed=[f"2 to {available}"],
            )


class _Measure:
    """Measures merges on the held-out texts that the branches of a checkpoint are measured on."""

    def __init__(
        self, start: Checkpoint, validation: Folders, settings: TrainSettings | None
    ) -> None:
        recorded = train_settings(start)
        self.settings = settings or recorded
        self.config = model_config(start)
        tokenizer = Tokenizer.load(start.read(TOKENIZER))
        self.objective = NextToken.of(tokenizer)
        self.texts = held_out(
            validation,
            tokenizer,
            sequence_length=self.settings.sequence_length,
            windows=self.settings.validation_windows,
            rows=self.settings.micro_batch_windows,
            together=rows_together(self.objective),
            rule=recorded.validation_rule,
        )

    def __call__(
        self, checkpoints: Sequence[Checkpoint], coefficients: Sequence[float]
    ) -> dict[str, Measured[Loss]]:
        device, dtype = device_of(self.settings.device), DTYPES[self.settings.resolved_precision]
        weights = merged(checkpoints, coefficients)
        model = filled_model(self.config, weights, checkpoints[-1].folder)
        return self.texts.measure(model.to(device, dtype), self.objective)
