"""The stages of a recorded recipe, under the names their steps carry in ledgers and folders, and
the step it ends with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RecordedStage:
    name: str
    kind: str
    settings: dict[str, Any]


def recorded_stages(record: dict[str, Any]) -> tuple[RecordedStage, ...]:
    """Stages in order. One without a name of its own is called after its kind, the second
    ``kind-2``.
    """
    stages: list[RecordedStage] = []
    for entry in record["recipe"]["corpus"]["stages"]:
        ((kind, settings),) = entry.items()
        taken = {stage.name for stage in stages}
        name, number = settings.get("name") or kind, 1
        while name in taken:
            number += 1
            name = f"{kind}-{number}"
        stages.append(RecordedStage(name, kind, settings))
    return tuple(stages)


def limit_of(
    record: dict[str, Any], kind: str, setting: str, source: str | None = None, name: str = ""
) -> float | None:
    """The number that the first stage of a kind has as a setting; None where none has one above 0.
    ``source``: of the stages that it goes through; ``name``: of the one with that name.
    """
    limits = (
        stage.settings.get(setting)
        for stage in recorded_stages(record)
        if stage.kind == kind
        and name in ("", stage.name)
        and (source is None or source in (stage.settings.get("sources") or [source]))
    )
    limit = next(filter(None, limits), None)
    return None if limit is None else float(limit)


def last_step(record: dict[str, Any]) -> str:
    """What a run of this recipe reaches at its end: ``corpus``, ``shards`` or ``train``."""
    recipe = record["recipe"]
    if not recipe.get("tokenizer"):
        return "corpus"
    return "train" if recipe.get("mixture") else "shards"


def is_finished(record: dict[str, Any]) -> bool:
    """Whether the run has reached the end of its recipe."""
    return bool(record["reached"] == last_step(record))
