"""The probes there are, by name; a further one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from artifacts.errors import UserError
from trainer.probes.coordinates import Coordinates
from trainer.probes.dynamics import Dynamics
from trainer.probes.noise_scale import NoiseScale
from trainer.probes.probe import Probe, Steps

PROBES: dict[str, Callable[..., Probe]] = {
    "coordinates": Coordinates,
    "dynamics": Dynamics,
    "noise_scale": NoiseScale,
}


def probes_of(asked: Mapping[str, Mapping[str, Any]]) -> list[Probe]:
    """Probes from their names and settings. Raises: UserError for a name or a setting that is not
    known.
    """
    found = []
    for name, settings in asked.items():
        if name not in PROBES:
            raise UserError(
                "no such probe",
                field=("probes", name),
                found=name,
                allowed=sorted(PROBES),
                fix="use one of these",
            )
        try:
            found.append(PROBES[name](**_plain(settings)))
        except TypeError as error:
            raise UserError(
                "a probe has no such setting",
                field=("probes", name),
                found=str(error),
                fix=f"see trainer.probes.{name}",
            ) from None
    return found


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a probe takes them: the ``steps`` it measures as :class:`Steps`."""
    steps = settings.get("steps")
    return dict(settings) if steps is None else {**settings, "steps": Steps(**steps)}
