"""Where checkpoints lie in a run's folder. The one place that knows; it needs no torch.

folder_name(100)                                          checkpoints/step-00000100
state_name(100)                                           checkpoints/step-00000100/state.json
step_of("run/checkpoints/step-00000100/state.json")     100
"""

from __future__ import annotations

FOLDER = "checkpoints"
STATE = "state.json"
_STEP = "step-"

STATES = f"{FOLDER}/{_STEP}*/{STATE}"
"""Pattern of the files that make checkpoints whole."""

EXAMPLE = f"{FOLDER}/{_STEP}…"
"""A checkpoint's folder as errors show it."""


RESTORE = "restore it from a copy, or remove its folder to go on from the one before"
"""How to mend a checkpoint that is damaged."""


def folder_name(step: int) -> str:
    """A step's checkpoint inside the run."""
    return f"{FOLDER}/{_STEP}{step:08d}"


def state_name(step: int) -> str:
    """The file without which a step's checkpoint does not exist."""
    return f"{folder_name(step)}/{STATE}"


def step_of(file: str) -> int | None:
    """The step of the checkpoint that a file lies in, by its path; None where it lies in none."""
    *_, folder, _ = ("", *file.split("/"))
    number = folder.removeprefix(_STEP)
    return int(number) if folder != number and number.isdigit() else None
