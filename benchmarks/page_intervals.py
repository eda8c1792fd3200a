"""The section of the performance page on intervals of differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.page_tables import heading, table


def intervals_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """How often each interval holds what it speaks of, and what it does not."""
    yield from heading("Intervals of a difference", name, result)
    yield (
        f"Share of {result['repetitions']:,} simulated experiments in which a 95 % interval holds "
        "the true difference, in brackets its mean half width. *These two checkpoints* claims "
        "nothing of recipes: its last column is why there is another interval for those."
    )
    yield ""
    yield from table(
        (
            "experiment",
            "two recipes, of recipes",
            "two checkpoints, of these",
            "two checkpoints, of recipes",
        ),
        [_row(setting) for setting in result["settings"]],
    )


def _row(setting: dict[str, Any]) -> tuple[str, ...]:
    seeds = " and ".join(map(str, setting["seeds"]))
    clustered = f" in clusters of {setting['cluster']}" if setting["cluster"] > 1 else ""
    measure = setting["measure"].replace("_", " ")
    pairs = ", paired" if setting["paired"] else ""
    return (
        f"{measure}, {seeds} seeds{pairs}, {setting['items']} items{clustered}",
        f"{setting['recipes_hold_recipes']:.3f} (±{setting['half_width_recipes']:.3f})",
        f"{setting['checkpoints_hold_checkpoints']:.3f} (±{setting['half_width_checkpoints']:.3f})",
        f"{setting['checkpoints_hold_recipes']:.3f}",
    )
