"""Compare models by the scores of every item: windtunnel compare-scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import Json, print_json, print_table, said_of_options
from pipelines.commands.terminal.shown import print_text

if TYPE_CHECKING:
    from pipelines.run.score_comparison import Compared
    from trainer.evaluation.comparison import Interval

QUESTIONS = (
    "Differences are A minus B, in brackets the 95 % interval.",
    "these two checkpoints: would these two weights differ on other items of this kind? Use it to "
    "choose between two models that you have. Two seeds of one recipe differ by it too.",
    "these two recipes: would other trainings by these recipes, under other seeds, differ on other "
    "items of this kind? Use it to choose between recipes.",
)
TOO_FEW = (
    "What these two recipes differ by cannot be said: it takes at least 2 trained seeds of each, "
    "better 3 or more."
)


@said_of_options({"a": "scores", "b": "against"})
def compare_scores_command(
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="A.json…",
            help="scores of A, a file for each trained seed of its recipe, as the option --items "
            "of evaluate writes them",
        ),
    ],
    against: Annotated[
        list[str],
        typer.Option(metavar="B.json", help="scores of B; repeated for each trained seed"),
    ],
    paired: Annotated[
        bool,
        typer.Option(
            "--paired", help="the files of both sides are of the same seeds in the same order"
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Is A better than B? Two intervals of the difference on every task, of two questions: "these
    two checkpoints" would differ on other items; "these two recipes" would under other seeds too.
    Only the second says that a recipe is better; it needs 2 trained seeds of each, better 3.
    """
    from pipelines.run.score_comparison import compare_scores

    found = compare_scores(scores, against, paired=paired)
    if as_json:
        print_json([row.to_json() for row in found])
        return
    _print(found)


def _print(found: tuple[Compared, ...]) -> None:
    recipes = any(row.recipes is not None for row in found)
    header: tuple[str, ...] = ("task", "measure", "items", "A", "B", "these two checkpoints")
    header += ("these two recipes",) if recipes else ()
    print_table(header, [_cells(row) for row in found])
    for text in QUESTIONS if recipes else QUESTIONS[:2]:
        print_text(text)
    if not recipes:
        print_text(TOO_FEW)


def _cells(row: Compared) -> tuple[object, ...]:
    means = (f"{row.a:.4f}", f"{row.b:.4f}")
    intervals = [row.checkpoints] if row.recipes is None else [row.checkpoints, row.recipes]
    measure = row.measure.replace("_", " ")
    return (row.task, measure, row.items, *means, *(_written(one) for one in intervals))


def _written(interval: Interval) -> str:
    return f"{interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def register(app: typer.Typer) -> None:
    """Hang the command on the main application."""
    app.command("compare-scores")(compare_scores_command)
