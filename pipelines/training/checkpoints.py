"""The checkpoints of a run's trainings and their branches, and how far a plan has been trained."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from artifacts.paths import Store
from mixtures.plan.format import Plan
from trainer.checkpoints.checkpoint import Checkpoint, load
from trainer.checkpoints.paths import STATES
from trainer.checkpoints.recorded import plan_of

TRAINING = "training"


@dataclass(frozen=True)
class RunCheckpoint:
    """A checkpoint under a run's folder: ``path`` in it, updates made, and the hash of the plan it
    was made with.
    """

    path: str
    checkpoint: Checkpoint

    @property
    def step(self) -> int:
        return self.checkpoint.state.step

    @property
    def plan_hash(self) -> str:
        return self.checkpoint.state.plan_hash

    def plan(self) -> Plan:
        """The plan it carries."""
        return plan_of(self.checkpoint)


def run_checkpoints(store: Store) -> list[RunCheckpoint]:
    """Every checkpoint of a run, by path. Raises: UserError when one is damaged."""
    folders = sorted(name.rpartition("/")[0] for name in states(store))
    return [RunCheckpoint(folder, load(store.full(folder))) for folder in folders]


def states(store: Store) -> list[str]:
    """The state file of every checkpoint of a run, by its name in the run."""
    if not store.local:
        names = store.names(TRAINING)
        return [name for name in names if fnmatch.fnmatch(name, f"{TRAINING}/*{STATES}")]
    base = Path(store.base)
    return [str(path.relative_to(base)) for path in base.glob(f"{TRAINING}/**/{STATES}")]


def trained_with(plan: Plan, checkpoints: Iterable[RunCheckpoint]) -> list[RunCheckpoint]:
    """Those from which a training can go on with the plan, by step."""
    return sorted(
        (one for one in checkpoints if plan.agrees_with(one.plan_hash, one.step)),
        key=lambda one: (one.step, one.path),
    )
