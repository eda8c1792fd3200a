"""What all commands share: their common options, errors said of options, tables on the terminal."""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

import typer
from rich.table import Table
from typer.models import ArgumentInfo, OptionInfo

from artifacts.errors import Address, UserError, is_parameter
from artifacts.visible_text import shown_json
from dedup.near.settings import Door, description, limits
from pipelines.commands.hints import asking, completed
from pipelines.commands.terminal.shown import ShownConsole

P = ParamSpec("P")
R = TypeVar("R")

Runs = Annotated[str, typer.Option("--runs", help="folder or store URL that holds the runs")]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="go on with weights that have seen a document which was taken down since; the plan "
        "and the report record it",
    ),
]
Back = Annotated[
    bool,
    typer.Option(
        "--back", help="instead go on from the last checkpoint that has not seen such a document"
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="instead train anew where weights have seen one")
]
Json = Annotated[bool, typer.Option("--json", help="exact machine-readable output")]


def near_option(name: str, door: Door, default: str = "") -> Any:
    """The option of a setting of near-duplicates, with its limits at this front door."""
    bounds = limits(name, door)
    said = description(name) if bounds is None else f"{description(name)}; {bounds}"
    return typer.Option(help=f"{said}; {default}" if default else said)


def said_of_options(
    names: Mapping[str, str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a command say errors about a parameter of what it calls of its own option or argument.

    A parameter is given by the command's own of the same name, or by the one that ``names`` gives
    for it; a dotted name is of a part of a parameter.
    """

    def decorated(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
            with asking(options):
                try:
                    return command(*arguments, **options)
                except UserError as error:
                    moved = error.relocated(_mover(command, names or {}))
                    raise moved.completed(completed) from None

        return wrapped

    return decorated


def _mover(command: Callable[..., Any], names: Mapping[str, str]) -> Callable[[Address], Address]:
    """From parameters of the API to what a user of the command types."""
    typed = {
        name: _typed(name, info)
        for name, hint in get_type_hints(command, include_extras=True).items()
        for info in getattr(hint, "__metadata__", ())
        if isinstance(info, OptionInfo | ArgumentInfo)
    }

    def move(address: Address) -> Address:
        if not is_parameter(address):
            return address
        for length in range(len(address), 0, -1):
            known = ".".join(str(part) for part in address[:length])
            own = names.get(known, known)
            if own in typed:
                return (typed[own], *address[length:])
        # several at once: "bands * rows"
        said = re.sub(
            r"\w+", lambda word: typed.get(names.get(word[0], word[0]), word[0]), str(address[0])
        )
        return (said, *address[1:]) if said != address[0] else address

    return move


def _typed(name: str, info: OptionInfo | ArgumentInfo) -> str:
    """What a user types for a parameter of a command: ``--max-removed``, ``PATHS``."""
    if isinstance(info, ArgumentInfo):
        return info.metavar or name.upper()
    declared = [
        text for text in (info.default, *(info.param_decls or ())) if str(text).startswith("--")
    ]
    return str(declared[0]) if declared else f"--{name.replace('_', '-')}"


def print_json(value: Any) -> None:
    """Print a value as JSON, exact; a number that is not finite, for which JSON has no word, is
    null.
    """
    print(shown_json(_finite(value)))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A plain table; integers are grouped and aligned to the right."""
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*[f"{value:,}" if isinstance(value, int) else str(value) for value in row])
    for column, value in zip(table.columns, rows[0] if rows else (), strict=False):
        column.justify = "right" if isinstance(value, int) else "left"
    width = None if sys.stdout.isatty() else 160
    ShownConsole(width=width, markup=False, highlight=False).print(table)


Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="with --roofline: H200, H100, A100, or with your figures H200:copy=4.1,matmul=760",
    ),
]
