"""`windtunnel branch` with a length, a shape or seeds of its decays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.commands.options import print_json, print_table

if TYPE_CHECKING:
    from mixtures.plan.format import Plan
    from mixtures.spec.decay_length import DecayLength
    from pipelines.training.seed_branches import SeedsAsked
    from trainer.checkpoints.checkpoint import Checkpoint


def branch_seeds(
    start: Checkpoint,
    mixtures: Mapping[str, Path],
    store: Store,
    record: dict[str, Any],
    place: str | None,
    *,
    decay: str | None,
    shape: str | None,
    seeds: int,
    workers: int | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Decay a checkpoint by several mixtures over several seeds; the run's report shows them where
    ``place`` is None, beside the run's checkpoints.
    """
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.commands.terminal.seeds import seeds_json, seeds_rows
    from pipelines.report.page import write_report
    from pipelines.training.materials import Materials
    from pipelines.training.seed_branches import compare_seeds

    asked = _asked(start, mixtures, decay, shape, seeds, keep)
    output = place or f"{start.folder.rsplit('/', 2)[0]}/branches"
    with TerminalProgress() as progress:
        materials, name = Materials.of(store, record), record["name"]
        table = compare_seeds(asked, materials, output, store, name, progress, workers)
        if place is None:
            progress.note(f"report: {store.full(write_report(store, record))}")
    if as_json:
        print_json(seeds_json(table))
        return
    print_table(*seeds_rows(table))
    for sentence in table.sentences():
        print(f"{sentence}.")


def _asked(
    start: Checkpoint,
    mixtures: Mapping[str, Path],
    decay: str | None,
    shape: str | None,
    seeds: int,
    keep: bool,
) -> SeedsAsked:
    from mixtures.spec.decay_length import DecayLength
    from pipelines.recipe.decay_mixture import load_decay
    from pipelines.recipe.load import load_branch, place_in_branch
    from pipelines.training.seed_branches import SeedsAsked
    from trainer.checkpoints.recorded import plan_of
    from trainer.loop.branch import check_stable
    from trainer.loop.recorded import train_settings

    check_stable(start)
    settings = train_settings(start)
    if decay is not None or shape is not None:
        settings = settings.decaying(checked_shape(shape))
    if decay is None:
        phases = {name: load_branch(path).phases for name, path in mixtures.items()}
        places = {name: place_in_branch(path) for name, path in mixtures.items()}
        return SeedsAsked(start, phases, settings, seeds, places, keep)
    length, plan = DecayLength.parse(decay), plan_of(start)
    before = plan.tokens_before(start.state.step)
    files = {name: load_decay(path, length.tokens_after(before)) for name, path in mixtures.items()}
    return SeedsAsked(
        start,
        {name: file.phases for name, file in files.items()},
        settings,
        seeds,
        {name: file.place for name, file in files.items()},
        keep,
        notes=(_said_length(length, plan, start.state.step),),
    )


def checked_shape(shape: str | None) -> Any:
    """A shape of a decay. Raises: UserError for one that schedules do not have."""
    from typing import get_args

    from trainer.optimizer.schedules import DecayShape

    if shape is not None and shape not in get_args(DecayShape):
        raise UserError(
            "no such shape of a decay",
            parameter="shape",
            found=shape,
            allowed=get_args(DecayShape),
            fix="use one of these",
        )
    return shape


def _said_length(length: DecayLength, plan: Plan, step: int) -> str:
    """The decay's length as it was asked for, and in whole steps."""
    before = plan.tokens_before(step)
    batch = plan.context_at(max(step - 1, 0))[1].batch_tokens
    tokens = length.tokens_after(before)
    steps = -(-tokens // batch)
    part = 100 * steps * batch / (before + steps * batch)
    share = (
        ""
        if length.share is None
        else f"{float(100 * length.share):g} % of all tokens at the end, "
    )
    return (
        f"decay: {share}{tokens:,} tokens asked, {steps * batch:,} planned in {steps:,} steps of "
        f"{batch:,} after step {step:,}: {part:.2f} % of {before + steps * batch:,}"
    )
