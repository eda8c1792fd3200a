"""Options of the commands that let a model speak: how the next token is drawn."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainer.generation.settings import GenerateSettings

Temperature = Annotated[
    float, typer.Option("--temperature", help="0 takes the likeliest token each time")
]
TopK = Annotated[
    int | None, typer.Option("--top-k", help="draw from so many likeliest tokens alone")
]
TopP = Annotated[
    float,
    typer.Option("--top-p", help="draw from the likeliest tokens that make up this probability"),
]
MinP = Annotated[
    float,
    typer.Option(
        "--min-p", help="draw from tokens with at least this share of the likeliest one's chance"
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option(
        "--repetition-penalty",
        help="above 1, tokens that were read or said become less likely; also at temperature 0",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="the same seed gives the same text")]
LookBack = Annotated[
    int | None,
    typer.Option(
        "--context", help="tokens to look back; default: the longest window of the training"
    ),
]


def note_idle_filters(settings: GenerateSettings) -> None:
    """Say on standard error which options change nothing at temperature 0."""
    if settings.temperature == 0 and (idle := settings.filters):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        print(
            f"note: at temperature 0 the likeliest token is taken, and {names} changes nothing",
            file=sys.stderr,
        )
