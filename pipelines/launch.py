"""The console command's first step: make sure the floors on the path are ours.

The packages have the short names of the house's floors, so a file named ``trainer.py`` beside a
recipe could stand in their way. Child processes start with a safe path (PYTHONSAFEPATH), and a
floor that comes from elsewhere is an error before anything runs.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

# artifacts.floors has them too, but no floor is imported before it is known to be ours
FLOORS = ("artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines")


def foreign_floors(home: Path) -> dict[str, str]:
    """Floors that Python would import from another place than ``home``: name -> where."""
    foreign = {}
    for floor in FLOORS:
        spec = importlib.util.find_spec(floor)
        origin = None if spec is None else spec.origin
        if origin is None or Path(origin).resolve().parent.parent != home:
            foreign[floor] = origin or "nowhere"
    return foreign


def owners(floor: str) -> list[str]:
    """Other distributions that have installed a package of that name."""
    found = metadata.packages_distributions().get(floor, ())
    return sorted({name for name in found if name != "windtunnel"})


def main() -> None:
    """Entry point of the ``windtunnel`` command."""
    os.environ["PYTHONSAFEPATH"] = "1"
    # torch threads that wait give way sooner: steadier on shared cores
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    home = Path(__file__).resolve().parent.parent
    foreign = foreign_floors(home)
    if foreign:
        told = [
            f"windtunnel: the package {floor!r} would be imported from {origin!a}"
            for floor, origin in foreign.items()
        ]
        others = sorted({name for floor in foreign for name in owners(floor)})
        _refuse([*told, f"  allowed: {home}"], others)
    try:
        from pipelines.commands.app import run_command
        from pipelines.commands.terminal.shown import show_streams

        show_streams()
        run_command()
    except ImportError as error:  # of a module that another distribution has written over
        owned = {floor: names for floor in FLOORS if (names := owners(floor))}
        if not owned:
            raise
        told = [f"windtunnel: {error}"]
        told += [f"  found:   {floor} is also of {', '.join(owned[floor])}" for floor in owned]
        _refuse(told, sorted({name for names in owned.values() for name in names}))


def _refuse(told: list[str], others: list[str]) -> NoReturn:
    """Say what is wrong and which distributions to uninstall, and end."""
    fix = (
        f"pip uninstall {' '.join(others)}, which installed it; then install windtunnel again, "
        "or keep each in an environment of its own"
        if others
        else "remove it from PYTHONPATH, or rename it"
    )
    print("\n".join([*told, f"  fix:     {fix}"]), file=sys.stderr)
    raise SystemExit(2)
