"""What a checkpoint says of itself: ``state.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from artifacts.books import sealed
from artifacts.fingerprints import canonical_json
from artifacts.records import Record
from trainer.optimizer.rule import UpdateCount

FORMAT = "checkpoint/1"

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
"""A name inside the folder of a checkpoint."""


class FileRecord(Record):
    """A file of a checkpoint: its length and the xxh3_128 of its bytes, 32 hex digits."""

    bytes: int = Field(ge=0)
    checksum: str = Field(pattern=r"^[0-9a-f]{32}$")


class Stretch(Record):
    """Updates made in one go: from which step on, under which plan, by which software."""

    from_step: int = Field(ge=0)
    plan_hash: str
    source_digest: str
    software: dict[str, str]
    threads: int


class Imported(Record):
    """Where a model is from that was not trained here: the ``layout`` its files had, and the
    longest text, in tokens, that they say it is meant for. ``folded``: its multipliers are in the
    weights, so that the learning rates of the parameterisation are not its own.
    """

    layout: str
    context: int = Field(ge=1)
    folded: bool = False


class CheckpointState(Record):
    """What a checkpoint is. ``settings`` and ``model`` are those of :mod:`trainer.loop.settings`,
    resolved.

    ``tokens`` counts the window tokens shown so far. ``asked`` is False for a checkpoint written
    because the run was stopped between two that were asked for; it is removed when the next one is
    there. ``parent`` is what the training started from: of a branch the step of its checkpoint and
    the checksum of its weights; of weights alone ``"past": false`` besides, and the step where it
    is known; ``"moments": true`` where the optimizer went on with theirs. ``spikes`` is kept for a
    spike rule. ``objective`` is what was minimised, by name and settings; next-token prediction is
    None and not written. ``optimizer`` says how many updates counted and by which rule; None where
    a checkpoint was made before it was recorded. ``imported`` says where a model is from that was
    not trained here: it has no plan, schedule or settings.
    """

    format: Literal["checkpoint/1"] = "checkpoint/1"
    step: int = Field(ge=0)
    tokens: int = Field(ge=0)
    plan_hash: str
    history: tuple[Stretch, ...]
    schedule: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    tokenizer_hash: str
    seeds: dict[str, int]
    asked: bool = True
    parent: dict[str, Any] | None = None
    spikes: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    optimizer: UpdateCount | None = None
    imported: Imported | None = None
    files: dict[FileName, FileRecord] = Field(default_factory=dict)

    @property
    def counted(self) -> UpdateCount:
        """How many updates counted and by which rule, also where that is not recorded."""
        return self.optimizer or UpdateCount(rule=1, updates=self.step)

    def to_json(self) -> bytes:
        """Canonical JSON with a checksum of itself, one line."""
        facts = self.model_dump(mode="json")
        for name in ("objective", "optimizer", "imported"):
            if facts[name] is None:
                del facts[name]
        return canonical_json(sealed(facts)) + b"\n"
