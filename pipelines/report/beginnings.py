"""In words: what a training starts at, why it began anew beside another one, and which former
rules it keeps.

>>> beginning_lines({"beside": "training/0a", "differs": [
...     {"field": "model.layers", "before": 4, "now": 6}]})
['this training began anew; training/0a stays, and differs in model.layers (before 4, now 6)']
>>> beginning_lines({"start": {"folder": "imported", "layout": "granite"}})
['this training starts at the weights of imported (imported from the layout granite)']
>>> beginning_lines({"rules": {"schedule": 1}})[0][:44]
'an earlier release began this training; it g'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def beginning_lines(training: Mapping[str, Any]) -> list[str]:
    """A line for each thing that a run's record says of how its training began."""
    lines = []
    if "start" in training:
        start = training["start"]
        how = f"imported from the layout {start['layout']}" if "layout" in start else ""
        known = how or f"step {start['step']:,} of its training"
        lines.append(f"this training starts at the weights of {start['folder']} ({known})")
    if "beside" in training:
        differs = ", ".join(
            f"{entry['field']} (before {entry['before']}, now {entry['now']})"
            for entry in training["differs"]
        )
        lines.append(
            f"this training began anew; {training['beside']} stays, and differs in {differs}"
        )
    if training.get("rules"):
        versions = ", ".join(
            f"{name}: version {version}" for name, version in training["rules"].items()
        )
        lines.append(
            "an earlier release began this training; it goes on under the rules it began with "
            f"({versions})"
        )
    return lines
