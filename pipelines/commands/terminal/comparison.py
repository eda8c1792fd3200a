"""What `windtunnel branch` says: the branches on held-out sources, against their start and against
the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.report.held_out_loss import HeldOutLoss
from pipelines.report.numerals import count, listed, uncertain
from trainer.checkpoints.recorded import schedule

if TYPE_CHECKING:
    from trainer.loop.branch import Comparison

_NAMED = 4


def branch_json(comparison: Comparison) -> list[dict[str, Any]]:
    """A row per branch and held-out source, exactly: its loss, ``change`` against the start and
    ``difference`` to the first branch, each with ``half_width`` of its 95 % interval; ``targets``
    are the tokens measured, ``tokens`` those trained on.
    """
    start, *branches = comparison.measured
    first = branches[0] if branches else None
    rows = []
    for row in comparison.rows():
        branch, source = row["branch"], row["source"]
        own = _loss(comparison, branch, source)
        change = _minus(own, _loss(comparison, start, source))
        against = None if branch in (start, first) else _loss(comparison, first, source)
        difference = _minus(own, against)
        rows.append(
            {
                **row,
                "targets": None if own is None else own.tokens,
                "half_width": None if own is None else own.half_width,
                "change_half_width": None if change is None else change.half_width,
                "difference": None if difference is None else difference.loss,
                "difference_half_width": None if difference is None else difference.half_width,
            }
        )
    return rows


def branch_rows(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows of the table that compares branches on held-out sources. Every difference is
    the row's own loss minus another: that of the start, and that of the first branch.
    """
    names = list(comparison.outcomes)
    header = ("branch", "held-out source", "tokens", "nats/token", "bits/byte", "minus start")
    more = (f"minus {names[0]}",) if len(names) > 1 else ()
    rows = [
        (
            row["branch"],
            row["source"],
            "-" if row["targets"] is None else count(round(row["targets"])),
            _figure(row["loss"], row["half_width"]),
            _figure(row.get("bits_per_byte"), None),
            _figure(row["change"], row["change_half_width"], plus=True),
            *(
                [_figure(row["difference"], row["difference_half_width"], plus=True)]
                if more
                else []
            ),
        )
        for row in branch_json(comparison)
    ]
    return (*header, *more), rows


def unequal_branches(comparison: Comparison) -> list[str]:
    """In what the branches are not equal, a sentence each."""
    decays = {
        name: schedule(outcome.checkpoint).decay_start is not None
        for name, outcome in comparison.outcomes.items()
    }
    without = [name for name, decaying in decays.items() if not decaying]
    if not without or len(without) == len(decays):
        return []
    named = listed(without, _NAMED)
    return [f"not equal: the learning rate of {named} does not decay, that of the others does"]


def _loss(comparison: Comparison, branch: str | None, source: str) -> HeldOutLoss | None:
    found = None if branch is None else comparison.measured[branch][source].to_json()
    return None if found is None or found["loss"] is None else HeldOutLoss.of(found)


def _minus(value: HeldOutLoss | None, base: HeldOutLoss | None) -> HeldOutLoss | None:
    return None if value is None or base is None else value.minus(base)


def _figure(value: float | None, half_width: float | None, plus: bool = False) -> str:
    return "-" if value is None else uncertain(value, half_width, plus).replace("\u2212", "-")
