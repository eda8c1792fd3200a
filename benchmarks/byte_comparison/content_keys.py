"""Why a unit lies under another content key: which of the inputs that its manifest states differ.

A key hashes all inputs, so one changed input moves a folder, and with it every unit that is made
from its files. Units of a step are paired by the inputs they share.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .trees import Difference, differing_fields

_KEY = re.compile(r"(?:\d{5}-)?[0-9a-f]{20}")
_HASHES = re.compile(r'.*: "[0-9a-f]{16,}" -> "[0-9a-f]{16,}"')
FIELDS_SHOWN = 3
_OF_A_TRAINING = ("plan_hash", "model", "settings", "schedule", "seeds")


def moved_units(old: Path, new: Path, differences: Iterable[Difference]) -> list[str]:
    """A line for each step whose units lie under other keys, those first whose inputs differ in
    more than hashes of what came before.
    """
    keys: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for difference in differences:
        step, key = _unit(difference.path)
        if key and "only in" in difference.what:
            for side, root in enumerate((old, new)):
                if (root / step / key).is_dir():
                    keys[step][side].add(key)
    lines = []
    for step, (old_keys, new_keys) in sorted(keys.items()):
        old_keys, new_keys = old_keys - new_keys, new_keys - old_keys
        if old_keys and new_keys:
            lines.append(
                _explained(step, _stated(old / step, old_keys), _stated(new / step, new_keys))
            )
    return [line for _, line in sorted(lines)]


def _unit(path: str) -> tuple[str, str]:
    """(step's folder, key) of a file; the first part of its path that looks like a key."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if _KEY.fullmatch(part):
            return "/".join(parts[:place]), part
    return "", ""


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
    shown = "; ".join(fields[:FIELDS_SHOWN]) or "and state the same inputs"
    more = f"; and {len(fields) - FIELDS_SHOWN} more" if len(fields) > FIELDS_SHOWN else ""
    hashes_alone = all(_HASHES.fullmatch(name) for name in fields)
    return hashes_alone, f"{step}: {len(old)} units lie under other keys: {shown}{more}"
