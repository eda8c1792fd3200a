"""A run of an experiment as data: what differs from the base recipe, and what it goes on from.

    stable = RunSpec(model={"width": 64}, seed=1, phases=(stable_phase,))
    ending = RunSpec(model={"width": 64}, seed=1, phases=(decay,), parent=stable, from_step=300)

Two runs are the same run when their :attr:`RunSpec.identity` is; what an experiment calls them
(:class:`Point`) does not count. Where shards, tokenizer and machine are known, a run gets the key
under which it is kept (:mod:`pipelines.studies.keys`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from artifacts.fingerprints import canonical_json
from artifacts.records import Record
from mixtures.spec.phase import PhaseSpec

Label = str | int | float
Labels = Mapping[str, Label]


class RunSpec(Record):
    """A training, or the ending of one from a stable checkpoint of ``parent``.

    ``model`` and ``train`` are what differs from the base recipe's parts of these names; a part in
    them, as ``schedule``, is merged into the base's. ``seed`` draws the weights and keys the order
    of data. ``phases`` follow ``from_step`` steps of the parent, whose model, seed and batches they
    have; ``ahead`` says how many of its own lengths further on in every source an ending begins
    (:func:`mixtures.freeze.freeze.branch`). ``cap``: how often a source may be shown, None for any.
    ``probes``: settings of what is measured on the way, by the probe's name.
    """

    model: dict[str, Any] = {}
    train: dict[str, Any] = {}
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    phases: tuple[PhaseSpec, ...] = Field(min_length=1)
    parent: RunSpec | None = None
    from_step: Annotated[int, Field(ge=0)] = 0
    ahead: Annotated[int, Field(ge=0)] = 0
    cap: int | None = 1
    probes: dict[str, dict[str, Any]] = {}

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
