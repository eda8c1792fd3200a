"""What a trained run says at its end: where its checkpoints lie, its last losses, and its held-out
losses side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import HORIZONTALS
from rich.table import Table

from pipelines.report.numerals import count, signed
from pipelines.report.training_metrics import Ending, HeldOutLoss, Trainings, read_trainings
from pipelines.report.training_section import held_out_rows
from pipelines.run.driver import RunOutcome

if TYPE_CHECKING:
    from trainer.loop.branch import Comparison

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
    tokens, last loss, last checkpoint inside the run, and held-out losses by source.
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
                name: loss.__dict__ for name, loss in ending.held_out(ending.last_step).items()
            },
        }
        for ending in (() if trainings is None else trainings.endings)
    }
    facts = {
        name: record[name]
        for name in ("name", "reached", "plan", "training", "branches", "samples")
    }
    return {"run": outcome.store.root, **facts, "endings": endings, "computed": outcome.computed}


def branch_rows(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows of the table that compares branches on held-out sources."""
    rows = [
        (
            row["branch"],
            row["source"],
            _figure(row["loss"]),
            _figure(row["bits_per_byte"]),
            _figure(row["change"], "+.4f"),
        )
        for row in comparison.rows()
    ]
    return ("branch", "held-out source", "nats/token", "bits/byte", "change"), rows


def held_out_table(trainings: Trainings, width: int) -> tuple[Table, int] | None:
    """Nats per token of each held-out source before and after the decay and for each branch, with
    differences.

    Also how many branches did not fit into ``width`` columns. None where nothing was held out.
    """
    rows = held_out_rows(trainings)
    if not rows:
        return None
    headers = [
        "held-out nats/token",
        *(["before decay", "after decay", "change"] if trainings.decays else ["at the end"]),
    ]
    cells = [
        [row["source"], *([_loss(row["before"])] if trainings.decays else []), _loss(row["after"])]
        for row in rows
    ]
    if trainings.decays:
        cells = [[*line, _signed(row["change"])] for line, row in zip(cells, rows, strict=True)]
    left_out = 0
    for place, ending in enumerate(trainings.branches):
        more = [
            [_loss(row["branches"][place][0]), _signed(row["branches"][place][1])] for row in rows
        ]
        wider = [[*line, *pair] for line, pair in zip(cells, more, strict=True)]
        if left_out or _width([[*headers, ending.name, "difference"], *wider]) > width:
            left_out += 1
            continue
        headers, cells = [*headers, ending.name, "difference"], wider
    table = Table(
        box=HORIZONTALS,
        header_style="dim",
        border_style="dim",
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, _GAP - 1),
    )
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place else "left", no_wrap=True)
    for line in cells:
        table.add_row(*line)
    return table, left_out


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


def _figure(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _loss(value: HeldOutLoss | None) -> str:
    return _figure(None if value is None else value.loss)


def _signed(value: HeldOutLoss | None) -> str:
    return "-" if value is None else signed(value.loss, 4).replace("\u2212", "-")


def _width(lines: list[list[str]]) -> int:
    """Columns a table of these lines takes."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return sum(widths) + _GAP * (len(widths) - 1)
