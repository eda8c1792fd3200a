"""Reasons: how many documents each rule drops first, how many it would, and how many only it would.

The last is the marginal value of a rule: without it those documents would be in the corpus (as far
as row-by-row rules decide; deduplication depends on what else is there and is not counted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.tables import read_parquet
from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.report.rule_measures import broken, measure_name, measured
from pipelines.report.verdict_trail import Choosing
from pipelines.signals.rules import Rule

SAMPLES = 3
NEVER_FIRST = ""  # reason of bits whose name no row tells: they count as another rule, no more
Key = tuple[str, str]  # (step, reason)


@dataclass(frozen=True, order=True)
class Sample:
    """A dropped document near the threshold of its rule: ``distance`` is relative, 0 where there is
    no threshold.
    """

    distance: float
    id: tuple[int, int]
    chunk: int
    row: int
    measured: str  # what the rule saw, e.g. ``words 49 < 50``; may be empty


@dataclass
class ReasonTally:
    """Counts over all measured documents, a chunk at a time. ``fires`` and ``only`` know row-by-row
    rules alone.
    """

    fires: dict[Key, int] = field(default_factory=dict)
    only: dict[Key, int] = field(default_factory=dict)
    samples: dict[Key, list[Sample]] = field(default_factory=dict)

    def add(self, columns: ChunkColumns, choices: Sequence[Choosing]) -> None:
        fired: dict[Key, NDArray[np.bool_]] = {}
        for choosing in choices:
            for key, rows in _fired(columns, choosing).items():
                fired[key] = fired[key] | rows if key in fired else rows
        together = sum(
            (rows.astype(np.int64) for rows in fired.values()), np.zeros(len(columns.ids), np.int64)
        )
        for key, rows in fired.items():
            if key[1] == NEVER_FIRST:
                continue
            self.fires[key] = self.fires.get(key, 0) + int(rows.sum())
            self.only[key] = self.only.get(key, 0) + int((rows & (together == 1)).sum())
        rules = {
            (choosing.step, rule.reason): rule
            for choosing in reversed(choices)
            for rule in reversed(choosing.rules)
        }
        self._sample(columns, rules)

    def _sample(self, columns: ChunkColumns, rules: dict[Key, Rule]) -> None:
        dropped = np.flatnonzero(~columns.kept)
        keys = sorted(
            set(zip(columns.stage[dropped].tolist(), columns.reason[dropped].tolist(), strict=True))
        )
        for step, reason in keys:
            rows = dropped[(columns.stage[dropped] == step) & (columns.reason[dropped] == reason)]
            near = _nearest(columns, rows, rules.get((step, reason)))
            self.samples[step, reason] = sorted([*self.samples.get((step, reason), []), *near])[
                :SAMPLES
            ]


def dropped_by_reason(record: dict[str, Any]) -> dict[Key, dict[str, int]]:
    """Documents dropped by (step, reason), as the ledgers have them: documents and bytes; in order
    of steps.
    """
    counts: dict[Key, dict[str, int]] = {}
    for ledger in record["ledgers"]:
        for reason, count in sorted(ledger["total"]["dropped"].items()):
            counts[ledger["step"], reason] = count
    return counts


def _fired(columns: ChunkColumns, choosing: Choosing) -> dict[Key, NDArray[np.bool_]]:
    """Rows each reason of a step fires on. Bits are named by the step's rules, else by rows where
    they come first.
    """
    table = read_parquet(columns.store, choosing.verdicts.name, "signals", ["rules", "reason"])
    bits = table["rules"].to_numpy()
    if choosing.rules:
        names = [(place, rule.reason) for place, rule in enumerate(choosing.rules)]
    else:
        lowest = bits & (~bits + np.uint64(1))
        firsts, places = np.unique(lowest, return_index=True)
        named = {
            int(bit).bit_length() - 1: str(table["reason"][int(row)].as_py())
            for bit, row in zip(firsts, places, strict=True)
            if bit
        }
        names = [
            (place, named.get(place, NEVER_FIRST))
            for place in range(int(bits.max()).bit_length() if len(bits) else 0)
        ]
    fired: dict[Key, NDArray[np.bool_]] = {}
    for place, reason in names:
        rows = (bits >> np.uint64(place)) & np.uint64(1) == 1
        fired[choosing.step, reason] = (
            fired[choosing.step, reason] | rows if (choosing.step, reason) in fired else rows
        )
    return fired


def _nearest(columns: ChunkColumns, rows: NDArray[np.int64], rule: Rule | None) -> list[Sample]:
    """The rows whose measure is nearest to the threshold, then by id."""
    values = None if rule is None else measured(columns, rule)
    distance = np.zeros(len(rows))
    if rule is not None and values is not None:
        distance = np.abs(values[rows] - rule.threshold) / max(abs(rule.threshold), 1e-9)
        distance[~broken(rule, values[rows])] = np.inf
    ids = columns.ids[rows]
    order = np.lexsort((ids[:, 1], ids[:, 0], distance))[:SAMPLES]
    found = []
    for place in order:
        row = int(rows[place])
        id_ = (int(ids[place, 0]), int(ids[place, 1]))
        found.append(
            Sample(float(distance[place]), id_, columns.chunk.number, row, _said(rule, values, row))
        )
    return found


def _said(rule: Rule | None, values: NDArray[np.float64] | None, row: int) -> str:
    if rule is None or values is None or not broken(rule, values[row : row + 1])[0]:
        return ""
    return f"{measure_name(rule)} {values[row]:.4g} {rule.comparison} {rule.threshold:g}"
