"""Commands around models: train, branch, describe, generate, chat."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import UserError
from pipelines.commands.branch_options import (
    BranchWorkers,
    DecayLengthOption,
    SeedsOption,
    ShapeOption,
)
from pipelines.commands.chat import chat
from pipelines.commands.generate import generate_text
from pipelines.commands.model import model_app, schedule_app
from pipelines.commands.options import (
    Back,
    Device,
    Json,
    Keep,
    Restart,
    Runs,
    print_json,
    print_table,
    said_of_options,
)
from pipelines.commands.terminal.shown import ShownConsole

if TYPE_CHECKING:
    from artifacts.paths import Store
    from pipelines.recipe.fields import Recipe
    from pipelines.recipe.load import LoadedRecipe
    from pipelines.run.driver import RunOutcome
    from trainer.checkpoints.checkpoint import Checkpoint
    from trainer.loop.branch import Comparison

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="override a field: a.b.c=value; may be repeated"),
]
Roofline = Annotated[
    bool,
    typer.Option(
        "--roofline", help="train nothing; what a step costs on a device, kernel by kernel"
    ),
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate", help="train nothing that stays; memory, hours and disk that it will need"
    ),
]
Watts = Annotated[
    float | None,
    typer.Option("--watts", help="with --estimate: what the machine draws, for the energy"),
]


@said_of_options()
def train(
    recipe: Annotated[Path, typer.Argument(help="recipe file of a run whose shards are there")],
    resume: Annotated[
        bool,
        typer.Option(
            help="go on from the latest checkpoint; --no-resume refuses where there is one"
        ),
    ] = True,
    until_step: Annotated[
        int | None, typer.Option(min=1, help="stop after so many steps, with a checkpoint")
    ] = None,
    runs: Runs = "runs",
    plan: Annotated[
        Path | None, typer.Option(help="follow this frozen plan rather than the run's")
    ] = None,
    overrides: Overrides = None,
    roofline: Roofline = False,
    device: Device = "H200",
    estimate: Estimate = False,
    watts: Watts = None,
    keep: Keep = False,
    back: Back = False,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Train a recipe's mixture over shards that are there; windtunnel run does the same behind the
    corpus.
    """
    from mixtures.order.sound_plan import load_plan
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.recipe.load import load_recipe

    started = time.monotonic()
    console = ShownConsole(stderr=as_json)
    loaded = load_recipe(recipe, overrides or ())
    if roofline:
        _show_roofline(loaded.recipe, device, as_json)
        return
    followed = None if plan is None else load_plan(plan)
    if estimate:
        options = {"runs": runs, "watts": watts, "plan": followed}
        _show_estimate(loaded, options, device, as_json)
        return
    from pipelines.run.train_only import train_run  # needs torch, which a roofline does not

    ways = {"keep": keep, "back": back, "restart": restart}
    with TerminalProgress(console) as progress:
        outcome = train_run(
            loaded,
            runs,
            resume=resume,
            until_step=until_step,
            plan=followed,
            progress=progress,
            **ways,
        )
    _say_trained(console, outcome, time.monotonic() - started, str(recipe), as_json)


def _say_trained(
    console: ShownConsole, outcome: RunOutcome, seconds: float, recipe: str, as_json: bool
) -> None:
    from pipelines.commands.terminal.outcome import print_training
    from pipelines.commands.terminal.training import training_json
    from pipelines.report.page import write_report

    report = write_report(outcome.store, outcome.record)
    if as_json:
        print_json(training_json(outcome))
    else:
        print_training(console, outcome, report, seconds, recipe=recipe)


def _show_roofline(recipe: Recipe, device: str, as_json: bool) -> None:
    from pipelines.commands.terminal.roofline import print_roofline, recipe_roofline

    print_roofline(recipe_roofline(recipe, device), as_json)


def _show_estimate(
    loaded: LoadedRecipe, options: dict[str, Any], device: str, as_json: bool
) -> None:
    from pipelines.commands.terminal.estimate import print_estimate
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.commands.terminal.roofline import recipe_roofline
    from pipelines.run.estimate import estimate_run

    floor = recipe_roofline(loaded.recipe, device)
    with TerminalProgress(ShownConsole(stderr=True)) as progress:
        found = estimate_run(loaded, progress=progress, **options)
    print_estimate(found, floor, as_json)


@said_of_options()
def branch_checkpoint(
    checkpoint: Annotated[
        str, typer.Argument(help="folder of a stable checkpoint, under a run's folder")
    ],
    mixtures: Annotated[
        list[Path],
        typer.Option(
            "--mixture", help="YAML file with the phases of one ending; give it several times"
        ),
    ],
    run: Annotated[str, typer.Option(help="run whose shards are used")],
    runs: Runs = "runs",
    output: Annotated[
        str | None,
        typer.Option(help="where the branches go; default: branches/ beside the checkpoints"),
    ] = None,
    decay: DecayLengthOption = None,
    shape: ShapeOption = None,
    seeds: SeedsOption = None,
    workers: BranchWorkers = None,
    keep: Keep = False,
    as_json: Json = False,
) -> None:
    """Decay one stable checkpoint with several mixtures and compare them on held-out documents."""
    from pipelines.run.record import load_run
    from pipelines.shards.take_downs import complete_take_downs

    store, record = load_run(runs, run)
    complete_take_downs(store, record)
    start, length = _stable_start(checkpoint)
    named = _named(mixtures)
    if all(option is None for option in (decay, shape, seeds, workers)):
        _compare(start, length, named, store, record, output, keep, as_json)
        return
    from pipelines.commands.branch_seeds import branch_seeds

    branch_seeds(
        start,
        named,
        store,
        record,
        output,
        decay=decay,
        shape=shape,
        seeds=seeds or 1,
        workers=workers,
        keep=keep,
        as_json=as_json,
    )


def _compare(
    start: Checkpoint,
    length: int,
    named: Mapping[str, Path],
    store: Store,
    record: dict[str, Any],
    output: str | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Train an ending of each file, one after another, and print how they compare; ``length``: of
    the checkpoint's windows.
    """
    from mixtures.spec.bands import source_of
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.recipe.load import load_branch
    from pipelines.training.board import board_run
    from pipelines.training.endings import ending_plans
    from pipelines.training.materials import Materials
    from pipelines.training.not_finite import advised_branch
    from pipelines.training.watch import TrainingWatch, ended
    from trainer.devices.determinism import settled_threads
    from trainer.loop.branch import compare

    materials = Materials.of(store, record)
    phases = {name: load_branch(path).phases for name, path in named.items()}
    place = output or f"{start.folder.rsplit('/', 2)[0]}/branches"
    asked = [*materials.folders, *map(source_of, materials.folders)], length
    held = materials.held_out(*asked)
    plans = ending_plans(start, phases, materials, place, store, keep=keep)
    with TerminalProgress() as progress, settled_threads(), advised_branch():
        for sentence in materials.too_short(*asked):
            progress.note(sentence)
        watch = TrainingWatch(progress)
        comparison = compare(
            start,
            plans,
            materials.folders,
            place,
            validation=held,
            on_step=lambda name, report: watch(f"branch {name}", report),
            boards={
                name: board_run(store, record["name"], name, f"{place}/{name}") for name in plans
            },
        )
    ended(*comparison.outcomes.values())
    _show_comparison(comparison, as_json)


def _show_comparison(comparison: Comparison, as_json: bool) -> None:
    from pipelines.commands.terminal.comparison import branch_json, branch_rows, unequal_branches

    if as_json:
        print_json(branch_json(comparison))
        return
    print_table(*branch_rows(comparison))
    for sentence in unequal_branches(comparison):
        print(sentence)


def _named(mixtures: Sequence[Path]) -> dict[str, Path]:
    """Files of phases by the names of their branches. Raises: UserError where two have one name."""
    named: dict[str, Path] = {}
    for path in mixtures:
        if path.stem in named:
            raise UserError(
                f"two branches would have the name {path.stem}",
                parameter="mixtures",
                found=f"{named[path.stem]}, {path}",
                fix="a branch has the name of its file: rename one of them",
            )
        named[path.stem] = path
    return named


def _stable_start(folder: str) -> tuple[Checkpoint, int]:
    """A checkpoint and the length of its windows. Raises: UserError where this machine cannot go on
    from it.
    """
    from trainer.checkpoints.checkpoint import load
    from trainer.devices.precision import check_possible
    from trainer.loop.recorded import train_settings

    start = load(folder)
    settings = train_settings(start)
    check_possible(settings.precision, settings.device, float8=settings.float8)
    return start, settings.sequence_length


def register(app: typer.Typer) -> None:
    """Hang these commands on the main application."""
    app.add_typer(model_app, name="model")
    app.add_typer(schedule_app, name="schedule")
    app.command("train")(train)
    app.command("branch")(branch_checkpoint)
    app.command("generate")(generate_text)
    app.command("chat")(chat)
