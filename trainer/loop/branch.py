"""Decay one stable checkpoint in several ways and compare: same start, same number of tokens,
another mixture each.

    stable = "runs/quickstart/checkpoints/step-00000300"
    comparison = branch(stable, {"web": [web_decay], "mixed": [mixed_decay]}, ...)
    for row in comparison.rows(): ...

Each branch is a run of its own under ``output/NAME``: weights, moments and the plan's past are
those of the checkpoint, the phases after it are the branch's. MiniCPM's evidence for putting
instruction data into the decay is a comparison of this form (arXiv 2404.06395, Table 1); there
without token counts, here with equal ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze import freeze as plans
from mixtures.freeze.freeze import Plan
from mixtures.parts.open_parts import open_shards
from mixtures.spec.spec import PhaseSpec
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, load
from trainer.checkpoints.recorded import model_config, plan_of
from trainer.checkpoints.recorded import schedule as recorded_schedule
from trainer.checkpoints.weights import model_of
from trainer.devices.precision import DTYPES, device_of
from trainer.evaluation.held_out import Measured, held_out
from trainer.loop.board import BoardRun
from trainer.loop.fits import check_objective
from trainer.loop.recorded import train_settings
from trainer.loop.run import StepReport
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.loop.training import Folders, TrainOutcome, train
from trainer.objectives.contract import rows_together
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import Measure, Objective, record_of
from trainer.shapes.config import ModelConfig

START = "start"


@dataclass(frozen=True)
class Comparison:
    """Held-out losses: ``measured[branch][source]`` as the objective measures, the branch ``start``
    being the checkpoint itself; ``outcomes`` by branch.
    """

    step: int
    tokens: int
    measured: Mapping[str, Mapping[str, Measured[Any]]]
    outcomes: Mapping[str, TrainOutcome]

    @property
    def losses(self) -> dict[str, dict[str, Measure]]:
        """What each source came to in all, by branch."""
        return {
            name: {source: found.whole for source, found in sources.items()}
            for name, sources in self.measured.items()
        }

    @property
    def stopped_by(self) -> str | None:
        """The signal that ended the comparison early, None when every branch came to its end."""
        return next(
            (outcome.stopped_by for outcome in self.outcomes.values() if outcome.stopped_by), None
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row per branch and held-out source: the loss (of next-token prediction nats per token,
        with bits per byte), and its change against the start; None where there is no loss.
        """
        facts = {
            name: {source: measure.to_json() for source, measure in losses.items()}
            for name, losses in self.losses.items()
        }
        return [
            {
                "branch": name,
                "source": source,
                **found,
                "tokens": 0 if name == START else self.tokens,
                "change": _change(facts[START][source]["loss"], found["loss"]),
            }
            for name, losses in facts.items()
            for source, found in losses.items()
        ]


def branch(
    checkpoint: Checkpoint | str | os.PathLike[str],
    mixtures: Mapping[str, Sequence[PhaseSpec]],
    folders: Folders,
    output: str | os.PathLike[str],
    *,
    validation: Folders,
    settings: TrainSettings | None = None,
    objective: Objective[Any] | None = None,
    on_step: Callable[[str, StepReport], None] | None = None,
) -> Comparison:
    """Train each branch to its end and measure all on the same held-out windows; a second call goes
    on where one was stopped.

    ``mixtures``: the phases of each branch by name. ``folders`` and ``validation``: shard folders
    by source. ``settings``: default those of the checkpoint; what concerns the past must agree with
    it. ``objective``: that of the checkpoint, default the loss on the next token. Raises: UserError
    when the checkpoint has begun to decay, when branches differ in tokens, and as
    :func:`trainer.loop.training.train`.
    """
    start = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
    check_stable(start)
    plans = {name: branch_plan(start, phases, folders, name) for name, phases in mixtures.items()}
    return compare(
        start,
        plans,
        folders,
        output,
        validation=validation,
        settings=settings,
        objective=objective,
        on_step=on_step,
    )


def compare(
    start: Checkpoint,
    plans: Mapping[str, Plan],
    folders: Folders,
    output: str | os.PathLike[str],
    *,
    validation: Folders,
    settings: TrainSettings | None = None,
    objective: Objective[Any] | None = None,
    on_step: Callable[[str, StepReport], None] | None = None,
    boards: Mapping[str, BoardRun | None] | None = None,
) -> Comparison:
    """Train the branches of these plans, each of which agrees with the checkpoint's up to its step.

    ``boards``: where events for TensorBoard go, by branch. Other arguments and errors are those of
    :func:`branch`.
    """
    check_stable(start)
    check_objective(start, None if objective is None else record_of(objective))
    rule = train_settings(start).validation_rule
    chosen = (settings or train_settings(start)).without_ends().measuring_by(rule)
    tokenizer = Tokenizer.load(start.read(TOKENIZER))
    tokens = equal_tokens(plans, start)
    model = model_settings(model_config(start))
    measure = _measure(validation, tokenizer, chosen, objective)
    losses = {START: measure(start)}
    outcomes = {}
    for name, plan in plans.items():
        report = None if on_step is None else _named(on_step, name)
        outcomes[name] = train(
            plan,
            folders,
            model,
            chosen,
            Store(f"{os.fspath(output)}/{name}"),
            tokenizer,
            validation=validation,
            start=start,
            objective=objective,
            on_step=report,
            board=(boards or {}).get(name),
        )
        if outcomes[name].stopped_by is not None:
            break
        losses[name] = measure(outcomes[name].checkpoint)
    return Comparison(start.state.step, tokens, losses, outcomes)


def end(
    start: Checkpoint,
    plan: Plan,
    folders: Folders,
    output: Store,
    *,
    validation: Folders,
    settings: TrainSettings,
    on_step: Callable[[StepReport], None] | None = None,
    board: BoardRun | None = None,
) -> tuple[TrainOutcome, dict[str, Measured[Any]]]:
    """Train one branch to its end, or go on with it, and measure it; nothing is measured where a
    signal stopped it. Errors are those of :func:`branch`.
    """
    chosen = settings.without_ends()
    tokenizer = Tokenizer.load(start.read(TOKENIZER))
    outcome = train(
        plan,
        folders,
        model_settings(model_config(start)),
        chosen,
        output,
        tokenizer,
        validation=validation,
        start=start,
        on_step=on_step,
        board=board,
    )
    if outcome.stopped_by is not None:
        return outcome, {}
    return outcome, _measure(validation, tokenizer, chosen, None)(outcome.checkpoint)


def measured_at(
    start: Checkpoint, validation: Folders, settings: TrainSettings
) -> dict[str, Measured[Any]]:
    """What a checkpoint measures, as :func:`end` measures the branches that leave it."""
    tokenizer = Tokenizer.load(start.read(TOKENIZER))
    return _measure(validation, tokenizer, settings, None)(start)


def branch_plan(
    start: Checkpoint,
    phases: Sequence[PhaseSpec],
    folders: Folders,
    name: str | None = None,
    ahead: int = 0,
) -> Plan:
    """The checkpoint's plan up to its step, then ``phases``, those of the branch ``name``.
    ``ahead``: how many seeds of it come before (:mod:`mixtures.freeze.decay_seeds`).
    """
    plan = plan_of(start)
    opened = {source: open_shards(os.fspath(folder)) for source, folder in folders.items()}
    return plans.branch(plan, start.state.step, list(phases), opened, name, ahead)


def model_settings(config: ModelConfig) -> ModelSettings:
    """Settings that give exactly this shape."""
    return ModelSettings.model_validate(config.as_dict())


def check_stable(start: Checkpoint) -> None:
    """Raises: UserError when the learning rate has begun to fall, or the schedule has no stable
    stage.
    """
    schedule = recorded_schedule(start)
    if schedule.kind not in ("wsd", "constant"):
        raise UserError(
            "only a run with a stable stage can be branched",
            file=start.folder,
            field="schedule.kind",
            found=schedule.kind,
            allowed=["wsd", "constant"],
        )
    if schedule.decay_start is not None and start.state.step > schedule.decay_start:
        raise UserError(
            "this checkpoint has begun to decay",
            file=start.folder,
            field="step",
            found=start.state.step,
            allowed=[f"up to {schedule.decay_start}, where the decay starts"],
            fix="branch from a stable checkpoint",
        )


def equal_tokens(branches: Mapping[str, Plan], start: Checkpoint) -> int:
    """Tokens after the checkpoint, the same for all. Raises: UserError when they differ or a name
    cannot be a folder.
    """
    for name in branches:
        if name == START or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UserError(
                "not a name for a branch",
                field="mixtures",
                found=name,
                fix="use letters, digits, dots and dashes; start is taken",
            )
    counts = {
        name: plan.tokens - plan.tokens_before(start.state.step) for name, plan in branches.items()
    }
    if len(set(counts.values())) != 1:
        raise UserError(
            "branches are compared at equal tokens",
            field="mixtures",
            found=counts or "no branch",
            fix="give the phases of every branch the same tokens in all",
        )
    return next(iter(counts.values()))


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _measure(
    validation: Folders,
    tokenizer: Tokenizer,
    settings: TrainSettings,
    objective: Objective[Any] | None,
) -> Callable[[Checkpoint], dict[str, Measured[Any]]]:
    minimised = NextToken.of(tokenizer) if objective is None else objective
    windows = held_out(
        validation,
        tokenizer,
        sequence_length=settings.sequence_length,
        windows=settings.validation_windows,
        rows=settings.micro_batch_windows,
        together=rows_together(minimised),
        rule=settings.validation_rule,
    )

    def measure(checkpoint: Checkpoint) -> dict[str, Measured[Any]]:
        place, precision = device_of(settings.device), DTYPES[settings.resolved_precision]
        return windows.measure(model_of(checkpoint, place, precision), minimised)

    return measure


def _named(on_step: Callable[[str, StepReport], None], name: str) -> Callable[[StepReport], None]:
    return lambda report: on_step(name, report)
