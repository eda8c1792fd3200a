"""What `windtunnel branch` says of decays over several seeds: means with intervals, paired by
seed.
"""

from __future__ import annotations

from typing import Any

from pipelines.report.numerals import uncertain
from pipelines.report.seed_table import Estimate, SeedTable


def seeds_json(table: SeedTable) -> dict[str, Any]:
    """The comparison exactly: its rows, the losses of the checkpoint, the branches with their
    folders and losses, and what is to be said beside them.
    """
    return {
        **table.to_json(),
        "seeds": table.seeds,
        "rows": [row.to_json() for row in table.rows()],
        "notes": table.sentences(),
    }


def seeds_rows(table: SeedTable) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows of the table: the mean over seeds in nats per token, and mean differences by
    seed, the row's own minus the checkpoint's and minus the first mixture's.
    """
    more = (f"minus {table.mixtures[0]}",) if len(table.mixtures) > 1 else ()
    header = ("mixture", "held-out source", "seeds", "nats/token", "minus start", *more)
    return header, [
        (
            row.mixture,
            row.source,
            row.mean.seeds,
            _figure(row.mean),
            _figure(row.change, plus=True),
            *([_figure(row.difference, plus=True)] if more else []),
        )
        for row in table.rows()
    ]


def _figure(found: Estimate | None, plus: bool = False) -> str:
    if found is None:
        return "-"
    return uncertain(found.value, found.half_width, plus).replace("\u2212", "-")
