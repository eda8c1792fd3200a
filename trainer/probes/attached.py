"""The probes of one training, as its loop sees them: all at once, each under its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from artifacts.errors import UserError
from trainer.objectives.gradient import PartGradient, PartWatch
from trainer.probes.probe import Probe, WatchedStep

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Attached:
    """Probes in the order given; without any, nothing is done. Raises: UserError when one has a
    name that no file can have, or that of another.
    """

    probes: tuple[Probe, ...] = ()

    def __post_init__(self) -> None:
        for place, name in enumerate(self.names):
            if not _NAME.fullmatch(name):
                raise UserError(
                    "not a name for a probe",
                    parameter="probes",
                    found=name,
                    fix="use letters, digits, dashes and underscores",
                )
            if name in self.names[:place]:
                raise UserError(
                    "two probes have one name, and a series of metrics is one probe's",
                    parameter="probes",
                    found=name,
                    fix="give one of them another name",
                )

    def __bool__(self) -> bool:
        return bool(self.probes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(probe.name for probe in self.probes)

    @contextmanager
    def watching(self, step: WatchedStep) -> Iterator[None]:
        """Around the forward and backward passes of a step."""
        with ExitStack() as stack:
            for probe in self.probes:
                stack.enter_context(probe.watching(step))
            yield

    def part_watch(self, step: WatchedStep) -> PartWatch | None:
        """Who sees the gradient of each micro-batch of a step; None where nobody wants it."""
        wanting = [probe for probe in self.probes if probe.wants_parts(step)]
        if not wanting:
            return None

        def watch(part: PartGradient) -> None:
            for probe in wanting:
                probe.part(step, part)

        return watch

    def gradient(self, step: WatchedStep) -> None:
        """The gradient of a step stands, before clipping."""
        for probe in self.probes:
            probe.gradient(step)

    def lines(self, step: WatchedStep) -> dict[str, dict[str, Any]]:
        """What the probes say of a step after its update, by name."""
        lines = {probe.name: probe.line(step) for probe in self.probes}
        return {name: line for name, line in lines.items() if line is not None}

    def state(self) -> dict[str, Tensor]:
        """What all of them go on with, under ``PROBE/NAME``."""
        return {
            f"{probe.name}/{name}": value
            for probe in self.probes
            for name, value in probe.state().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Give each what is its own; one that left nothing begins."""
        for probe in self.probes:
            own = f"{probe.name}/"
            probe.restore(
                {
                    name.removeprefix(own): value
                    for name, value in state.items()
                    if name.startswith(own)
                }
            )


NO_PROBES = Attached()
