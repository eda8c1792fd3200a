"""A design: which runs answer a question, and what their outcomes say. Pure; nothing here trains.

A design is a frozen record of settings with a ``kind``. It is asked again and again which runs it
wants, given the outcomes so far, until it wants no other: a grid says all at once, a search says a
few more each time. Because the answer is a function of settings and outcomes, an experiment that
was killed goes on to the same runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import model_validator

from artifacts.errors import UserError
from artifacts.records import Record
from artifacts.settings import Part
from mixtures.spec.phase import PhaseSpec
from trainer.experiments.findings import Findings
from trainer.experiments.outcomes import Outcome, Primary
from trainer.experiments.runs import Label, Point, RunSpec
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.shapes.config import ModelConfig

Made = Callable[[RunSpec], Outcome | None]
"""What a run left; None where it is not made yet."""


@dataclass(frozen=True)
class Base:
    """What a design may know of the base recipe: its model, training and mixture, how many tokens
    every source has, and the vocabulary. ``loss_margin``: a difference of losses that matters.
    ``measured``: sources of which documents are held out.
    """

    model: ModelSettings
    train: TrainSettings
    stable: PhaseSpec
    decay: PhaseSpec | None
    available: Mapping[str, int]
    vocab_size: int
    primary: Primary
    loss_margin: float = 0.02
    measured: tuple[str, ...] = ()

    def config(self, run: RunSpec) -> ModelConfig:
        """The shape of a run's model. Raises: UserError when it cannot be built."""
        settings = {**self.model.model_dump(exclude_none=True), **run.model}
        return ModelSettings.model_validate(settings).config(self.vocab_size)

    def batch_tokens(self, run: RunSpec) -> int:
        """Tokens of a step of a run."""
        return int(run.train.get("batch_tokens", self.train.batch_tokens))

    def stable_phase(self, tokens: int, name: str = "stable") -> PhaseSpec:
        """So many tokens of the stable mixture."""
        return self.stable.model_copy(update=_length(name, tokens, decay=False))

    def decay_phase(self, tokens: int, name: str = "decay") -> PhaseSpec:
        """So many tokens at the decay's rates, of the recipe's decay mixture; of its stable one
        where it has none.
        """
        return (self.decay or self.stable).model_copy(update=_length(name, tokens, decay=True))

    def plain_decay(self, tokens: int, name: str = "decay") -> PhaseSpec:
        """So many tokens at the decay's rates, of the stable mixture."""
        return self.stable.model_copy(update=_length(name, tokens, decay=True))


def _length(name: str, tokens: int, *, decay: bool) -> dict[str, object]:
    if tokens <= 0:
        raise UserError(
            "the tokens of a run leave none for one of its phases",
            field="design",
            found=f"{tokens} tokens in the phase {name}",
            allowed=["at least a batch in each phase"],
            fix="give the design more tokens, or another share of decay",
        )
    return {"name": name, "tokens": tokens, "percent": None, "decay": decay, "ramp_tokens": 0}


@dataclass(frozen=True)
class Measured:
    """A point of a design and what its run left; ``seconds`` its steps took, None where it was made
    elsewhere.
    """

    point: Point
    outcome: Outcome
    seconds: float | None = None

    def __getitem__(self, label: str) -> Label:
        return self.point.labels[label]


class Design(Part):
    """Settings of one kind of experiment."""

    kind: ClassVar[str]
    summary: ClassVar[str]
    """What it answers, in a few words."""

    @model_validator(mode="after")
    def _seeds_stand_once(self) -> Self:
        """A seed twice is one run, which would count as two."""
        for address, seeds in _seeds_of(self, ("design",)):
            if len(set(seeds)) < len(seeds):
                raise UserError(
                    "a seed stands twice, and is one run",
                    field=address,
                    found=list(seeds),
                    fix=f"write {sorted(set(seeds))}",
                )
        return self

    @property
    def grows(self) -> bool:
        """Whether it may want further points when those wanted so far are made."""
        return False

    @abstractmethod
    def points(self, base: Base, made: Made) -> list[Point]:
        """All points wanted so far, those that are made included. A parent need not be named."""

    @abstractmethod
    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        """What the outcomes of all points say."""

    def files(self, base: Base, measured: Sequence[Measured]) -> dict[str, bytes]:
        """Further files by name, for other programs, as the experiment's folder gets them."""
        return {}


def _seeds_of(
    value: object, address: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Sequence[int]]]:
    """Lists of seeds in settings, with their addresses."""
    entries: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Record):
        entries = value
    elif isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, tuple):
        entries = enumerate(value)
    for name, inner in entries:
        if isinstance(inner, tuple) and str(name).endswith("seeds"):
            yield (*address, name), inner
        else:
            yield from _seeds_of(inner, (*address, name))


def with_parents(points: Iterable[Point]) -> Iterator[RunSpec]:
    """The runs of points and those they go on from, each once, parents first."""
    seen: set[str] = set()
    for point in points:
        for run in [*reversed([*point.run.ancestors]), point.run]:
            if run.identity not in seen:
                seen.add(run.identity)
                yield run


def whole_batches(tokens: float, batch: int) -> int:
    """Tokens rounded up to whole batches."""
    return -int(-tokens // batch) * batch
