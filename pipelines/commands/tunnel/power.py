"""How many seeds an effect needs: windtunnel tunnel power."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import UserError
from pipelines.commands.options import Json, print_json, print_table, said_of_options
from pipelines.commands.terminal.shown import print_text

if TYPE_CHECKING:
    from artifacts.statistics.intervals import Variance

SEEDS = (2, 3, 4, 5, 6, 8, 10, 15, 20)


@dataclass(frozen=True)
class _Asked:
    """What is to be shown, and how surely."""

    effect: float
    paired: bool
    alpha: float
    power: float

    def seeds(self, deviation: float) -> int:
        """Seeds a side that suffice at a standard deviation."""
        from artifacts.statistics.power import seeds_needed

        return seeds_needed(
            self.effect, deviation, target=self.power, paired=self.paired, alpha=self.alpha
        )

    def rows(self, deviation: float, needed: int) -> list[tuple[int, float, float]]:
        """(seeds, half-width, power) for some numbers of seeds, those needed among them."""
        from artifacts.statistics.power import half_width, power

        return [
            (
                seeds,
                half_width(seeds, deviation, paired=self.paired, alpha=self.alpha),
                power(seeds, self.effect, deviation, paired=self.paired, alpha=self.alpha),
            )
            for seeds in sorted({*SEEDS, needed})
        ]


@said_of_options({"deviation": "sd", "target": "power"})
def power_command(
    effect: Annotated[
        float, typer.Option(help="the smallest difference of losses that would matter")
    ],
    sd: Annotated[
        float | None,
        typer.Option(
            help="standard deviation of the loss between seeds; with --paired, of the difference "
            "of two arms by seed"
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="instead of --sd: losses, a column for each setting and a row for each seed",
        ),
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="both arms are run under the same seeds")
    ] = False,
    alpha: Annotated[float, typer.Option(help="chance of a false difference, two-sided")] = 0.05,
    power: Annotated[float, typer.Option(help="chance to show the effect")] = 0.9,
    as_json: Json = False,
) -> None:
    """From the spread between seeds to the seeds needed: how many runs a side show an effect with
    the power asked for, and what fewer would show.
    """
    spread = None if table is None else _spread(table, paired)
    if (sd is None) == (spread is None):
        raise UserError(
            "the spread between seeds comes from one place",
            parameter="sd",
            found="neither --sd nor --table" if sd is None else "both --sd and --table",
            fix="give --sd 0.015, or --table FILE.csv",
        )
    asked = _Asked(effect, paired, alpha, power)
    deviation = spread.deviation if spread is not None else float(sd or 0)
    found = {**vars(asked), "sd": deviation, "seeds": asked.seeds(deviation)}
    if spread is not None:
        low, high = spread.deviation_interval()
        found |= {"sd_degrees": spread.degrees, "sd_low": low, "sd_high": high}
        found |= {"seeds_at_sd_high": asked.seeds(high)}
    rows = asked.rows(deviation, found["seeds"])
    if as_json:
        named = [dict(zip(("seeds", "half_width", "power"), row, strict=True)) for row in rows]
        print_json({**found, "table": named})
        return
    header = ("seeds a side", "half-width", "power")
    print_table(header, [(seeds, f"{width:.4g}", f"{shown:.3f}") for seeds, width, shown in rows])
    _explain(found)


def _spread(path: Path, paired: bool) -> Variance:
    """The variance between seeds of single runs, or of differences by seed.

    Raises: UserError, of the file, where its losses show none.
    """
    from artifacts.statistics.pooled import difference_variance, pooled_variance
    from pipelines.commands.tunnel.loss_table import read_losses

    table = read_losses(path)
    columns = list(table.values())
    try:
        if paired:
            rows = [row for row in zip(*columns, strict=True) if None not in row]
            spread = difference_variance([[loss or 0.0 for loss in row] for row in rows])
        else:
            spread = pooled_variance(
                [[loss for loss in column if loss is not None] for column in columns]
            )
    except UserError as error:
        raise UserError(
            error.message, file=path, found=error.found, allowed=error.allowed, fix=error.fix
        ) from None
    if spread.value == 0:
        raise UserError(
            "the losses do not differ between seeds",
            file=path,
            found=f"{len(columns)} columns whose rows are all alike",
            fix="run settings under seeds that change the start or the order of the data",
        )
    return spread


def _explain(found: dict[str, Any]) -> None:
    of = "of differences by seed" if found["paired"] else "of single runs"
    print_text(
        f"An effect of {found['effect']:g} at a standard deviation {found['sd']:.4g} {of} needs "
        f"{found['seeds']:,} seeds a side for power {found['power']:g} at alpha {found['alpha']:g}."
    )
    if "sd_low" in found:
        print_text(
            f"The deviation itself is known with {found['sd_degrees']:g} degrees of freedom: "
            f"95 % interval {found['sd_low']:.4g} to {found['sd_high']:.4g}; at its upper end "
            f"{found['seeds_at_sd_high']:,} seeds are needed."
        )


def register(app: typer.Typer) -> None:
    """Hang the command on its group."""
    app.command("power")(power_command)
