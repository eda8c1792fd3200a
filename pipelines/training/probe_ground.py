"""What a probe of a training runs on: the batches of its plan over the run's shards, or random
tokens in their shape where there are no shards yet.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixtures.loader.loader import Batch, Folders, Loader
from mixtures.plan.format import Plan
from pipelines.training.materials import Materials
from pipelines.training.random_tokens import RandomLoader, random_batch
from pipelines.training.starting import StartingPoint
from trainer.evaluation.held_out import HeldOut, held_out
from trainer.loop.settings import TrainSettings
from trainer.objectives.next_token import NextToken


@dataclass
class ShardGround:
    """The run's own shards. ``plans``: that of the training, then those of its branches;
    ``measured``: the held-out shards by name.
    """

    plans: tuple[Plan, ...]
    point: StartingPoint
    settings: TrainSettings
    materials: Materials
    measured: Folders

    @cached_property
    def objective(self) -> NextToken:
        return NextToken.of(self.materials.tokenizer)

    def batches(self, plan: Plan, first: int, last: int) -> Generator[Batch]:
        folders = {name: self.materials.folders[name] for name in plan.names}
        return Loader(plan, folders).batches(first, last)

    def held_out(self) -> HeldOut | None:
        if not self.measured:
            return None
        return held_out(
            self.measured,
            self.materials.tokenizer,
            sequence_length=self.settings.sequence_length,
            windows=self.settings.validation_windows,
            rows=self.settings.micro_batch_windows,
            rule=self.settings.validation_rule,
        )


@dataclass
class RandomGround:
    """Random tokens. ``plans`` as of :class:`ShardGround`; ``sources``: how many are measured on
    held-out documents, each on as many windows as the settings allow.
    """

    plans: tuple[Plan, ...]
    point: StartingPoint
    settings: TrainSettings
    sources: int

    @cached_property
    def objective(self) -> NextToken:
        return NextToken(np.ones(self.point.config.vocab_size, np.int64))

    def batches(self, plan: Plan, first: int, last: int) -> Generator[Batch]:
        return RandomLoader(plan).batches(first, last)

    def held_out(self) -> HeldOut | None:
        windows = self.settings.validation_windows
        if not self.sources or windows is None:
            return None
        vocabulary, length = self.point.config.vocab_size, self.settings.sequence_length
        batches = {
            f"source {number}": (random_batch(windows, length, vocabulary, seed=number),)
            for number in range(self.sources)
        }
        return HeldOut(batches, self.settings.micro_batch_windows)
