"""Options of measuring a model by the programs that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.run.program_scores import Programs

ProgramFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--programs",
        metavar="LAYOUT=FILE",
        help="problems that the model writes programs for (humaneval, mbpp), which are run: needs "
        "--run-programs; may be repeated",
    ),
]
RunPrograms = Annotated[
    bool,
    typer.Option(
        "--run-programs",
        help="run what the model writes, held back from files, network and other processes",
    ),
]
WithoutWalls = Annotated[
    bool,
    typer.Option(
        "--without-walls", help="run it also where this machine cannot hold it back from all these"
    ),
]
Samples = Annotated[int, typer.Option(min=1, help="programs for each problem of --programs")]
Passes = Annotated[
    int, typer.Option("--pass-at", min=1, help="of so many samples one is to pass, at most all")
]
Temperature = Annotated[
    float, typer.Option(min=0.0, help="at which programs are drawn; 0 takes the likeliest token")
]


def asked_programs(
    files: list[str] | None,
    run_programs: bool,
    without_walls: bool,
    samples: int,
    passes: int,
    temperature: float,
) -> Programs | None:
    """What is asked for, or nothing. Raises: UserError without consent, or for what is no file of
    problems.
    """
    if not files:
        return None
    from pipelines.run.program_scores import Programs

    return Programs.asked(
        files,
        run_programs=run_programs,
        without_walls=without_walls,
        samples=samples,
        passes=passes,
        temperature=temperature,
    )
