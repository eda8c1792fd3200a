"""Commands around mixtures: plan, check, edit, and trace what a step shows and who has seen a
document.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import UserError
from artifacts.visible_text import exact_json
from pipelines.commands.options import Json, Runs, print_json, print_table, said_of_options

if TYPE_CHECKING:
    from mixtures.freeze.edit import Change
    from mixtures.freeze.freeze import Plan

EDITS = {
    **{"step": "at", "tokens": "at_tokens", "change.lengthen": "lengthen"},
    **{"change.drop": "drop", "change.weights": "weight", "change.decay": "decay"},
    "change.skip": "skip",
}

SkippedSteps = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="STEPS", help="make no update in so many steps: their windows pass by"
    ),
]

mixture_app = typer.Typer(
    no_args_is_help=True,
    help="Plan mixtures in tokens, check and edit plans, and ask which documents a step shows.",
)


@mixture_app.command("plan")
@said_of_options()
def mixture_plan(
    recipe: Annotated[Path, typer.Argument(help="recipe file of a run whose shards are there")],
    runs: Runs = "runs",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="override a field: a.b.c=value")
    ] = None,
    output: Annotated[str | None, typer.Option(help="write the frozen plan into this file")] = None,
    plot: Annotated[
        str | None, typer.Option(help="draw the shares over training into this SVG file")
    ] = None,
    as_json: Json = False,
) -> None:
    """Freeze a recipe's mixture over the shards and show what each phase takes from each source."""
    from mixtures.inspect.cut_documents import cut_documents
    from mixtures.spec.resolve import preset_notes
    from pipelines.recipe.load import load_recipe
    from pipelines.run.record import load_run
    from pipelines.training.materials import Materials
    from pipelines.training.plans import plan_branches, plan_mixture

    loaded = load_recipe(recipe, overrides or ())
    materials = Materials.of(*load_run(runs, loaded.recipe.name))
    plan = plan_mixture(loaded, materials)
    branches = plan_branches(loaded, materials, plan)
    notes = [] if loaded.recipe.mixture is None else preset_notes(loaded.recipe.mixture.phases)
    if output is not None:
        _write(output, plan.to_json())
    if plot is not None:
        from pipelines.report.share_plot import share_plot

        _write(
            plot, share_plot(plan, f"{loaded.recipe.name}: shares of tokens over training").encode()
        )
    if as_json:
        print(exact_json(plan.to_json().decode()))
        return
    _print_plan(plan)
    for cut in cut_documents((plan, *branches.values()), materials.folders):
        print(cut.sentence)
    for note in notes:
        print(f"preset of phase {note}")


@mixture_app.command("check")
@said_of_options()
def mixture_check(
    target: Annotated[
        str,
        typer.Argument(metavar="PLAN|RUN", help="a plan's file, or the name or folder of a run"),
    ],
    shards: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "shards of a plan's file: a source's folder, a folder of such folders, or "
                "SOURCE=FOLDER; may be repeated"
            )
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option(help="read every byte of the part files again and name damaged blocks")
    ] = False,
    branch: Annotated[
        str | None, typer.Option(help="the branch whose plan it is, for sources reserved for it")
    ] = None,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Hold a plan against its shards: pins, counts, rules, take-downs since; exit code 1 when parts
    are damaged.
    """
    from mixtures.inspect.check_plan import check_plan
    from pipelines.commands.plan_target import check_branch, plan_and_folders
    from pipelines.commands.terminal.plan_check import check_json, check_lines, check_rows

    plan, folders = plan_and_folders(target, shards or (), runs)
    check_branch(plan, branch, target, runs)
    found = check_plan(plan, folders, branch=branch, deep=deep)
    damaged = any(row.findings for row in found)
    if as_json:
        print_json(check_json(plan, found, deep=deep))
    else:
        print_table(*check_rows(found))
        for line in check_lines(plan, found, deep=deep):
            print(line)
    raise SystemExit(1 if damaged else 0)


@mixture_app.command("edit")
@said_of_options(EDITS)
def mixture_edit(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")],
    at: Annotated[
        int | None, typer.Option(help="the first step that is to be different, from 1")
    ] = None,
    at_tokens: Annotated[
        int | None, typer.Option(help="the same in tokens: the first step behind so many")
    ] = None,
    mixture: Annotated[
        Path | None, typer.Option(help="YAML file with the phases from there on, as in a recipe")
    ] = None,
    lengthen: Annotated[
        list[str] | None,
        typer.Option(metavar="PHASE=TOKENS", help="so many tokens more of a phase"),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="for the rest of the phase; others keep proportions"),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=W", help="for the rest of the phase; others keep proportions"),
    ] = None,
    decay: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="TOKENS", help="begin a decay of so many tokens, and end with it"
        ),
    ] = None,
    skip: SkippedSteps = None,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Append to a run's plan from a step on; what was trained stays, and windtunnel train goes on
    from its newest checkpoint.
    """
    from pipelines.commands.plan_changes import change_of
    from pipelines.commands.terminal.plan import edit_json, edit_lines
    from pipelines.recipe.load import load_branch, place_in_branch
    from pipelines.run.record import load_run
    from pipelines.training.edits import edit_run

    change = change_of(lengthen or (), drop or (), weight or (), decay, skip)
    _check_said_once(mixture, change)
    phases = None if mixture is None else load_branch(mixture).phases
    store, record = load_run(runs, run)
    try:
        edited = edit_run(store, record, step=at, tokens=at_tokens, phases=phases, change=change)
    except UserError as error:
        raise (error if mixture is None else error.relocated(place_in_branch(mixture))) from None
    if as_json:
        print_json(edit_json(edited))
        return
    _print_plan(edited.plan)
    for line in edit_lines(edited):
        print(line)


def _check_said_once(mixture: Path | None, change: Change | None) -> None:
    """Raises: UserError unless an edit is said by a file or in short forms."""
    if (mixture is None) == (change is None):
        raise UserError(
            "an edit is said in one way",
            field="--mixture",
            found="nothing" if mixture is None else "a file and short forms",
            fix="give --mixture FILE, or some of --lengthen, --drop, --weight, --decay and --skip",
        )


@mixture_app.command("trace")
@said_of_options({"ids": "removed"})
def mixture_trace(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")],
    step: Annotated[
        int | None, typer.Option(help="show the documents of this step (from 1)")
    ] = None,
    rank: Annotated[int, typer.Option(min=0, help="of the step, only what this rank sees")] = 0,
    world_size: Annotated[int, typer.Option(min=1, help="how many ranks there are")] = 1,
    document: Annotated[
        str | None,
        typer.Option("--doc", help="show the steps that see this document (32 hex digits)"),
    ] = None,
    removed: Annotated[
        Path | None,
        typer.Option(
            help="file with one id a line, 32 hex digits or SOURCE:NATIVE_ID: what taking them "
            "down touches"
        ),
    ] = None,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Which documents a step shows, which steps show a document, or what a take-down touches (exit
    code 1 for unknown ids).
    """
    from pipelines.commands.terminal.traces import span_json, span_rows
    from pipelines.run.record import load_run
    from pipelines.training.exposure import run_tracer

    if sum(question is not None for question in (step, document, removed)) != 1:
        raise UserError(
            "one of three questions",
            field="--step, --doc, --removed",
            fix="give --step N, --doc ID, or --removed FILE",
        )
    store, record = load_run(runs, run)
    if removed is not None:
        _trace_removed(store, record, removed, as_json)
        return
    if not 0 <= rank < world_size:
        raise UserError(
            "no such rank",
            field="--rank",
            found=rank,
            allowed=[f"0 to {world_size - 1}"],
            fix="give --world-size as well",
        )
    tracer = run_tracer(store, record)
    if step is not None:
        _check_step(step, tracer.plan)
        spans = tracer.step(step - 1, rank, world_size)
    else:
        spans = tracer.document(str(document))
    if as_json:
        print_json([span_json(span) for span in spans])
        return
    print_table(*span_rows(spans))


def _check_step(step: int, plan: Plan) -> None:
    """Raises: UserError when the plan has no such step; the first is 1."""
    if not 1 <= step <= plan.steps:
        raise UserError(
            "no such step in the plan", parameter="step", found=step, allowed=[f"1 to {plan.steps}"]
        )


def _trace_removed(store: Any, record: dict[str, Any], file: Path, as_json: bool) -> None:
    from pipelines.commands.terminal.traces import touched_lines, touched_rows
    from pipelines.shards.id_lists import read_ids, sources_of
    from pipelines.training.exposure import touched

    ids = read_ids(file, sources_of(record))
    written = {one.hex(): text for one, text in ids.items()}
    found, nowhere = touched(store, record, written)
    unknown = [written[document] for document in nowhere]
    if as_json:
        documents = [dataclasses.asdict(document) for document in found]
        print_json({"documents": documents, "unknown": unknown})
    else:
        print_table(*touched_rows(found))
        for line in touched_lines(found, unknown):
            print(line)
    raise SystemExit(1 if unknown else 0)


def _print_plan(plan: Plan) -> None:
    """The table, the windows of each phase where they change, and the totals."""
    from mixtures.freeze.plan_table import table
    from pipelines.commands.terminal.plan import plan_lines, plan_rows

    rows = table(plan)
    print_table(*plan_rows(rows))
    print()
    for line in plan_lines(plan, rows):
        print(line)


def _write(file: str, content: bytes) -> None:
    """Write a file of this disk or of a store."""
    from artifacts.paths import Store

    folder, _, name = (file if "://" in file else os.path.abspath(file)).rpartition("/")
    Store(folder or "/").write(name, content)
