"""A roofline on the terminal: floors of every kernel by part, their sum, and the speed it
allows.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.box import HORIZONTALS
from rich.table import Table

from pipelines.commands.options import print_json
from pipelines.commands.terminal.shown import ShownConsole

if TYPE_CHECKING:
    from pipelines.recipe.fields import Recipe
    from trainer.costs.roofline import Roofline, Row

_PLAIN_WIDTH = 120


def recipe_roofline(recipe: Recipe, device: str) -> Roofline:
    """Of the recipe's model, trained as the recipe says, on a device that need not be here."""
    from pipelines.shards.settings import TokenizerSettings
    from trainer.costs.device_rates import Device
    from trainer.costs.roofline import roofline

    train = recipe.train
    tokens = train.micro_batch_windows * train.sequence_length
    return roofline(
        recipe.model.config((recipe.tokenizer or TokenizerSettings()).vocab_size),
        Device.parse(device),
        tokens=tokens,
        sequence_length=train.sequence_length,
        micro_steps=-(-train.batch_tokens // tokens),
        precision="float8" if train.float8 else "fp32" if train.precision == "fp32" else "bf16",
    )


def print_roofline(found: Roofline, as_json: bool) -> None:
    """The table and what follows from it, or exact figures."""
    if as_json:
        print_json(found.as_json())
        return
    console = ShownConsole(
        width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, markup=False
    )
    console.print(_table(found))
    for line in _summary(found):
        console.print(line)


def _table(found: Roofline) -> Table:
    steps = f"{found.micro_steps} × " if found.micro_steps > 1 else ""
    title = (
        f"{steps}{found.tokens:,} tokens in windows of {found.sequence_length:,}, "
        f"{found.precision}, on {found.device.name}"
    )
    table = Table("kernel", box=HORIZONTALS, title=title, title_justify="left", pad_edge=False)
    for name in ("calls", "MB", "GFLOP", "floor µs", "step ms", "share"):
        table.add_column(name, justify="right")
    table.add_column("bound by")
    for part, seconds in found.parts().items():
        total = ("", "", "", "", f"{seconds * 1e3:,.3f}", f"{seconds / found.seconds:.1%}", "")
        table.add_row(part, *total, style="bold")
        for row in sorted(
            (row for row in found.rows if row.part == part), key=lambda row: -row.total_us
        ):
            table.add_row(*_cells(row, found.seconds))
        table.add_section()
    return table


def _cells(row: Row, whole: float) -> tuple[str, ...]:
    products = f"{row.cost.flops / 1e9:,.1f}" if row.cost.flops else "–"
    floors = (
        f"{row.floor_us:,.1f}",
        f"{row.total_us / 1e3:,.3f}",
        f"{row.total_us / 1e6 / whole:.1%}",
    )
    return (
        f"  {row.name}",
        f"{row.calls:,}",
        f"{row.cost.bytes / 1e6:,.1f}",
        products,
        *floors,
        row.bound,
    )


def _summary(found: Roofline) -> list[str]:
    device, ceiling = found.device, found.tokens_per_second
    products = device.rate(found.precision)
    return [
        f"Ceiling: {found.seconds * 1e3:,.2f} ms a step, {ceiling:,.0f} tokens/s.",
        f"Share of {device.peak / 1e12:,.0f} TFLOP/s (dense bf16): {found.mfu(ceiling):.1%} with "
        "attention counted as computed, causally "
        f"({found.flops_per_token / 1e9:,.3g} GFLOP per token); {found.palm_mfu(ceiling):.1%} as "
        "PaLM counts "
        f"({found.palm_flops_per_token / 1e9:,.3g}).",
        f"{device.name}: copies {device.copy / 1e12:g} TB/s, products {products / 1e12:g} TFLOP/s, "
        f"attention {device.attention / 1e12:g} "
        f"({device.known}). --device {device.name}:copy=…,matmul=… takes your own.",
        "Launching kernels, the host and reading data are not counted; nothing is taken to "
        "overlap.",
    ]
