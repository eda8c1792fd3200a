"""Preview decays of a stable checkpoint without training them: windtunnel preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import Json, Runs, print_json, print_table, said_of_options
from pipelines.commands.terminal.shown import print_text

if TYPE_CHECKING:
    from pipelines.training.previews import Preview
    from trainer.checkpoints.checkpoint import Checkpoint
    from trainer.optimizer.schedules import DecaySpec

LOSSES = ("nats/token", "bits/byte", "minus checkpoint")
EXPLAINED = (
    "A merge stands for a decay that began so many steps before the checkpoint and ended at it, on "
    "the data that the stable training was shown there; a branch trains the decay itself, with a "
    "mixture of its own. Differences are the merge minus the checkpoint."
)


@said_of_options({"spans": "span"})
def preview_command(
    checkpoint: Annotated[
        str, typer.Argument(help="folder of a stable checkpoint, under a run's folder")
    ],
    run: Annotated[str, typer.Option(help="run whose held-out shards are measured")],
    runs: Runs = "runs",
    shape: Annotated[
        str | None,
        typer.Option(
            help="shape of the decay: linear, exponential, one_minus_sqrt, cosine, "
            "inverse_linear, linear_to; default: that of the training's schedule"
        ),
    ] = None,
    span: Annotated[
        list[int] | None,
        typer.Option(
            "--span",
            help="checkpoints to merge, the last of them this one; may be repeated; default: "
            "2, 4, 8, … and all",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What decays of several lengths would come to, from merged checkpoints, in seconds."""
    from mixtures.spec.bands import source_of
    from pipelines.run.record import load_run
    from pipelines.training.materials import Materials
    from pipelines.training.previews import previews
    from trainer.checkpoints.checkpoint import load
    from trainer.devices.determinism import settled_threads
    from trainer.loop.recorded import train_settings

    store, record = load_run(runs, run)
    materials = Materials.of(store, record)
    start = load(checkpoint)
    decay = _decay(start, shape)
    sources = [*materials.folders, *map(source_of, materials.folders)]
    held = materials.held_out(sources, train_settings(start).sequence_length)
    with settled_threads():
        rows = previews(start, decay, span, held)
    if as_json:
        print_json({"decay": decay.model_dump(), "rows": [row.to_json() for row in rows]})
        return
    print_table(("merged", "span", "tokens", "held-out source", *LOSSES), _cells(rows))
    print_text(EXPLAINED)


def _decay(start: Checkpoint, shape: str | None) -> DecaySpec:
    """The shape asked for, or the training's own. Raises: UserError for one that is not known."""
    from typing import get_args

    from artifacts.errors import UserError
    from trainer.checkpoints.recorded import schedule
    from trainer.optimizer.schedules import DecayShape, DecaySpec

    if shape is None:
        return schedule(start).decay
    if shape not in get_args(DecayShape):
        raise UserError(
            "no such shape of a decay",
            parameter="shape",
            found=shape,
            allowed=get_args(DecayShape),
        )
    return DecaySpec.model_validate({"shape": shape})


def _cells(rows: list[Preview]) -> list[tuple[Any, ...]]:
    from pipelines.report.held_out_loss import HeldOutLoss
    from pipelines.report.numerals import count, uncertain

    cells: list[tuple[Any, ...]] = []
    for row in rows:
        merge = len(row.steps) > 1
        name = count(len(row.steps)) if merge else "checkpoint"
        for source, measured in row.measured.items():
            found, base = measured.to_json(), rows[0].measured[source].to_json()
            losses = ("-", "-", "-")
            if found["loss"] is not None:
                own = HeldOutLoss.of(found)
                change = own.minus(HeldOutLoss.of(base))
                said = uncertain(change.loss, change.half_width, plus=True).replace("\u2212", "-")
                bits = "-" if own.bits_per_byte is None else f"{own.bits_per_byte:.4f}"
                losses = (uncertain(own.loss, own.half_width), bits, said if merge else "-")
            cells.append((name, count(row.span), count(row.tokens), source, *losses))
    return cells


def register(app: typer.Typer) -> None:
    """Hang the command on the main application."""
    app.command("preview")(preview_command)
