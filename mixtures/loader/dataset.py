"""A plan's batches for any PyTorch trainer: one item per step.

    folders = {"web-en": "shards/web-en", ...}
    dataset = PlanDataset(load_plan("plan.json"), folders, rank, world_size)
    batches = DataLoader(dataset, batch_size=None, sampler=range(step, len(dataset)), num_workers=2)

The order is the plan's, whatever the number of workers: an item is a function of (plan, step, rank,
world_size), and DataLoader gives items in the sampler's order. The state to keep in a checkpoint is
the step and the plan's hash; on resuming, ``plan.agrees_with(hash, step)`` says whether the plan at
hand still fits, and ranks may be more or fewer than before.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils.data import Dataset

from mixtures.loader.loader import Folders, Loader
from mixtures.plan.format import Plan


class PlanDataset(Dataset[dict[str, torch.Tensor]]):
    """Steps of a plan, from 0; an item is rank ``rank``'s share of the step's batch, one of
    ``world_size``.

    An item has the tensors of :class:`mixtures.loader.loader.Batch` but ``pieces``: ``tokens``,
    ``targets``, ``positions``, ``documents`` (B, T) int32, ``weights`` (B, T) float32, ``lengths``
    and ``source`` int32; and ``step``. ``folders``: each source's folder or URL. Every process
    opens the shards with the first item it reads, so the dataset can be pickled and forked at any
    time.
    Raises: IndexError outside the plan; UserError with the first item as
    :class:`mixtures.loader.loader.Loader`.
    """

    def __init__(self, plan: Plan, folders: Folders, rank: int = 0, world_size: int = 1) -> None:
        self.plan = plan
        self.folders = dict(folders)
        self.rank, self.world_size = rank, world_size
        self._opened: tuple[int, Loader] | None = None  # the process that opened it, and the loader

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of a plan of {len(self)} steps")
        batch = self._loader().batch(int(step))
        item = {
            "tokens": batch.tokens,
            "targets": batch.targets,
            "weights": batch.weights,
            "positions": batch.positions,
            "documents": batch.documents,
            "lengths": batch.lengths,
            "source": batch.source,
        }
        return {
            "step": torch.tensor(step),
            **{name: torch.from_numpy(array) for name, array in item.items()},
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _loader(self) -> Loader:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), Loader(self.plan, self.folders, self.rank, self.world_size)
        return self._opened[1]
