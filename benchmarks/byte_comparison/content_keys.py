"""Why a unit lies under another content key: which of the inputs that its manifest states differ.

A key hashes all inputs, so one changed input moves a folder, and with it every unit that is made
from its files. Units of a step are paired by the inputs they share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .trees import ONLY_IN, Difference, differing_fields

_KEY = re.compile(r"(?:\d{5}-)?[0-9a-f]{20}")
_HASHES = re.compile(r'.*: \[?"[0-9a-f]{16,}.* -> \[?"[0-9a-f]{16,}.*')  # also lists of hashes
FIELDS_SHOWN = 3
_OF_A_TRAINING = ("plan_hash", "model", "settings", "schedule", "seeds")


def moved_units(old: Path, new: Path, differences: Iterable[Difference]) -> list[str]:
    """A line for each step whose units lie under other keys, those first whose inputs differ in
    more than hashes of what came before.
    """
    lines = []
    moved = [one.path for one in differences if one.what.startswith(ONLY_IN)]
    for step in sorted({step for step in map(_step, moved) if step is not None}):
        before, after = _keys_in(old / step), _keys_in(new / step)
        added = after - before
        if before and added:  # beside all of the old ones, where the new checkout went on there
            gone = before - after or before
            lines.append(_explained(step, _stated(old / step, gone), _stated(new / step, added)))
    return [line for _, line in sorted(lines)]


def _step(path: str) -> str | None:
    """The folder above the first part of a path that looks like a key, None without one."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if _KEY.fullmatch(part):
            return "/".join(parts[:place])
    return None


def _keys_in(step: Path) -> set[str]:
    return {path.name for path in step.glob("*") if _KEY.fullmatch(path.name) and path.is_dir()}


def _stated(step: Path, keys: Iterable[str]) -> list[dict[str, Any]]:
    """What each unit of a step says of its inputs."""
    return [stated_inputs(step / key) for key in sorted(keys)]


def stated_inputs(unit: Path) -> dict[str, Any]:
    """Inputs as the manifest states them; of a training what its last checkpoint holds."""
    manifest = unit / "manifest.json"
    if manifest.is_file():
        inputs: dict[str, Any] = json.loads(manifest.read_bytes())["inputs"]
        return inputs
    states = sorted(unit.glob("checkpoints/step-*/state.json"))
    state = json.loads(states[-1].read_bytes()) if states else {}
    return {name: state[name] for name in _OF_A_TRAINING if name in state}


def _explained(step: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> tuple[bool, str]:
    """(whether only hashes differ, a line); the pair of units is the one with fewest differing
    inputs.
    """
    pairs = [list(differing_fields(one, another)) for one in old[:50] for another in new[:50]]
    fields = min((pair for pair in pairs if pair), key=len, default=[])
    fields.sort(key=lambda name: _HASHES.fullmatch(name) is not None)
    shown = "; ".join(fields[:FIELDS_SHOWN]) or "their manifests state the same inputs"
    more = f"; and {len(fields) - FIELDS_SHOWN} more" if len(fields) > FIELDS_SHOWN else ""
    hashes_alone = all(_HASHES.fullmatch(name) for name in fields)
    return hashes_alone, f"{step}: {len(new)} units lie under other keys: {shown}{more}"
