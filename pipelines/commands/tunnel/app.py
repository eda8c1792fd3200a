"""The group windtunnel tunnel: one line for each command."""

from __future__ import annotations

import typer

from pipelines.commands.tunnel.power import register as register_power
from pipelines.commands.tunnel.studies import register as register_studies

tunnel_app = typer.Typer(
    no_args_is_help=True,
    help="Find out on small models what a large one will do, with intervals.",
)
register_power(tunnel_app)
register_studies(tunnel_app)


@tunnel_app.callback()
def group() -> None:
    """Find out on small models what a large one will do, with intervals."""
