"""Commands over shapes and schedules: windtunnel model, windtunnel schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from artifacts.errors import UserError
from pipelines.commands.options import Device, Json, print_json, print_table, said_of_options

model_app = typer.Typer(
    no_args_is_help=True, help="Shapes, parameter counts, multipliers and costs of models."
)


schedule_app = typer.Typer(no_args_is_help=True, help="Learning-rate schedules.")


@model_app.command("describe")
@said_of_options()
def model_describe(
    name: Annotated[
        str, typer.Argument(help="a preset (tiny, 9M, …, 1.2B, 2.4B) or a checkpoint's folder")
    ],
    sequence_length: Annotated[int, typer.Option(min=1)] = 4096,
    roofline: Annotated[
        bool,
        typer.Option(
            "--roofline", help="what a training step costs on a device instead, kernel by kernel"
        ),
    ] = False,
    tokens: Annotated[
        int, typer.Option(min=1, help="with --roofline: tokens of a forward and backward pass")
    ] = 16_384,
    device: Device = "H200",
    as_json: Json = False,
) -> None:
    """Shape, exact parameter counts, multipliers, compute and memory of a model."""
    from trainer.costs.describe import describe
    from trainer.shapes.presets import preset

    if (Path(name) / "state.json").is_file():
        from trainer.checkpoints.checkpoint import load
        from trainer.checkpoints.recorded import model_config

        config = model_config(load(name))
    else:
        try:
            config = preset(name)
        except UserError as error:
            raise error.relocated(lambda address: ("NAME",)) from None
    if roofline:
        from pipelines.commands.terminal.roofline import print_roofline
        from trainer.costs import roofline as floors
        from trainer.costs.device_rates import Device

        whole = max(sequence_length, tokens - tokens % sequence_length)
        print_roofline(
            floors.roofline(
                config, Device.parse(device), tokens=whole, sequence_length=sequence_length
            ),
            as_json,
        )
        return
    rows = describe(config, sequence_length=sequence_length)
    if as_json:
        print_json([{**row.__dict__, "shown": row.shown} for row in rows])
        return
    print_table(
        ("part", "what", "value", "rule"),
        [(row.section, row.name, row.shown, row.rule) for row in rows],
    )


@schedule_app.command("show")
def schedule_show(
    spec: Annotated[
        str,
        typer.Argument(
            help=(
                "YAML of a schedule: '{kind: wsd, peak: 0.01, warmup: 20, decay_start: 300, end: "
                "375}'"
            )
        ),
    ],
    steps: Annotated[str, typer.Option(help="steps from 1, separated by commas")],
    as_json: Json = False,
) -> None:
    """The learning rate at given steps."""
    from pipelines.commands.schedule_text import schedule_of, steps_of
    from trainer.optimizer.schedules import rates

    parsed, wanted = schedule_of(spec), steps_of(steps)
    _check_steps(wanted, parsed.end)
    rows = rates(parsed, wanted)
    if as_json:
        print_json(rows)
        return
    print_table(("step", "learning rate"), [(step, repr(rate)) for step, rate in rows])


def _check_steps(steps: Sequence[int], end: int | None) -> None:
    """Raises: UserError at a step before the first."""
    for step in steps:
        if step < 1:
            raise UserError(
                "no such step in the schedule",
                field="--steps",
                found=step,
                allowed=["from 1" if end is None else f"1 to {end}"],
                fix="the first update is step 1",
            )
