"""The section of a report on benchmark tasks: what every ending reached, and what it had seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.report.calls import TRAIN, recipe_of
from pipelines.report.numerals import count, quantity, signed, uncertain
from pipelines.report.training_metrics import Trainings

LETTERS_WORK = 1_000_000_000
"""Parameters below which models have not been seen to answer by letter better than by chance."""

_SHARE = "_accuracy"
_NAMES = {
    "gold_bits_per_byte": "right answer, bits per byte",
    "cloze_accuracy": "options by their text, accuracy",
}


def scores_section(record: Mapping[str, Any], trainings: Trainings | None) -> dict[str, Any] | None:
    """Rows of tasks and measures with a cell for each ending; None where nothing was scored."""
    training = record.get("training")
    if not training or trainings is None or not training.get("scores"):
        return None
    endings = {trainings.main.name: training, **record["branches"]}
    scored = {name: facts["scores"] for name, facts in endings.items() if facts.get("scores")}
    rows = [
        {
            "task": task if place == 0 else "",
            "count": measure["items"],
            "measure": _NAMES.get(measure["measure"], measure["measure"].replace("_", " ")),
            "chance": None if measure["chance"] is None else f"{100 * measure['chance']:.1f} %",
            "cells": [_cell(scores.get(task), measure["measure"]) for scores in scored.values()],
            "seen": _seen(scored, task) if place == 0 else [],
        }
        for task, facts in training["scores"].items()
        for place, measure in enumerate(facts["measures"])
    ]
    return {
        "endings": [*scored],
        "rows": rows,
        "size": _size(trainings),
        "overlap": recipe_of(dict(record), TRAIN)["evaluate"]["overlap"],
        "files": [facts["file"] for facts in training["scores"].values()],
        "notes": [
            note for task, facts in training["scores"].items() if (note := _note(task, facts))
        ],
    }


def _cell(facts: Mapping[str, Any] | None, name: str) -> dict[str, Any] | None:
    """A figure with half of its interval, and whether it is told from guessing."""
    measure = next(
        (one for one in (facts or {}).get("measures", []) if one["measure"] == name), None
    )
    if measure is None:
        return None
    mean, half, chance = measure["mean"], measure["half_width"], measure["chance"]
    change = _change((facts or {}).get("minus_main", {}).get(name), name)
    if not name.endswith(_SHARE):
        return {"text": uncertain(mean, half), "guessing": False, "change": change}
    interval = "" if half is None else f" ± {100 * half:.1f}"
    guessing = chance is not None and (half is None or abs(mean - chance) <= half)
    return {"text": f"{100 * mean:.1f}{interval} %", "guessing": guessing, "change": change}


def _change(difference: Mapping[str, Any] | None, name: str) -> str:
    """A branch minus the run, over the same items; nothing where there is no interval."""
    if difference is None:
        return ""
    value, half = difference["difference"], (difference["high"] - difference["low"]) / 2
    if name.endswith(_SHARE):
        return f"{signed(100 * value, 1)} \u00b1{100 * half:.1f}"
    return uncertain(value, half, plus=True)


def _seen(scored: Mapping[str, Any], task: str) -> list[tuple[str, str]]:
    """Of each ending, how many items its training had seen, and how many nobody can look for; once
    where all had seen as many.
    """
    told = []
    for scores in scored.values():
        found = scores[task]["contamination"]
        hidden = found["items"] - found["searched"]
        short = f"{count(hidden)} too short to look for" if hidden else ""
        told.append((f"{count(len(found['contaminated']))} of {count(found['items'])}", short))
    return told if len(set(told)) > 1 else told[:1]


def _note(task: str, facts: Mapping[str, Any]) -> str:
    """What a reader must know of a task's figures, each thing once; nothing where there is none."""
    said = [clause for one in facts["measures"] for clause in (one["note"] or "").split("; ")]
    return f"{task}: {'; '.join(dict.fromkeys(filter(None, said)))}." if any(said) else ""


def _size(trainings: Trainings) -> str:
    """What a model of this size cannot show; nothing where it may."""
    parameters = trainings.parameters
    if parameters is None or parameters >= LETTERS_WORK:
        return ""
    return (
        f"A model with {quantity(parameters)} parameters does not answer questions by naming a "
        "letter: below about a billion that is guessing. So options are compared by their text, "
        "and bits per byte of the right answer move long before any accuracy does. An accuracy "
        "whose interval holds the share of guessing says nothing about the model."
    )
