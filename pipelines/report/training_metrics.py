"""What a run's trainings left behind: plan, metrics and checkpoints of the recipe's ending and of
its branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from artifacts.books import unsealed
from artifacts.errors import Place, UserError
from artifacts.paths import Store
from mixtures.freeze.freeze import Plan, Segment
from mixtures.freeze.plan_table import table
from mixtures.inspect.accounting import realised
from mixtures.order.sound_plan import load_plan
from pipelines.report.held_out_loss import HeldOutLoss
from pipelines.report.seed_table import SeedTable, read_seed_tables
from trainer.checkpoints.paths import FOLDER, RESTORE, STATE, folder_name, step_of
from trainer.loop.metrics import FOLDER as METRICS
from trainer.loop.metrics import TIME, TRAIN, VALIDATION, damaged_line, read_series
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters

MAIN = "main"
Line = dict[str, Any]  # a line of a series, see trainer.loop.metrics
# what a report reads of a line, by series
_FIGURES: dict[str, dict[str, Any]] = {
    TRAIN: {
        **dict.fromkeys(("tokens", "targets", "lr"), (int, float)),
        "loss": (int, float, NoneType),
        "sources": dict,
    },
    VALIDATION: {"sources": dict},
    TIME: {"seconds": (int, float)},
}


@dataclass(frozen=True)
class Ending:
    """One training: the run itself (``main``), or a branch that left it after ``from_step``
    updates.

    ``train`` and ``validation`` are its own lines, those of a branch begin behind ``from_step``.
    ``plan`` is None where it is gone. ``seconds`` are those of the updates, ``peak_bytes`` the most
    memory of a process that made them (0 where it was not noted); ``checkpoints`` are the steps
    kept, ``checkpoint_bytes`` what they take.
    """

    name: str
    folder: str
    from_step: int
    plan: Plan | None
    train: tuple[Line, ...]
    validation: tuple[Line, ...]
    seconds: float
    peak_bytes: int
    checkpoints: tuple[int, ...]
    checkpoint_bytes: int

    @property
    def last_step(self) -> int:
        """Updates made, those before a branch left included."""
        return int(self.train[-1]["step"]) if self.train else self.from_step

    @property
    def last_loss(self) -> float | None:
        """Loss of the last step; None where there is none, or it had no targets."""
        return step_loss(self.train[-1]) if self.train else None

    @property
    def tokens(self) -> int:
        """Tokens its own updates showed."""
        return int(self.train[-1]["tokens"]) - self.tokens_at(self.from_step) if self.train else 0

    def tokens_at(self, step: int) -> int:
        """Tokens shown after so many updates, by the plan; where that is gone as if all steps were
        alike.
        """
        if self.plan is not None:
            return self.plan.tokens_before(min(step, self.plan.steps))
        return int(self.train[-1]["tokens"]) // self.last_step * step if self.train else 0

    @property
    def checkpoint(self) -> str | None:
        """Folder of the last checkpoint inside the run."""
        return f"{self.folder}/{folder_name(self.checkpoints[-1])}" if self.checkpoints else None

    def held_out(self, step: int) -> dict[str, HeldOutLoss]:
        """What was measured after so many updates, by source; empty when nothing was."""
        lines = [line for line in self.validation if line["step"] == step]
        found = lines[-1]["sources"] if lines else {}
        return {
            name: HeldOutLoss.of(value)
            for name, value in found.items()
            if value["loss"] is not None
        }


@dataclass(frozen=True)
class Trainings:
    """The trainings of a run. ``stable_steps``: updates before the decay; all of them where nothing
    decays. ``model``: its shape, as the last checkpoint says; None where that is gone.
    ``seed_tables``: comparisons of decays over seeds.
    """

    main: Ending
    branches: tuple[Ending, ...]
    stable_steps: int
    model: ModelConfig | None
    seed_tables: tuple[SeedTable, ...] = ()

    @property
    def parameters(self) -> int | None:
        return None if self.model is None else count_parameters(self.model).total

    @property
    def endings(self) -> tuple[Ending, ...]:
        return (self.main, *self.branches)

    @property
    def decays(self) -> bool:
        return self.stable_steps < self.main.last_step


@dataclass(frozen=True)
class SourceShare:
    """A source in a phase: what the recipe asked for, and what was shown.

    ``planned`` and ``realised`` are shares of the phase's tokens; ``targets`` are the tokens a loss
    was taken on, counted while training; ``epochs`` is how often the phase went through the source.
    """

    source: str
    planned: float
    planned_tokens: float
    realised: float
    tokens: int
    targets: int
    epochs: float


@dataclass(frozen=True)
class PhaseShares:
    """A phase of one ending, its steps counted from 1, and its sources."""

    ending: str
    phase: str
    first_step: int
    last_step: int
    tokens: int
    shares: tuple[SourceShare, ...]


def step_loss(line: Line) -> float | None:
    """Loss of a step; None where it had no targets, which older runs noted as 0."""
    loss: float | None = line["loss"] if line["targets"] else None
    return loss


def read_trainings(store: Store, record: dict[str, Any]) -> Trainings | None:
    """Everything the record's trainings left; None where the run has not trained, or its metrics
    are gone.
    """
    training = record.get("training")
    if not training:
        return None
    main = _ending(store, MAIN, training["folder"], 0, record["plan"])
    if not main.train:
        return None
    branches = []
    for name, facts in record.get("branches", {}).items():
        branches.append(_ending(store, name, facts["folder"], facts["from_step"], None))
    stable = _stable_steps(training["segments"], main.last_step)
    tables = read_seed_tables(store, training["folder"])
    return Trainings(main, tuple(branches), stable, _model(store, main), tables)


def _stable_steps(segments: Sequence[dict[str, Any]], steps: int) -> int:
    """Steps before the decay, all of them where nothing decays. Steps count from that of the first
    segment: 1, and 0 in the records of earlier releases.
    """
    decays = (segment["first_step"] for segment in segments if segment["decay"])
    decay = next(decays, None)
    return steps if decay is None else int(decay) - int(segments[0]["first_step"])


def phase_shares(ending: Ending) -> Iterator[PhaseShares]:
    """Planned against realised shares of every phase an ending has itself gone through."""
    plan = ending.plan
    if plan is None:
        return
    asked = {(row.phase, row.source): row for row in table(plan)}
    for name in dict.fromkeys(
        segment.name for segment in plan.segments if segment.first_step >= ending.from_step
    ):
        spans = [
            (part.first_step, min(part.last_step, ending.last_step))
            for part in plan.segments
            if part.name == name
        ]
        spans = [(first, last) for first, last in spans if ending.from_step <= first < last]
        if not spans:
            continue
        shown, targets = _shown(plan, spans), _targets(ending, spans)
        planned_in_all = (
            sum(row.asked_tokens for (phase, _), row in asked.items() if phase == name) or 1.0
        )
        shown_in_all = sum(shown.values()) or 1
        shares = [
            SourceShare(
                source.name,
                row.asked_tokens / planned_in_all,
                row.asked_tokens,
                shown[source.name] / shown_in_all,
                shown[source.name],
                targets.get(source.name, 0),
                shown[source.name] / row.available,
            )
            for source in plan.sources
            if (row := asked.get((name, source.name))) is not None
        ]
        yield PhaseShares(
            ending.name, name, spans[0][0] + 1, spans[-1][1], sum(shown.values()), tuple(shares)
        )


def stretches(segments: tuple[Segment, ...]) -> list[tuple[str, bool, int, int]]:
    """(name, decays, first step, step behind the last) of each phase; the parts of a ramp are
    one.
    """
    found: list[tuple[str, bool, int, int]] = []
    for segment in segments:
        if found and found[-1][:2] == (segment.name, segment.decay):
            found[-1] = (*found[-1][:3], segment.last_step)
        else:
            found.append((segment.name, segment.decay, segment.first_step, segment.last_step))
    return found


def _ending(store: Store, name: str, folder: str, from_step: int, plan: str | None) -> Ending:
    place = (
        Store(store.full(folder)) if store.local else Store(f"{store.root.rstrip('/')}/{folder}")
    )
    series = {kind: _series(place, kind) for kind in (TRAIN, VALIDATION, TIME)}
    step_by_file = {
        file: step
        for file in store.names(f"{folder}/{FOLDER}")
        if (step := step_of(file)) is not None
    }
    steps = sorted(step for file, step in step_by_file.items() if file.endswith(f"/{STATE}"))
    found = Ending(
        name=name,
        folder=folder,
        from_step=from_step,
        plan=None,
        train=series[TRAIN],
        validation=series[VALIDATION],
        seconds=sum(line["seconds"] for line in series[TIME]),
        peak_bytes=max((line.get("peak_bytes", 0) for line in series[TIME]), default=0),
        checkpoints=tuple(steps),
        checkpoint_bytes=sum(store.size(file) or 0 for file in step_by_file),
    )
    return _with_plan(
        store, found, plan or (f"{found.checkpoint}/plan.json" if found.checkpoint else None)
    )


def _series(store: Store, kind: str) -> tuple[Line, ...]:
    """The lines of a series. Raises: UserError for one without the figures that a report reads."""
    lines = tuple(read_series(store, kind))
    for line in lines:
        if not all(
            name in line and isinstance(line[name], types) for name, types in _FIGURES[kind].items()
        ):
            raise damaged_line(store, f"{METRICS}/{kind}.jsonl", line)
        for value in line.get("sources", {}).values():
            if not isinstance(value, dict) or not {"loss", "tokens"} <= value.keys():
                raise damaged_line(store, f"{METRICS}/{kind}.jsonl", line)
    return lines


def _with_plan(store: Store, ending: Ending, name: str | None) -> Ending:
    if name is None or not store.exists(name):
        return ending
    plan = (
        load_plan(store.full(name)) if store.local else Plan.model_validate_json(store.read(name))
    )
    return Ending(**{**ending.__dict__, "plan": plan})


def _model(store: Store, ending: Ending) -> ModelConfig | None:
    """The shape of the model, from what its last checkpoint says of itself."""
    if ending.checkpoint is None:
        return None
    name = f"{ending.checkpoint}/state.json"
    try:
        return ModelConfig.from_dict(unsealed(store.read(name))["model"])
    except UserError as error:
        raise error.relocated(lambda address: Place(address, file=store.full(name))) from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "the checkpoint is damaged", file=store.full(name), found=error, fix=RESTORE
        ) from None


def _shown(plan: Plan, spans: list[tuple[int, int]]) -> dict[str, int]:
    """Tokens of each source in these steps."""
    shown = dict.fromkeys(plan.names, 0)
    for first, last in spans:
        for before, after in zip(realised(plan, first), realised(plan, last), strict=True):
            shown[after.source] += after.tokens - before.tokens
    return shown


def _targets(ending: Ending, spans: list[tuple[int, int]]) -> dict[str, int]:
    """Target tokens the trainer counted in these steps."""
    counted: dict[str, float] = {}
    for line in ending.train:
        if any(first < line["step"] <= last for first, last in spans):
            for name, value in line["sources"].items():
                counted[name] = counted.get(name, 0.0) + value["tokens"]
    return {name: round(value) for name, value in counted.items()}
