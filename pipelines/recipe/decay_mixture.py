"""A file that says what a decay shows, and not how long it is: ``weights:`` alone are enough.

    weights: {web: 0.6, sft: 0.4}
    max_epochs: {sft: 4}

It has the fields of a phase but name, length and decay mark. A file with one phase under
``phases:`` that has no length says the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import Address, Move, Place, Setting, UserError
from mixtures.spec.phase import PhaseSpec
from pipelines.recipe.load import validated
from pipelines.recipe.mistakes import PHASES
from pipelines.recipe.yaml_lines import YamlFile

DECAY = "decay"
LENGTHS = ("tokens", "percent")


@dataclass(frozen=True)
class DecayMixture:
    """The one phase of a decay. ``place``: where the file says what an address of it speaks of;
    other addresses stay.
    """

    phases: tuple[PhaseSpec, ...]
    place: Move


def load_decay(path: str | os.PathLike[str], tokens: int) -> DecayMixture:
    """Read what a decay of ``tokens`` tokens shows. Raises: UserError for anything that is wrong
    with it, and where the file says a length of its own.
    """
    file = YamlFile(Path(path))
    values, above = _phase_of(file)

    def place(address: Address) -> Place:
        ours = address[: len(PHASES)] == PHASES
        return file.place((*above, *address[len(PHASES) + 1 :])) if ours else Place(address)

    facts = {"name": DECAY, **values, "decay": True, "tokens": tokens}
    try:
        phase = validated(file, PhaseSpec, facts, above)
    except UserError as error:
        ours = error.address[: len(PHASES)] == PHASES
        raise error.relocated(place if ours else file.place) from None
    return DecayMixture((phase,), place)


def _phase_of(file: YamlFile) -> tuple[dict[str, Any], Address]:
    """The phase that a file says, as plain values, and where they stand in it."""
    values: dict[str, Any] = file.plain()
    phases = values.get("phases")
    above: Address = ()
    if "phases" in values:
        if not isinstance(phases, list) or len(phases) != 1 or not isinstance(phases[0], dict):
            raise file.error(
                ("phases",),
                "the length of a decay is said for one phase",
                found=f"{len(phases)} phases" if isinstance(phases, list) else phases,
                fix=(
                    "write weights: {…} alone, or leave ",
                    Setting("decay"),
                    " out: the phases say how long they are",
                ),
            )
        values, above = phases[0], ("phases", 0)
    for name in LENGTHS:
        if name in values:
            raise file.error(
                (*above, name),
                "the length of the decay is said twice, in the file and by the command",
                found=values[name],
                fix=(f"remove {name} from the file, or leave ", Setting("decay"), " out"),
            )
    if values.get("decay", True) is not True:
        raise file.error(
            (*above, "decay"),
            "this phase is to be a decay",
            found=values["decay"],
            fix="remove the line",
        )
    return values, above
