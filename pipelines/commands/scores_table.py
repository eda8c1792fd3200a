"""Scores on benchmarks as people read them, and as a file for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import UserError
from pipelines.commands.options import print_table
from pipelines.commands.terminal.shown import print_text

if TYPE_CHECKING:
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
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="so many items of each --task, evenly spread"),
]
Items = Annotated[
    Path | None,
    typer.Option("--items", metavar="FILE", help="write a JSON file with the score of every item"),
]

CAUTION = (
    "Options are scored as the texts that may follow a question, since models below about 1B "
    "parameters choose letters by chance. ± is half of the 95 % interval over items; an accuracy "
    "whose interval holds chance does not tell the model from one that guesses."
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


def print_scores(scores: tuple[Score, ...]) -> None:
    """A table, the notes, and what the figures do not say."""
    header = ("task", "items", "measure", "value", "chance", "above chance")
    print_table(header, [_cells(score) for score in scores])
    for score in scores:
        longer = [other.note or "" for other in scores if other.task == score.task]
        if score.note and max(longer, key=len) == score.note:
            print_text(f"{score.task}: {score.note}")
    print_text(CAUTION)


def _cells(score: Score) -> tuple[object, ...]:
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
    )
