"""Which copy of a duplicate stays: an expression over columns, made a total order.

``"words desc, date desc, source_rank"`` prefers the longest text, then the newest, then the source
named first in the recipe; ``id`` always decides last, so the answer never depends on the order in
which documents arrive. Missing values lose against present ones. Sources a stage prefers come
before all of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from artifacts.errors import Address, Parameter, UserError

# the column that comes first where sources are preferred: no name of a signal
PREFERRED = "preferred source"

_NOTHING: Mapping[str, str] = {}
_INSTEAD = {
    "tokens": (
        "tokens are counted after deduplication: take words (of the stage heuristics), characters "
        "or bytes"
    )
}


@dataclass(frozen=True)
class PolicyKey:
    column: str
    descending: bool


@dataclass(frozen=True)
class KeepPolicy:
    """A parsed policy; ``measures`` says which measure makes each column, ``prefer`` names sources
    that win over the others, in order.
    """

    text: str
    keys: tuple[PolicyKey, ...]
    measures: dict[str, str]
    prefer: tuple[str, ...] = ()

    def sort_columns(self) -> list[str]:
        return [key.column for key in self.keys if key.column != "id"]

    def sort_descending(self) -> list[bool]:
        return [key.descending for key in self.keys if key.column != "id"]

    def source_place(self, column: str, source: str, sources: Sequence[str]) -> int:
        """Value of a column that goes by source: its place among ``sources`` (all of the recipe),
        or among the preferred ones.
        """
        order = sources if column == "source_rank" else self.prefer
        return order.index(source) if source in order else len(order)

    def needs(self) -> tuple[str, ...]:
        """Measures whose signals the policy reads."""
        return tuple(
            sorted({self.measures[key.column] for key in self.keys if key.column in self.measures})
        )


KEEP: Address = (Parameter("keep"),)


def parse_keep_policy(
    text: str,
    columns: dict[str, str],
    field: Address = KEEP,
    prefer: tuple[str, ...] = (),
    measured_by: Mapping[str, str] = _NOTHING,
) -> KeepPolicy:
    """Parse a policy; ``columns`` maps each signal column to the measure that makes it, ``prefer``
    names sources that come first. ``measured_by``: columns that are not there but could be, with
    the stage that measures each.

    Raises: UserError naming an unknown column or direction, and what is allowed.
    """
    keys = [PolicyKey(PREFERRED, False)] if prefer else []
    for part in text.split(","):
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise UserError(
                "not a keep policy",
                field=field,
                found=part.strip() or text,
                fix=(
                    'write columns separated by commas, each with an optional "asc" or "desc": '
                    '"words desc, id"'
                ),
            )
        name = words[0]
        allowed = sorted({*columns, "source_rank", "id"})
        if name not in allowed:
            raise UserError(
                "unknown column in a keep policy",
                field=field,
                found=name,
                allowed=allowed,
                fix=_fix(name, measured_by),
            )
        if name == "id":
            if words[1:] == ["desc"]:
                raise UserError(
                    "id is the last resort and always ascends",
                    field=field,
                    found=part.strip(),
                    fix='write "id"',
                )
            break
        keys.append(PolicyKey(name, words[1:] == ["desc"]))
    said = f"sources {', '.join(prefer)}; {text}" if prefer else text
    return KeepPolicy(said, tuple(keys), dict(columns), prefer)


def keep_ranks(
    policy: KeepPolicy, words: NDArray[np.uint64], columns: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Rank of each row in keep order, 0 = most wanted: (n,), a permutation of 0 … n-1.

    words: (n, 2) halves of the ids, see :func:`artifacts.ids.as_words`. columns: of the policy,
    numpy arrays or polars series of n values. The order is total: whatever the policy leaves equal
    is ordered by id.
    """
    frame: dict[str, Any] = {
        "id_high": words[:, 0],
        "id_low": words[:, 1],
        "row": np.arange(len(words), dtype=np.int64),
    }
    frame.update({name: columns[name] for name in policy.sort_columns()})
    order = pl.DataFrame(frame).sort(
        by=[*policy.sort_columns(), "id_high", "id_low"],
        descending=[*policy.sort_descending(), False, False],
        nulls_last=True,
    )["row"]
    rank = np.empty(len(words), np.int64)
    rank[order.to_numpy()] = np.arange(len(words), dtype=np.int64)
    return rank


def _fix(name: str, measured_by: Mapping[str, str]) -> str:
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name in measured_by:
        return f"put the stage {measured_by[name]} before this one: it measures {name}"
    return "use one of these columns, or put the stage that measures it before this one"
