"""Commands over laws of the loss: windtunnel laws fit, windtunnel laws plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import UserError
from pipelines.commands.options import Json, Runs, print_json, said_of_options

if TYPE_CHECKING:
    from trainer.experiments.laws.planning import Known
    from trainer.experiments.laws.points import Points

laws_app = typer.Typer(
    no_args_is_help=True,
    help="Laws of the loss over parameters and tokens: fit one, plan a training with one.",
)


@laws_app.command("fit")
@said_of_options()
def laws_fit(
    experiment: Annotated[
        Path | None,
        typer.Argument(help="file of an experiment over sizes and lengths, whose runs are made"),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="runs, CSV or Parquet: parameters, tokens or operations, loss; optional: seed, "
            "size, weight, batch, rate, decay, loss.SOURCE, parameters.RULE"
        ),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(help="instead of a table: chinchilla (240 points) or code (MiniCPM's 12)"),
    ] = None,
    unit: Annotated[
        str, typer.Option(help="of the losses: 'nats per token', 'bits per byte', …")
    ] = "as given",
    compute: Annotated[
        float, typer.Option(min=1.0, help="operations whose D/N the choices are compared at")
    ] = 1e21,
    draws: Annotated[int, typer.Option(min=20, max=100_000, help="replicates of a law")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="of the replicates")] = 0,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Fit L(N, D) = E + A/N^alpha + B/D^beta to the losses of runs, with intervals that hold what
    they say.
    """
    from pipelines.commands.terminal.laws import print_fit
    from trainer.experiments.laws.analysis import analysed

    if experiment is not None:
        points, remarks, unit = _measured(experiment, runs, table or published, as_json)
    else:
        points, remarks = _points(table, published)

    def fit(of: Points) -> dict[str, Any]:
        found = analysed(of, unit=unit, operations=compute, draws=draws, seed=seed)
        return found.to_json()

    result: dict[str, Any] = fit(points)
    if points.sources:
        result["sources"] = {name: fit(points.of_source(name)) for name in points.sources}
    result |= remarks
    if as_json:
        print_json(result)
    else:
        print_fit(result)


def _measured(
    experiment: Path, runs: str, other: object, as_json: bool
) -> tuple[Points, dict[str, Any], str]:
    """The points of an experiment, made where they are not there, and their unit."""
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.commands.terminal.shown import ShownConsole
    from pipelines.studies.experiment import load_experiment
    from pipelines.studies.study import run_study
    from trainer.experiments.designs.law_findings import endings, points_of

    if other is not None:
        raise UserError(
            "a fit needs points, from one place",
            parameter="experiment",
            found=f"{experiment} and {other}",
            fix="give the experiment alone, or leave it out",
        )
    with TerminalProgress(ShownConsole(stderr=as_json)) as progress:
        outcome = run_study(load_experiment(experiment, "law"), runs, progress=progress)
    base = outcome.ground.base
    whole = endings(base, outcome.points)
    lost = sum(one["schedule"] == "wsd" for one in outcome.points) - len(whole)
    unit = base.primary.unit.replace("_", " ")
    return points_of(base, whole), {"diverged": lost}, unit


def _points(table: Path | None, published: str | None) -> tuple[Points, dict[str, Any]]:
    """The points that were asked for, and what to say of them."""
    from trainer.experiments.laws import published as known
    from trainer.experiments.laws.table import read_table

    if (table is None) == (published is None):
        raise UserError(
            "a fit needs points, from one place",
            field="--table",
            found="neither" if table is None else "also --published",
            fix="give the file of an experiment, --table FILE.csv, or --published chinchilla",
        )
    if table is not None:
        read = read_table(table)
        return read.points(), {"columns_not_read": read.unread()}
    kinds: dict[str, Callable[[], Points]] = {
        "chinchilla": lambda: read_table(known.CHINCHILLA_POINTS).points(),
        "code": known.code_ends,
    }
    if published not in kinds:
        raise UserError(
            "no such published points", parameter="published", found=published, allowed=kinds
        )
    remarks: dict[str, Any] = {}
    if published == "chinchilla":
        remarks["published"] = {
            **{name: float(value) for name, value in known.BESIROGLU._asdict().items()},
            "by": "Besiroglu et al., arXiv 2404.10102",
            "why": "the optimum of another objective, a likelihood whose scale is fitted too",
        }
    return kinds[str(published)](), remarks


@laws_app.command("plan")
@said_of_options()
def laws_plan(
    flops: Annotated[
        float | None, typer.Option(help="operations of training, as 1e21: C = 6 N D")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="instead: hours on --device")] = None,
    device: Annotated[
        str, typer.Option(help="H200, H100, A100, or with your figures H200:peak=989")
    ] = "H200",
    devices: Annotated[int, typer.Option("--devices", min=1, help="how many")] = 1,
    share: Annotated[
        float, typer.Option(help="of the device's peak that training reaches, 0 to 1")
    ] = 0.4,
    law: Annotated[
        str, typer.Option(help="paper, chinchilla, besiroglu, or a JSON of laws fit --json")
    ] = "paper",
    inference: Annotated[
        float | None, typer.Option(help="tokens that the model will serve, to be in the bill")
    ] = None,
    unique: Annotated[
        float | None, typer.Option(help="different tokens that there are; more are repeats")
    ] = None,
    as_json: Json = False,
) -> None:
    """What to train within a budget: size, tokens, batch, rate, loss, and the cost of being off."""
    from pipelines.commands.terminal.laws import print_plan
    from trainer.experiments.laws.planning import budget_of, planned

    if (flops is None) == (hours is None):
        raise UserError(
            "a plan needs a budget, given in one way",
            field="--flops",
            found="neither" if flops is None else "also --hours",
            fix="give --flops 1e21, or --hours 24 with --device H200",
        )
    if hours is not None:
        flops = budget_of(hours, device, devices, share)
    result = planned(_law(law), float(flops or 0.0), served=inference, unique=unique)
    if hours is not None:
        result["hardware"] = {"hours": hours, "device": device, "count": devices, "share": share}
    if as_json:
        print_json(result)
    else:
        print_plan(result)


def _law(name: str) -> Known:
    from trainer.experiments.laws.planning import PUBLISHED, known_of

    if name in PUBLISHED:
        return PUBLISHED[name]
    if not Path(name).is_file():
        raise UserError(
            "no such law",
            parameter="law",
            found=name,
            allowed=[*PUBLISHED, "FILE.json"],
            fix="give a published one, or write a file with laws fit --json",
        )
    import json

    try:
        found = json.loads(Path(name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError("the file is not JSON", file=name, found=str(error)) from None
    if not isinstance(found, dict):
        raise UserError(
            "the file holds no law", file=name, found=type(found).__name__, allowed=["an object"]
        )
    return known_of(found, name)
