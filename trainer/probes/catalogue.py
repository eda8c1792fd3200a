"""The probes there are, by the names that settings give; a further one is a file and a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from artifacts.errors import UserError
from trainer.probes.coordinates import Coordinates
from trainer.probes.dynamics import Dynamics
from trainer.probes.noise_scale import NoiseScale
from trainer.probes.probe import Probe, Steps


def _noise_scale(
    first: int = 1, last: int | None = None, every: int = 1, half_life: float = 20.0
) -> Probe:
    return NoiseScale(Steps(first, last, every), half_life)


PROBES: dict[str, Callable[..., Probe]] = {
    "coordinates": Coordinates,
    "dynamics": Dynamics,
    "noise_scale": _noise_scale,
}
"""What makes a probe from its settings."""


def probes_of(settings: Mapping[str, Mapping[str, Any]]) -> list[Probe]:
    """Probes by name with their settings. Raises: UserError for a name that is none, and for a
    setting that the probe does not take.

    >>> [probe.name for probe in probes_of({"noise_scale": {"every": 4}})]
    ['noise_scale']
    """
    return [_probe(name, own) for name, own in settings.items()]


def _probe(name: str, settings: Mapping[str, Any]) -> Probe:
    if name not in PROBES:
        raise UserError(
            "no such probe",
            field="probes",
            found=name,
            allowed=sorted(PROBES),
            fix="name one of these",
        )
    takes = inspect.signature(PROBES[name]).parameters
    for setting in settings:
        if setting not in takes:
            raise UserError(
                f"the probe {name} has no such setting",
                field=("probes", name),
                found=setting,
                allowed=sorted(takes),
                fix="use one of these, or leave it out",
            )
    return PROBES[name](**settings)
