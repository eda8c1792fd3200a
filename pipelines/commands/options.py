"""What all commands share: their common options, and tables on the terminal."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Runs = Annotated[str, typer.Option("--runs", help="folder or store URL that holds the runs")]
Json = Annotated[bool, typer.Option("--json", help="exact machine-readable output")]


def print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A plain table; integers are grouped and aligned to the right."""
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*[f"{value:,}" if isinstance(value, int) else str(value) for value in row])
    for column, value in zip(table.columns, rows[0] if rows else (), strict=False):
        column.justify = "right" if isinstance(value, int) else "left"
    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)


Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="with --roofline: H200, H100, A100, or with your figures H200:copy=4.1,matmul=760",
    ),
]
