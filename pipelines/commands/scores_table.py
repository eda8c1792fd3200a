"""Scores on benchmarks as people read them, and as a file for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import UserError
from pipelines.commands.options import print_table
from pipelines.commands.terminal.shown import print_text

if TYPE_CHECKING:
    from pipelines.evaluation.contamination import Contamination
    from pipelines.run.evaluate import Evaluation
    from trainer.evaluation.tasks.scores import Score

Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="FILE|LAYOUT=GLOB",
        help="benchmark file as its publisher has it (hellaswag, arc, mmlu, mmlu_redux, ceval, "
        "cmmlu, gsm8k, bbh), its layout told by its fields or named; may be repeated",
    ),
]
Harness = Annotated[
    list[str] | None,
    typer.Option(
        "--harness",
        metavar="NAME=FILES",
        help="benchmark that lm-evaluation-harness asks, and its files; NAME/shots=FILES: those "
        "with solved questions to show before each; may be repeated; needs the extra evaluate",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="so many items of each --task and --harness"),
]
Items = Annotated[
    Path | None,
    typer.Option("--items", metavar="FILE", help="write a JSON file with the score of every item"),
]

Seen = Annotated[
    bool,
    typer.Option(
        "--seen/--no-seen",
        help="look for items of --task and --harness in the training's shards, read whole",
    ),
]

CAUTION = (
    "Models below about 1B parameters choose letters by chance: --task scores options as texts "
    "that may follow a question, --harness asks as each benchmark does. ± is half of the 95 % "
    "interval over items; an accuracy whose interval holds chance does not tell the model from one "
    "that guesses."
)
SEEN = (
    "Seen are items of which one document, in the shards of sources that the training has shown, "
    "holds at least half of the word n-grams; of those that are long enough to be looked for."
)


def check_items(path: Path | None, tasks: list[str] | None) -> None:
    """Raises: UserError where no file of items could be written, before hours are spent."""
    if path is None:
        return
    if not tasks:
        raise UserError(
            "there are no items to write",
            parameter="items",
            found=str(path),
            fix="name a benchmark's file with --task",
        )
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            "a folder, not a file" if path.is_dir() else "no such folder",
            parameter="items",
            found=str(path),
            fix="name a file in a folder that is there",
        )


def write_items(path: Path, found: Evaluation) -> None:
    """Write everything with the score of every item. Raises: UserError where that fails."""
    try:
        text = json.dumps(found.to_json(items=True), ensure_ascii=False, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            "cannot write the file",
            parameter="items",
            found=error.strerror,
            fix="name another place",
        ) from None


def print_scores(scores: tuple[Score, ...], seen: Mapping[str, Contamination]) -> None:
    """A table, the notes, and what the figures do not say. ``seen``: what the training held of
    items, by task.
    """
    header = ("task", "items", "measure", "value", "chance", "above chance", "seen")
    print_table(header, [_cells(score, seen.get(score.task)) for score in scores])
    for task, note in dict.fromkeys((score.task, score.note) for score in scores if score.note):
        print_text(f"{task}: {note}")
    print_text(CAUTION)
    if seen:
        print_text(SEEN)


def _cells(score: Score, seen: Contamination | None) -> tuple[object, ...]:
    half = score.half_width
    interval = "" if half is None else f" ±{half:.4f}"
    above = score.above_chance
    return (
        score.task,
        len(score.values),
        score.measure.replace("_", " "),
        f"{score.mean:.4f}{interval}",
        "-" if score.chance is None else f"{score.chance:.4f}",
        "-" if above is None else f"{above:+.4f}",
        "-" if seen is None else f"{len(seen.contaminated):,} of {seen.searched:,}",
    )
