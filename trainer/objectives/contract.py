"""What an objective gives a run, checked where the run takes it: an objective that breaks its word
ends the run with its name and the fix, and no step is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from artifacts.errors import UserError
from mixtures.loader.loader import Batch
from trainer.objectives.objective import Columns, M, Objective


def rows_together(objective: Objective[Any]) -> int:
    """Rows that no micro-batch parts. Raises: UserError when fewer than one."""
    found = objective.rows_together
    if type(found) is not int or found < 1:
        raise _broken(objective, "rows_together", found, "1, or 2 for pairs")
    return found


def normaliser(objective: Objective[Any], columns: Columns) -> float:
    """What a global batch is divided by. Raises: UserError when it is not finite, or negative."""
    found: object = objective.normaliser(columns)
    total = float(found) if isinstance(found, int | float | np.number) else math.nan
    if not (math.isfinite(total) and total >= 0):
        raise _broken(
            objective, "normaliser", found, "a finite number above 0, or 0 where nothing is learnt"
        )
    return total


def measure_of(objective: Objective[M], batch: Batch, kept: Columns, source: str) -> M:
    """What the rows of a batch of one source came to. Raises: UserError when that is left out."""
    measures = objective.measure(batch, kept, [source])
    if not isinstance(measures, Mapping) or measures.get(source) is None:
        known = ", ".join(measures) or "no source" if isinstance(measures, Mapping) else measures
        raise _broken(objective, "measure", known, f"what {source} came to, by its name,")
    return measures[source]


def _broken(objective: Objective[Any], member: str, found: object, wanted: str) -> UserError:
    return UserError(
        f"the objective {objective.name} breaks its word",
        field=f"objective.{member}",
        found=found,
        fix=f"return {wanted} from {member}",
    )
