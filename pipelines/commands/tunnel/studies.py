"""Commands that carry out experiments: one for each kind, and the figures of all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import Json, Runs, print_json, said_of_options
from pipelines.commands.terminal.shown import ShownConsole

if TYPE_CHECKING:
    from pipelines.studies.experiment import LoadedExperiment

File = Annotated[Path, typer.Argument(help="file of an experiment")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="runs at a time; default: one for each GPU, or for each core"),
]


def study_command(kind: str) -> Callable[..., None]:
    """The command of one kind of experiment."""

    @said_of_options({"loaded": "experiment"})
    def command(
        experiment: File,
        runs: Runs = "runs",
        workers: Workers = None,
        overrides: Annotated[
            list[str] | None,
            typer.Option("--set", help="override a field: design.tokens=100000; may be repeated"),
        ] = None,
        estimate: Annotated[
            bool,
            typer.Option(
                "--estimate", help="make nothing: what is there, what is to come, how long it takes"
            ),
        ] = False,
        again: Annotated[
            bool,
            typer.Option(
                "--again", help="make every run once more, aside, and compare all figures"
            ),
        ] = False,
        as_json: Json = False,
    ) -> None:
        _carry_out(
            kind, experiment, runs, workers, tuple(overrides or ()), estimate, again, as_json
        )

    return command


def _carry_out(
    kind: str,
    file: Path,
    runs: str,
    workers: int | None,
    overrides: tuple[str, ...],
    estimate: bool,
    again: bool,
    as_json: bool,
) -> None:
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.commands.terminal.study import print_ahead, print_study, study_json
    from pipelines.studies.ahead import ahead
    from pipelines.studies.experiment import load_experiment
    from pipelines.studies.study import opened_study, repeat_study, run_study

    console = ShownConsole(stderr=as_json)
    loaded = load_experiment(file, kind, overrides)
    with TerminalProgress(console) as progress:
        if estimate:
            found = ahead(opened_study(loaded, runs, progress), workers or _room(loaded))
        elif again:
            compared = repeat_study(loaded, runs, workers=workers, progress=progress)
        else:
            outcome = run_study(loaded, runs, workers=workers, progress=progress)
    if estimate:
        print_json(found.to_json()) if as_json else print_ahead(console, found)
    elif again:
        facts = {"runs": compared, "differ": 0}
        print_json(facts) if as_json else console.print(
            f"{compared} runs were made again; none differs in any figure"
        )
    elif as_json:
        print_json(study_json(outcome))
    else:
        print_study(console, outcome)


def _room(loaded: LoadedExperiment) -> int:
    return max(1, len(os.sched_getaffinity(0)) // loaded.experiment.threads)


@said_of_options()
def figures(
    folder: Annotated[
        str, typer.Argument(help="folder with experiments: runs/RECIPE/studies, or their results")
    ],
    as_json: Json = False,
) -> None:
    """Draw the figures of all experiments in a folder, and one page over them."""
    from artifacts.paths import Store
    from pipelines.studies.pages import found_in, write_figures

    store = Store(folder)
    files = write_figures(store, found_in(store))
    if as_json:
        print_json({"files": [store.full(name) for name in files]})
        return
    ShownConsole().print(f"{store.full(files[0])}, and {len(files) - 1} files of figures")


def register(app: typer.Typer) -> None:
    """Hang a command for each kind of experiment on the group, and that of figures."""
    from trainer.experiments.designs.catalogue import DESIGNS

    for kind, design in DESIGNS.items():
        app.command(kind, help=f"{design.summary[:1].upper()}{design.summary[1:]}.")(
            study_command(kind)
        )
    app.command("figures")(figures)
