"""Options of `windtunnel branch` that say how a decay goes, and how often."""

from __future__ import annotations

from typing import Annotated

import typer

DecayLengthOption = Annotated[
    str | None,
    typer.Option(
        "--decay",
        help="length of each decay, for files that say weights alone: tokens, or as 10% a share of "
        "all tokens at its end",
    ),
]
ShapeOption = Annotated[
    str | None,
    typer.Option(
        "--shape",
        help="linear, exponential, one_minus_sqrt, cosine, inverse_linear or linear_to; default: "
        "the checkpoint's",
    ),
]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        help="decays of each mixture, on data of their own; differences are paired by seed",
    ),
]
BranchWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="decays trained at one time, with --decay, --shape or --seeds; default: as many as "
        "the cores have room for",
    ),
]
