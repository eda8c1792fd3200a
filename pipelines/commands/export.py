"""Commands that let models out and in: windtunnel export, windtunnel import."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.commands import Command
from artifacts.errors import UserError
from pipelines.commands.options import Json, Runs, print_json, said_of_options
from pipelines.commands.terminal.shown import ShownConsole, print_text

if TYPE_CHECKING:
    from trainer.checkpoints.checkpoint import Checkpoint
    from trainer.export.export import ExportedModel


@said_of_options({"layout": "to", "part_bytes": "part_gb"})
def export_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT|RUN",
            help="folder of a checkpoint; or a run, by name or folder: its last checkpoint",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder to write; not there yet")],
    to: Annotated[
        str,
        typer.Option(
            help="granite (stock transformers, vLLM, llama.cpp), llama (multipliers folded into "
            "the weights) or minicpm (MiniCPM's own)"
        ),
    ] = "granite",
    dtype: Annotated[str, typer.Option(help="fp32, or bf16 at half the size")] = "fp32",
    branch: Annotated[
        str | None, typer.Option(help="of a run: its branch of this name instead")
    ] = None,
    untie: Annotated[
        bool,
        typer.Option("--untie", help="a head of its own, also where it is the embedding"),
    ] = False,
    context: Annotated[
        int | None,
        typer.Option(
            min=1, help="longest text it is meant for, in tokens; default: its longest window"
        ),
    ] = None,
    moments: Annotated[
        bool,
        typer.Option(
            "--moments", help="also what the optimizer knows, so that an import trains on the same"
        ),
    ] = False,
    part_gb: Annotated[
        float, typer.Option(help="largest file of weights, in billions of bytes")
    ] = 5.0,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Write a model as a folder that other programs load: weights, settings, tokenizer, chat
    template and a card. It is read back and compared with the checkpoint before it appears.
    """
    from pipelines.executors.termination import sigterm_exits
    from pipelines.run.model_export import export_run_model
    from trainer.export.export import ExportSettings

    settings = ExportSettings(to, dtype, untie, context, moments, _bytes(part_gb))
    with sigterm_exits():  # so that nothing is left of a folder half written
        done = export_run_model(runs, target, folder, settings, branch)
    if as_json:
        print_json(done.to_json())
    else:
        _print_exported(done)


def _bytes(part_gb: float) -> int:
    """Bytes of a file at most. Raises: UserError for none."""
    if not 0 < part_gb < math.inf:
        raise UserError(
            "not a size of files",
            field="--part-gb",
            found=part_gb,
            fix="give a finite number above 0",
        )
    return max(1, round(part_gb * 1e9))


def _print_exported(done: ExportedModel) -> None:
    console = ShownConsole()
    found = done.logits
    for line in (
        f"written   {done.folder} ({len(done.files)} files, {done.bytes / 1e6:,.1f} MB)",
        f"logits    at most {found.largest_difference:.2g} from the checkpoint's over "
        f"{found.tokens} places",
        f"ids       {done.ids}",
        f"card      {done.folder}/README.md",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@said_of_options()
def import_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="folder of a Granite, Llama or MiniCPM: config.json, safetensors, and "
            "tokenizer.model or tokenizer.json",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="folder or URL for the checkpoint")
    ] = "imported",
    as_json: Json = False,
) -> None:
    """Take somebody else's model over as a checkpoint, to generate with, to measure, and to train
    on from (start: in a recipe).
    """
    from pipelines.executors.termination import sigterm_exits
    from trainer.export.read import import_model

    with sigterm_exits():
        made = import_model(folder, output)
    if as_json:
        print_json(_facts(made))
    else:
        _print_imported(made)


def _facts(made: Checkpoint) -> dict[str, object]:
    state = made.state
    return {
        "folder": made.folder,
        "model": state.model,
        "tokenizer": state.tokenizer_hash,
        "imported": None if state.imported is None else state.imported.model_dump(),
        "moments": state.optimizer is not None,
    }


def _print_imported(made: Checkpoint) -> None:
    from tokenizer.encode import Tokenizer
    from trainer.checkpoints.checkpoint import TOKENIZER
    from trainer.checkpoints.recorded import model_config
    from trainer.shapes.parameter_counts import count_parameters

    imported = made.state.imported
    assert imported is not None  # it was just made
    print_text(f"written   {made.folder}")
    total = count_parameters(model_config(made)).total
    print_text(f"model     {total:,} parameters, layout {imported.layout}")
    if imported.folded:
        print_text(
            "note      its multipliers, if it had any, are in the weights: learning rates of the "
            "parameterisation are not its own, so a training asks for train.schedule.peak"
        )
    tokenizer = Tokenizer.load(made.read(TOKENIZER))
    if tokenizer.foreign is not None:
        print_text(
            "note      it has tokenizer.json alone: texts go through the library tokenizers (extra "
            "export), more slowly than through a tokenizer.model"
        )
    if made.state.optimizer is None:
        print_text("note      without moments: the optimizer begins anew")
    print_text(f"next      {Command('generate CHECKPOINT TEXT', CHECKPOINT=made.folder)}")


def register(app: typer.Typer) -> None:
    """Hang these commands on the main application."""
    app.command("export")(export_command)
    app.command("import")(import_command)
