"""What a trained run says at its end: where its checkpoints lie, its last losses, and its held-out
losses side by side.
"""

from __future__ import annotations

from typing import Any, Literal

from rich.box import HORIZONTALS
from rich.table import Table

from pipelines.commands.terminal.names import shortened
from pipelines.report.endings import held_out_rows, unequal_endings
from pipelines.report.held_out_loss import HeldOutLoss
from pipelines.report.numerals import count, uncertain
from pipelines.report.training_metrics import Ending, Trainings, read_trainings
from pipelines.run.driver import RunOutcome

_GAP = 2


def training_places(trainings: Trainings) -> list[tuple[str, str]]:
    """A line for the run's training and one per branch, each with its last checkpoint."""
    places = [("training", _said(trainings.main, 0))]
    width = max((len(ending.name) for ending in trainings.branches), default=0)
    places += [
        ("" if place else "branches", _said(ending, width))
        for place, ending in enumerate(trainings.branches)
    ]
    return places


def training_json(outcome: RunOutcome) -> dict[str, Any]:
    """What a training came to, exactly: its place and facts from ``run.json``, and how far every
    ending is.

    ``computed``: trainings this call made steps of. ``endings``: per ending its folder, steps,
    tokens, last loss, last checkpoint inside the run, and held-out losses by source. ``unequal``:
    why endings do not compare, a sentence each.
    """
    record = outcome.record
    trainings = read_trainings(outcome.store, record)
    endings = {
        ending.name: {
            "folder": ending.folder,
            "from_step": ending.from_step,
            "step": ending.last_step,
            "tokens": ending.tokens,
            "loss": ending.last_loss,
            "checkpoint": ending.checkpoint,
            "held_out": {
                name: loss.to_json() for name, loss in ending.held_out(ending.last_step).items()
            },
        }
        for ending in (() if trainings is None else trainings.endings)
    }
    facts = {
        name: record[name]
        for name in ("name", "reached", "plan", "training", "branches", "samples")
    }
    unequal = [] if trainings is None else unequal_endings(trainings)
    return {
        "run": outcome.store.root,
        **facts,
        "endings": endings,
        "unequal": unequal,
        "computed": outcome.computed,
    }


def held_out_table(trainings: Trainings, width: int) -> tuple[Table, int] | None:
    """Nats per token of each held-out source before and after the decay and for each branch, with
    differences, the branch's minus the run's, and their intervals; those of the losses where they
    fit, else as many digits as they leave.

    Also how many branches did not fit into ``width`` columns. None where nothing was held out.
    """
    if not held_out_rows(trainings):
        return None
    headers, cells, left_out = _held_out_cells(trainings, width, intervals=True)
    if left_out or _width([headers, *cells]) > width:
        headers, cells, left_out = _held_out_cells(trainings, width, intervals=False)
    table = Table(
        box=HORIZONTALS,
        header_style="dim",
        border_style="dim",
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, _GAP - 1),
    )
    for place, header in enumerate(headers):
        justify: Literal["left", "right"] = "right" if place else "left"
        table.add_column(header, justify=justify, no_wrap=True, vertical="bottom")
    for line in cells:
        table.add_row(*line)
    return table, left_out


def _held_out_cells(
    trainings: Trainings, width: int, intervals: bool
) -> tuple[list[str], list[list[str]], int]:
    """Headers, rows, and how many branches did not fit."""
    rows = held_out_rows(trainings)
    decayed = ["before\ndecay", "after\ndecay", "change"]
    headers = [
        "held-out\nnats/token",
        "tokens",
        *(decayed if trainings.decays else ["at the\nend"]),
    ]
    cells = [
        [
            shortened(row["source"]),
            " to ".join(map(count, row["tokens"])) or "-",
            *([_loss(row["before"], intervals)] if trainings.decays else []),
            _loss(row["after"], intervals),
            *([_signed(row["change"])] if trainings.decays else []),
        ]
        for row in rows
    ]
    left_out = 0
    for place, ending in enumerate(trainings.branches):
        more = [
            [_loss(row["branches"][place][0], intervals), _signed(row["branches"][place][1])]
            for row in rows
        ]
        wider = [[*line, *pair] for line, pair in zip(cells, more, strict=True)]
        name = shortened(ending.name)
        if left_out or _width([[*headers, name, "difference"], *wider]) > width:
            left_out += 1
            continue
        headers, cells = [*headers, name, "difference"], wider
    return headers, cells, left_out


def _said(ending: Ending, width: int) -> str:
    loss = ""
    if ending.train:
        last = ending.last_loss
        loss = ", the last step without targets" if last is None else f", last loss {last:.4f}"
    steps = (
        f"{count(ending.last_step - ending.from_step)} steps"
        f"{f' after step {count(ending.from_step)}' if ending.from_step else ''}"
    )
    name = f"{ending.name:<{width}}  " if width else ""
    return (
        f"{name}{ending.checkpoint or ending.folder}  {steps}, {count(ending.tokens)} tokens{loss}"
    )


def _loss(value: HeldOutLoss | None, interval: bool) -> str:
    if value is None:
        return "-"
    said = uncertain(value.loss, value.half_width)
    return said if interval else said.partition(" ")[0]


def _signed(value: HeldOutLoss | None) -> str:
    if value is None:
        return "-"
    return uncertain(value.loss, value.half_width, plus=True).replace("\u2212", "-")


def _width(lines: list[list[str]]) -> int:
    """Columns a table of these lines takes."""
    widths = [
        max(len(part) for line in lines for part in line[place].split("\n"))
        for place in range(len(lines[0]))
    ]
    return sum(widths) + _GAP * (len(widths) - 1)
