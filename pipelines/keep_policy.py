"""Which copy of a duplicate stays: an expression over columns, made a total order.

``"words desc, date desc, source_rank"`` prefers the longest text, then the newest, then the source
named first in the recipe; ``id`` always decides last, so the answer never depends on the order in
which documents arrive. Missing values lose against present ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from artifacts.errors import UserError


@dataclass(frozen=True)
class PolicyKey:
    column: str
    descending: bool


@dataclass(frozen=True)
class KeepPolicy:
    """A parsed policy; ``measures`` says which measure makes each column."""

    text: str
    keys: tuple[PolicyKey, ...]
    measures: dict[str, str]

    def sort_columns(self) -> list[str]:
        return [key.column for key in self.keys if key.column != "id"]

    def sort_descending(self) -> list[bool]:
        return [key.descending for key in self.keys if key.column != "id"]

    def needs(self) -> tuple[str, ...]:
        """Measures whose signals the policy reads."""
        return tuple(sorted({self.measures[key.column] for key in self.keys if key.column in self.measures}))


def parse_keep_policy(text: str, columns: dict[str, str], field: str = "keep") -> KeepPolicy:
    """Parse a policy; ``columns`` maps each signal column to the measure that makes it.

    Raises: UserError naming an unknown column or direction, and what is allowed.
    """
    keys = []
    for part in text.split(","):
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise UserError(
                "not a keep policy",
                field=field,
                found=part.strip() or text,
                fix='write columns separated by commas, each with an optional "asc" or "desc": "words desc, id"',
            )
        name = words[0]
        allowed = sorted({*columns, "source_rank", "id"})
        if name not in allowed:
            raise UserError(
                "unknown column in a keep policy",
                field=field,
                found=name,
                allowed=allowed,
                fix="use one of these columns, or put the stage that measures it before this one",
            )
        if name == "id":
            if words[1:] == ["desc"]:
                raise UserError("id is the last resort and always ascends", field=field, found=part.strip(), fix='write "id"')
            break
        keys.append(PolicyKey(name, words[1:] == ["desc"]))
    return KeepPolicy(text, tuple(keys), dict(columns))


def keep_ranks(policy: KeepPolicy, words: NDArray[np.uint64], columns: Mapping[str, Any]) -> NDArray[np.int64]:
    """Rank of each row in keep order, 0 = most wanted: (n,), a permutation of 0 … n-1.

    words: (n, 2) halves of the ids, see :func:`artifacts.ids.as_words`. columns: of the policy, numpy arrays or polars
    series of n values. The order is total: whatever the policy leaves equal is ordered by id.
    """
    frame: dict[str, Any] = {"id_high": words[:, 0], "id_low": words[:, 1], "row": np.arange(len(words), dtype=np.int64)}
    frame.update({name: columns[name] for name in policy.sort_columns()})
    order = pl.DataFrame(frame).sort(
        by=[*policy.sort_columns(), "id_high", "id_low"],
        descending=[*policy.sort_descending(), False, False],
        nulls_last=True,
    )["row"]
    rank = np.empty(len(words), np.int64)
    rank[order.to_numpy()] = np.arange(len(words), dtype=np.int64)
    return rank
