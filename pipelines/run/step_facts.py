"""Facts of chunks' steps, added up into the facts of the step's ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artifacts.ledger import Ledger
from pipelines.chunks.lost_files import lost_of_source
from pipelines.chunks.reading import LOST
from pipelines.corpus.outcomes import StepOutcome
from pipelines.stages.bounded_steps import MACHINE
from pipelines.stages.chunk_steps import JUDGED


def add_facts(ledger: Ledger, outcome: StepOutcome) -> None:
    """Add what a step says of a chunk: files of which a part is gone, documents that the
    machine decided on, and whom its rule sets were applied to.
    """
    if LOST in outcome.facts:
        files = ledger.facts.setdefault(LOST, {}).setdefault(outcome.source, [])
        files.extend(outcome.facts[LOST])
    if MACHINE in outcome.facts and outcome.chooses:
        fact = outcome.facts[MACHINE]
        known = ledger.facts.setdefault(MACHINE, {}).setdefault(outcome.source, {"documents": 0})
        known.update({**fact, "documents": known["documents"] + fact["documents"]})
    if JUDGED in outcome.facts:
        sums = ledger.facts.setdefault(JUDGED, {}).setdefault(outcome.source, {})
        _add(sums, outcome.facts[JUDGED])


def _add(sums: dict[str, Any], counts: Mapping[str, Any]) -> None:
    """Add numbers by their names, at any depth."""
    for name, value in counts.items():
        if isinstance(value, Mapping):
            _add(sums.setdefault(name, {}), value)
        else:
            sums[name] = sums.get(name, 0) + value


def close_lost_files(ledger: Ledger, stored_bytes: Mapping[str, int]) -> None:
    """Turn the files a ledger of reading lists into one fact for each source."""
    listed: dict[str, list[dict[str, Any]]] = ledger.facts.get(LOST, {})
    for source, files in listed.items():
        ledger.facts[LOST][source] = lost_of_source(files, stored_bytes[source])


__all__ = ["add_facts", "close_lost_files"]
