"""Runs made ready: a frozen plan and whole settings of each, and the key under which it is kept.

The key holds what decides a run's figures: plan (and with it shards, order and shares), model,
settings, what it goes on from, what it is measured on, number of threads, version of torch, and the
written versions of training arithmetic and optimizer (:mod:`trainer.loop.arithmetic`,
:mod:`trainer.optimizer.rule`). The digest of the source is not in it but in the line: most changes
of code change no bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from artifacts.errors import UserError
from artifacts.fingerprints import content_key
from artifacts.settings import key_settings
from mixtures.freeze.freeze import Plan, branch, freeze
from mixtures.freeze.sequel import sequel
from mixtures.spec.spec import MixtureSpec
from pipelines.studies.base import Ground, held_out_digests
from trainer.costs.compute_costs import exact_flops_per_token
from trainer.experiments.runs import RunSpec, merged
from trainer.loop.arithmetic import ARITHMETIC
from trainer.loop.provenance import processor
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.optimizer.merge_coefficients import merge_coefficients
from trainer.optimizer.rule import OPTIMIZER_RULE
from trainer.shapes.config import ModelConfig

NOT_IN_KEYS = ("checkpoint_every", "tensorboard", "threads")
"""Settings of training that decide no figure, and the threads, which stand beside them."""


@dataclass(frozen=True)
class Prepared:
    """A run that can be made. ``train`` has its schedule as the recipe would say it."""

    run: RunSpec
    key: str
    plan: Plan
    config: ModelConfig
    train: TrainSettings
    parent: Prepared | None

    @property
    def model(self) -> ModelSettings:
        """Settings that give exactly the shape."""
        return ModelSettings.model_validate(self.config.as_dict())

    @property
    def first_step(self) -> int:
        """The step of its plan before which nothing is its own: the last of checkpoints that are
        only measured.
        """
        return 0 if self.run.anew else self.run.from_step

    @property
    def last_step(self) -> int:
        """The step of its plan at which it ends."""
        return self.plan.steps if self.run.merge is None else self.first_step

    @property
    def before(self) -> int:
        """Tokens that were shown before the first step of its plan."""
        if self.parent is None:
            return 0
        shown = self.parent.plan.tokens_before(self.run.from_step) if self.run.anew else 0
        return self.parent.before + shown

    @property
    def own_tokens(self) -> int:
        """Tokens of its own steps."""
        return self.plan.tokens_before(self.last_step) - self.plan.tokens_before(self.first_step)

    @property
    def operations(self) -> float:
        """Floating-point operations of its own steps."""
        each = exact_flops_per_token(self.config, self.train.sequence_length)
        return float(each * self.own_tokens)

    def settings(self) -> dict[str, Any]:
        """What a line says of the run."""
        facts = {
            "model": self.config.recorded(),
            "train": self.train.model_dump(mode="json", exclude=set(NOT_IN_KEYS)),
            "seed": self.run.seed,
            "phases": [
                phase.model_dump(mode="json", exclude_defaults=True) for phase in self.run.phases
            ],
            "from_step": self.run.from_step,
            "ahead": self.run.ahead,
            "probes": self.run.probes,
        }
        return {**facts, **self.further}

    @property
    def further(self) -> dict[str, Any]:
        """What keys and lines say of runs that are no trainings from a seed or endings of one."""
        facts: dict[str, Any] = {"anew": True} if self.run.anew else {}
        if self.run.merge is not None:
            facts["merge"] = {
                **self.run.merge.model_dump(mode="json", exclude_defaults=True),
                "coefficients": self.coefficients,
            }
        return facts

    @property
    def coefficients(self) -> list[float]:
        """By which the checkpoints that are merged count."""
        merge = self.run.merge
        if merge is None or merge.decay is None:
            return [1.0]
        return [*merge_coefficients(merge.decay, merge.steps)]


class Preparing:
    """Makes runs of one ground ready, each once. ``threads``: of each."""

    def __init__(self, ground: Ground, threads: int) -> None:
        import torch

        self._ground, self._threads = ground, threads
        self._sources = ground.materials.sources()
        self._fixed = {
            "held_out": held_out_digests(ground.held_out),
            "threads": threads,
            "torch": torch.__version__,
            "arithmetic": ARITHMETIC,
            "optimizer": OPTIMIZER_RULE,
        }
        self._made: dict[str, Prepared] = {}

    @property
    def provenance(self) -> dict[str, Any]:
        """What every line says of how its run was computed."""
        tokenizer = self._ground.materials.tokenizer.hash
        return {
            **{name: value for name, value in self._fixed.items() if name != "held_out"},
            "tokenizer": tokenizer,
            "processor": processor(),
        }

    def all_of(self, runs: Iterable[RunSpec]) -> list[Prepared]:
        """In the order given."""
        return [self.of(run) for run in runs]

    def of(self, run: RunSpec) -> Prepared:
        """Raises: UserError for a plan that cannot be met, or settings that are not valid."""
        if run.identity not in self._made:
            self._made[run.identity] = self._prepared(run)
        return self._made[run.identity]

    def _prepared(self, run: RunSpec) -> Prepared:
        parent = None if run.parent is None else self.of(run.parent)
        config = self._ground.base.config(run)
        train = self._train(run)
        plan = self._trunk(run, train) if parent is None else self._after(run, parent)
        train.schedule_of(plan)
        made = Prepared(run, "", plan, config, train, parent)
        key = content_key(
            {
                "plan": plan.hash,
                "model": key_settings(config),
                "train": key_settings(train, NOT_IN_KEYS),
                "parent": None if parent is None else [parent.key, run.from_step],
                "probes": run.probes,
                **made.further,
                **self._fixed,
            }
        )
        return replace(made, key=key)

    def _train(self, run: RunSpec) -> TrainSettings:
        own = {"seed": run.seed, "threads": self._threads, "tensorboard": False}
        plain = self._ground.base.train.model_dump(mode="json")
        try:
            return TrainSettings.model_validate({**merged(plain, run.train), **own})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UserError(
                f"settings of a run are not valid: {first['msg']}",
                field=".".join(["train", *map(str, first["loc"])]),
                found=first["input"],
                fix="correct the design, or the base recipe's train",
            ) from None

    def _trunk(self, run: RunSpec, train: TrainSettings) -> Plan:
        materials = self._ground.materials
        spec = MixtureSpec(phases=run.phases, max_repetitions=run.cap)
        return freeze(
            spec,
            self._sources,
            sequence_length=train.sequence_length,
            batch_tokens=train.batch_tokens,
            seed=run.seed,
            bos_id=materials.tokenizer.bos_id,
        )

    def _after(self, run: RunSpec, parent: Prepared) -> Plan:
        if run.merge is not None:
            return parent.plan
        if run.anew:
            return sequel(parent.plan, run.from_step, list(run.phases), self._sources)
        return branch(parent.plan, run.from_step, list(run.phases), self._sources, ahead=run.ahead)
