"""What the training of a recipe will need, before it is trained: memory, hours, disk, energy.

    found = estimate_run(load_recipe("recipes/quickstart.yaml"), "runs", watts=65)
    found.memory_bytes, found.seconds, found.disk_bytes

Nothing of a run changes. What is exact is computed from shapes and the plan; the rest is measured
by :mod:`pipelines.training.probe` on this machine, over the run's shards or, before there are any,
over random tokens.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from artifacts.errors import Setting, UserError
from artifacts.paths import Store
from mixtures.plan.format import Plan
from mixtures.spec.lengths import run_tokens
from pipelines.evaluation.asked import asked_tasks
from pipelines.executors.progress import Progress, Silent
from pipelines.recipe.load import LoadedRecipe
from pipelines.run.after_training import check_ahead
from pipelines.run.estimated_costs import MemoryRow, TimeRow, disk, memory_rows, time_rows
from pipelines.run.given_tokenizer import given_model
from pipelines.run.record import RECORD, read_record
from pipelines.run.scoring_probe import scoring_seconds
from pipelines.run.train_only import check_shards_are_of
from pipelines.shards.settings import TokenizerSettings
from pipelines.training.ahead import check_training
from pipelines.training.materials import Materials
from pipelines.training.plan_file import edited_plan
from pipelines.training.plans import (
    asked_of_held_out,
    check_followed,
    plan_branches,
    plan_mixture,
    stable_steps,
)
from pipelines.training.probe import Probed, probe
from pipelines.training.probe_ground import RandomGround, ShardGround
from pipelines.training.random_tokens import random_branch, random_plan
from pipelines.training.starting import StartingPoint, starting_point
from pipelines.training.train import check_machine
from tokenizer.encode import Tokenizer
from trainer.devices.determinism import settled_threads

Batches = Literal["the run's shards", "random tokens"]


@dataclass(frozen=True)
class Estimate:
    """What a training will need. ``batches``: what the probe was shown. ``memory`` by part,
    ``times`` by phase, branch and what else takes time; ``checkpoints`` that stay, ``disk_bytes``
    in all, ``free_bytes`` where the disk says. ``unknown``: what is not counted, a sentence each.
    """

    batches: Batches
    plan: Plan
    probed: Probed
    memory: tuple[MemoryRow, ...]
    times: tuple[TimeRow, ...]
    checkpoints: int
    disk_bytes: int
    free_bytes: int | None
    watts: float | None
    unknown: tuple[str, ...]

    @property
    def memory_bytes(self) -> int:
        """Most bytes resident at once in the process; what lies on a GPU is not."""
        return sum(row.bytes for row in self.memory if row.where == "process")

    @property
    def gpu_bytes(self) -> int:
        """Most bytes at once on a GPU; 0 without one."""
        return sum(row.bytes for row in self.memory if row.where == "gpu")

    @property
    def seconds(self) -> float:
        """Of the whole plan with branches and evaluation."""
        return sum(row.seconds for row in self.times)

    @property
    def undisturbed_seconds(self) -> float:
        """The same where no other program has the processor meanwhile; as :attr:`seconds` where
        the system does not tell how long the probe waited.
        """
        return self.seconds * (1 - (self.probed.waited or 0.0))

    @property
    def kilowatt_hours(self) -> float | None:
        """None where no wattage is given."""
        return None if self.watts is None else self.watts * self.seconds / 3.6e6

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; bytes, seconds, tokens."""
        speeds = [
            {
                "sequence_length": length,
                "batch_windows": windows,
                "steps": len(speed.each),
                "seconds_per_step": speed.seconds,
                "half_width": speed.half_width,
                "tokens_per_second": speed.tokens_per_second,
            }
            for (length, windows), speed in self.probed.speeds.items()
        ]
        return {
            "batches": self.batches,
            "steps": self.plan.steps,
            "tokens": self.plan.tokens,
            "speeds": speeds,
            "waited": self.probed.waited,
            "memory": [asdict(row) for row in self.memory],
            "memory_bytes": self.memory_bytes,
            "gpu_bytes": self.gpu_bytes,
            "times": [asdict(row) for row in self.times],
            "seconds": self.seconds,
            "hours": self.seconds / 3600,
            "undisturbed_seconds": self.undisturbed_seconds,
            "checkpoints": self.checkpoints,
            "disk_bytes": self.disk_bytes,
            "free_bytes": self.free_bytes,
            "watts": self.watts,
            "kilowatt_hours": self.kilowatt_hours,
            "not_counted": list(self.unknown),
        }


@dataclass(frozen=True)
class _Planned:
    """A recipe as far as it can be planned: over shards, or by lengths alone."""

    ground: ShardGround | RandomGround
    branches: Mapping[str, Plan]
    tokenizer: Tokenizer | None

    @property
    def plan(self) -> Plan:
        return self.ground.plans[0]

    @property
    def batches(self) -> Batches:
        return "the run's shards" if isinstance(self.ground, ShardGround) else "random tokens"


def estimate_run(
    loaded: LoadedRecipe,
    runs: str = "runs",
    *,
    watts: float | None = None,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Estimate what :func:`pipelines.run.train_only.train_run` needs for a recipe, from the start
    to the end of its branches and scores. ``watts``: what the machine draws meanwhile. ``plan``:
    that which the training is to follow, instead of the run's.

    Raises: UserError where the recipe cannot be trained, and for a wattage that is none.
    """
    if watts is not None and not (isfinite(watts) and watts > 0):
        raise UserError(
            "a wattage is a number above 0",
            parameter="watts",
            found=watts,
            fix="give what the machine draws while it trains, in watts",
        )
    check_training(loaded)
    check_ahead(loaded)
    check_machine(loaded)
    store = Store(f"{runs.rstrip('/')}/{loaded.recipe.name}")
    planned, settings = _planned(loaded, store, plan), loaded.recipe.train
    progress = progress or Silent()
    with settled_threads(), tempfile.TemporaryDirectory(dir=_disk_of(store)) as scratch:
        probed = probe(planned.ground, settings, Path(scratch), progress)
    scoring = _scoring(loaded, planned)
    beside = len(planned.plan.to_json())
    beside += 0 if planned.tokenizer is None else len(planned.tokenizer.model)
    every = settings.checkpoint_every
    config = planned.ground.point.config
    kept, size = disk(config, planned.plan, planned.branches, every, beside)
    return Estimate(
        batches=planned.batches,
        plan=planned.plan,
        probed=probed,
        memory=memory_rows(config, settings, planned.plan, probed),
        times=time_rows(settings, planned.plan, planned.branches, probed, scoring),
        checkpoints=kept,
        disk_bytes=size,
        free_bytes=store.free_bytes(),
        watts=watts,
        unknown=tuple(_unknown(loaded, planned, probed, scoring)),
    )


def _planned(loaded: LoadedRecipe, store: Store, plan: Plan | None) -> _Planned:
    """Over the run's shards where it has some. Raises: UserError where they are of another recipe,
    or a plan is given and there are none.
    """
    record = read_record(store) if store.exists(RECORD) else {}
    if not record.get("shards"):
        if plan is not None:
            raise UserError(
                "a plan is followed over the shards that it pins, and this run has none yet",
                file=store.root,
                parameter="plan",
                fix=("leave ", Setting("plan"), " out, or make the shards"),
            )
        return _by_lengths(loaded)
    check_shards_are_of(loaded, record)
    materials = Materials.of(store, record)
    if plan is None:
        plan = edited_plan(store, plan_mixture(loaded, materials))
    else:
        check_followed(loaded, plan, materials)
    branches = plan_branches(loaded, materials, plan)
    measured = materials.held_out(*asked_of_held_out(plan, branches))
    point = starting_point(loaded, materials.tokenizer)
    ground = ShardGround(
        (plan, *branches.values()), point, loaded.recipe.train, materials, measured
    )
    return _Planned(ground, branches, materials.tokenizer)


def _by_lengths(loaded: LoadedRecipe) -> _Planned:
    """Over random tokens. Raises: UserError for a recipe without a mixture."""
    recipe = loaded.recipe
    mixture, train = recipe.mixture, recipe.train
    if mixture is None:
        raise loaded.file.error(
            ("mixture",),
            "this recipe trains no model, so there is nothing to estimate",
            fix="add mixture: {phases: [...]}; see docs/recipes.md",
        )
    model = given_model(loaded)
    tokenizer = None if model is None else Tokenizer.load(model)
    if tokenizer is not None:
        point = starting_point(loaded, tokenizer)
    else:
        pieces = (recipe.tokenizer or TokenizerSettings()).vocab_size
        try:
            point = StartingPoint(recipe.model.config(pieces), recipe.model)
        except UserError as error:
            raise error.relocated(loaded.place) from None
    vocabulary = point.config.vocab_size
    try:
        tokens = run_tokens(mixture.phases, mixture.tokens)
        lengths = train.sequence_length, train.batch_tokens
        plan = random_plan(mixture.phases, tokens, *lengths, vocabulary)
        stable = stable_steps(plan)
        branches = {
            entry.name: random_branch(plan, stable, entry.phases, tokens, vocabulary)
            for entry in recipe.branches
        }
        train.schedule_of(plan)
    except UserError as error:
        raise error.relocated(loaded.place) from None
    shown = {name for phase in mixture.phases for name in phase.shown}
    sources = len(shown) if recipe.shards.hold_out else 0
    return _Planned(
        RandomGround((plan, *branches.values()), point, train, sources), branches, tokenizer
    )


def _scoring(loaded: LoadedRecipe, planned: _Planned) -> float | None:
    """Seconds to score one ending on the recipe's tasks; None where there is no tokenizer yet."""
    asked = [one.task for one in asked_tasks(loaded)]
    if not asked:
        return 0.0
    if planned.tokenizer is None:
        return None
    window = max(context.sequence_length for context in planned.plan.contexts)
    return scoring_seconds(planned.ground.point, planned.tokenizer, asked, window)


def _unknown(
    loaded: LoadedRecipe, planned: _Planned, probed: Probed, scoring: float | None
) -> list[str]:
    """What the estimate leaves out."""
    said = []
    if loaded.recipe.prompts:
        said.append("what the model says after the prompts is not counted")
    if loaded.recipe.export is not None:
        said.append("the export is not counted")
    if scoring is None:
        said.append("the scores on tasks are not counted: there is no tokenizer yet")
    if probed.saving is None:
        said.append("writing checkpoints is not counted: the disk has no room to try one")
    if isinstance(planned.ground, RandomGround) and loaded.recipe.shards.hold_out:
        windows = loaded.recipe.train.validation_windows
        said.append(
            "held-out documents are not counted: there are no shards yet"
            if windows is None
            else f"held-out documents are taken for {windows:,} windows of each source"
        )
    return said


def _disk_of(store: Store) -> str | None:
    """The nearest folder above a run on its own disk; None for the system's where it lies on a
    store.
    """
    if not store.local:
        return None
    place = Path(os.path.abspath(store.base)).parent
    while not place.is_dir():
        place = place.parent
    return str(place) if os.access(place, os.W_OK) else None
