"""What an objective gives a run, checked where the run takes it: an objective that breaks its word
ends the run with its name and the fix, and no step is made.
"""

from __future__ import annotations

import math
from typing import Any

from artifacts.errors import UserError
from mixtures.loader.loader import Batch
from trainer.objectives.objective import Columns, M, Objective


def rows_together(objective: Objective[Any]) -> int:
    """Rows that no micro-batch parts. Raises: UserError when fewer than one."""
    if objective.rows_together < 1:
        raise _broken(objective, "rows_together", objective.rows_together, "1, or 2 for pairs")
    return objective.rows_together


def normaliser(objective: Objective[Any], columns: Columns) -> float:
    """What a global batch is divided by. Raises: UserError when it is not finite, or negative."""
    total = float(objective.normaliser(columns))
    if not (math.isfinite(total) and total >= 0):
        raise _broken(
            objective, "normaliser", total, "a finite number above 0, or 0 where nothing is learnt"
        )
    return total


def measure_of(objective: Objective[M], batch: Batch, kept: Columns, source: str) -> M:
    """What the rows of a batch of one source came to. Raises: UserError when that is left out."""
    measures = objective.measure(batch, kept, [source])
    if source not in measures:
        raise _broken(objective, "measure", _named(measures), f"what {source} came to")
    return measures[source]


def _named(names: Any) -> str:
    return ", ".join(map(str, names)) or "no source"


def _broken(objective: Objective[Any], member: str, found: object, wanted: str) -> UserError:
    return UserError(
        f"the objective {objective.name} breaks its word",
        field=f"objective.{member}",
        found=found,
        fix=f"return {wanted} from {member}",
    )
