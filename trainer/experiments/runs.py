"""A run of an experiment as data: what differs from the base recipe, and what it goes on from.

    stable = RunSpec(model={"width": 64}, seed=1, phases=(stable_phase,))
    ending = stable.ended((decay,), from_step=300)
    again = ending.continued((stable_phase, decay), from_step=330)    # at the full rate once more
    plateau = stable.measured_at(330)                                 # trained no further
    preview = stable.merged_at((300, 310, 320, 330), DecaySpec(shape="linear"))

Two runs are the same run when their :attr:`RunSpec.identity` is; what an experiment calls them
(:class:`Point`) does not count. Where shards, tokenizer and machine are known, a run gets the key
under which it is kept (:mod:`pipelines.studies.keys`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, model_validator

from artifacts.fingerprints import canonical_json
from artifacts.records import Record
from mixtures.spec.phase import PhaseSpec
from trainer.optimizer.schedules import DecaySpec

Label = str | int | float
Labels = Mapping[str, Label]


Step = Annotated[int, Field(ge=0)]


class Merge(Record):
    """Weights of a run's checkpoints at ``steps``, ascending, summed so that they stand for a decay
    over that span (:mod:`trainer.optimizer.merge_coefficients`); of one step that checkpoint.
    """

    steps: tuple[Step, ...] = Field(min_length=1)
    decay: DecaySpec | None = None

    @model_validator(mode="after")
    def _ascends(self) -> Merge:
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps {self.steps} of a merge do not ascend")
        if (len(self.steps) > 1) != (self.decay is not None):
            raise ValueError("several checkpoints are merged by the shape of a decay, one is not")
        return self


class RunSpec(Record):
    """A training, the ending of one from a stable checkpoint of ``parent``, a training that goes on
    after one, or checkpoints of one measured as they are.

    ``model`` and ``train`` are what differs from the base recipe's parts of these names; a part in
    them, as ``schedule``, is merged into the base's. ``seed`` draws the weights and keys the order
    of data. ``phases`` follow ``from_step`` steps of the parent, whose model, seed and batches they
    have; ``ahead`` says how many of its own lengths further on in every source an ending begins
    (:func:`mixtures.freeze.freeze.branch`). ``cap``: how often a source may be shown, None for any.
    ``probes``: settings of what is measured on the way, by the probe's name.

    ``anew``: the parent's weights and moments and the data that it has not shown, under a schedule
    that begins again (:mod:`mixtures.freeze.sequel`); steps count from 0. ``merge``: nothing is
    trained; checkpoints of the parent are merged and measured.
    """

    model: dict[str, Any] = {}
    train: dict[str, Any] = {}
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    phases: tuple[PhaseSpec, ...] = ()
    parent: RunSpec | None = None
    from_step: Step = 0
    ahead: Annotated[int, Field(ge=0)] = 0
    cap: int | None = 1
    probes: dict[str, dict[str, Any]] = {}
    anew: bool = False
    merge: Merge | None = None

    @model_validator(mode="after")
    def _is_one_of_these(self) -> RunSpec:
        if bool(self.phases) == (self.merge is not None):
            raise ValueError("a run has phases, or checkpoints to merge")
        if self.parent is None and (self.anew or self.merge is not None):
            raise ValueError("a run that goes on after another, or merges it, has a parent")
        return self

    @cached_property
    def identity(self) -> str:
        """Canonical JSON of everything that it says."""
        return canonical_json(self.model_dump(mode="json", exclude_defaults=True)).decode()

    @property
    def ancestors(self) -> Iterator[RunSpec]:
        """The run it goes on from, the one that goes on from, and so on."""
        run = self.parent
        while run is not None:
            yield run
            run = run.parent

    @property
    def depth(self) -> int:
        """How many runs have to be made before it."""
        return sum(1 for _ in self.ancestors)

    @property
    def starts(self) -> tuple[int, ...]:
        """Steps of the parent whose checkpoints it needs."""
        if self.parent is None:
            return ()
        return (self.from_step,) if self.merge is None else self.merge.steps

    @property
    def tokens(self) -> int:
        """Tokens that its own phases ask for."""
        return sum(phase.tokens or 0 for phase in self.phases)

    def ended(self, phases: tuple[PhaseSpec, ...], from_step: int, **changes: Any) -> RunSpec:
        """An ending of this run from its step ``from_step``; ``changes`` are of its other
        fields.
        """
        facts: dict[str, Any] = {
            **{"model": self.model, "train": self.train, "seed": self.seed, "cap": self.cap},
            **changes,
        }
        return RunSpec(**facts, phases=phases, parent=self, from_step=from_step)

    def continued(self, phases: tuple[PhaseSpec, ...], from_step: int, **changes: Any) -> RunSpec:
        """A training that goes on after ``from_step`` steps of this one, decayed or not, under a
        schedule that begins again; ``changes`` as in :meth:`ended`.
        """
        return self.ended(phases, from_step, anew=True, **changes)

    def measured_at(self, step: int) -> RunSpec:
        """The checkpoint of this run at a step, measured."""
        return self.ended((), step, merge=Merge(steps=(step,)))

    def merged_at(self, steps: tuple[int, ...], decay: DecaySpec) -> RunSpec:
        """The merge of this run's stable checkpoints at these steps, measured."""
        return self.ended((), steps[-1], merge=Merge(steps=steps, decay=decay))


@dataclass(frozen=True)
class Point:
    """A run in the words of an experiment: its place in the design, as width, rate and seed."""

    labels: Labels
    run: RunSpec = field(compare=False)

    def at(self, **labels: Label) -> bool:
        """Whether it has these labels."""
        return all(self.labels.get(name) == value for name, value in labels.items())


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes, those of parts merged part by part.

    >>> merged({"seed": 1, "schedule": {"kind": "wsd", "peak": 0.01}}, {"schedule": {"peak": 0.02}})
    {'seed': 1, 'schedule': {'kind': 'wsd', 'peak': 0.02}}
    """
    both = dict(base)
    for name, value in changes.items():
        before = both.get(name)
        nested = isinstance(value, Mapping) and isinstance(before, Mapping)
        both[name] = merged(before, value) if nested else value  # type: ignore[arg-type]
    return both
