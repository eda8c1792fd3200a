"""Comparisons of small columns, carried out in one task that holds them whole.

:func:`compare_corpus` finds its unit under its content key or makes it; with ``compute=False`` it
only looks and returns None where something has to be made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from artifacts.fingerprints import content_key
from artifacts.ids import as_words
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import MANIFEST, Publication, found_or_made, publish, published
from artifacts.schemas import EVIDENCE, SELECTION
from artifacts.tables import write_parquet
from pipelines.comparisons.between_sources import cross_source
from pipelines.corpus.outcomes import CorpusOutcome, CorpusTask
from pipelines.corpus.selection import drop
from pipelines.corpus.view import CorpusView
from pipelines.stages.base import (
    CompareStep,
    CompareWhole,
    CorpusVerdict,
    fingerprint,
)


@dataclass(frozen=True)
class CompareTask(CorpusTask):
    step: CompareStep


def comparison_inputs(task: CompareTask) -> dict[str, Any]:
    """What the outcome of a comparison follows from: the rule, and texts, signals and selections of
    the documents concerned.
    """
    return {
        **fingerprint(task.step.rule),
        "sources": [source for source in task.sources if task.step.concerns(source)],
        "chunks": [
            {
                "text": chunk.text_version(),
                "selection": chunk.selection_version(),
                "signals": {
                    name: chunk.signals[name].checksum
                    for name in ("size", *task.step.rule.needs)
                    if name in chunk.signals
                },
            }
            for chunk in task.chunks
            if task.step.concerns(chunk.source)
        ],
    }


def compare_corpus(task: CompareTask, compute: bool = True) -> CorpusOutcome | None:
    """Carry out a comparison in one task: evidence first, then the new selection of every chunk
    concerned.
    """
    store = Store(task.root)
    concerned = [chunk for chunk in task.chunks if task.step.concerns(chunk.source)]
    inputs = comparison_inputs(task)
    key = content_key(inputs)

    def make(unit: Publication) -> None:
        view = CorpusView(store, concerned, tuple(inputs["sources"]))
        verdict = cast(CompareWhole, task.step.rule).compare(view)
        with publish(store, f"evidence/{task.step.name}/{key}", inputs) as evidence:
            write_parquet(evidence, "evidence.parquet", EVIDENCE, [_evidence(view, verdict)])
        entries = _write_selections(unit, task.step, view, verdict)
        unit.facts.update(
            entries={source: entry.to_json() for source, entry in entries.items()}, **verdict.facts
        )
        unit.facts.update(cross_source(view, verdict))

    if compute and published(store, f"evidence/{task.step.name}/{key}") is None:
        # a selection without its evidence is made again
        store.delete(f"selection/{task.step.name}/{key}/{MANIFEST}")
    made = found_or_made(store, f"selection/{task.step.name}/{key}", inputs, make, compute)
    evidence = published(store, f"evidence/{task.step.name}/{key}")
    if made is None or evidence is None:
        return None
    manifest, computed = made
    selections = {chunk.number: ref for chunk, ref in zip(concerned, manifest.files, strict=True)}
    entries = {
        source: Entry.from_json(value) for source, value in manifest.facts["entries"].items()
    }
    moved = tuple(
        replace(chunk, selection=selections.get(chunk.number, chunk.selection))
        for chunk in task.chunks
    )
    facts = {name: value for name, value in manifest.facts.items() if name != "entries"}
    return CorpusOutcome(
        moved,
        entries,
        (evidence.file("evidence.parquet"),),
        facts,
        computed,
        (manifest.prefix, evidence.prefix),
    )


def _write_selections(
    unit: Publication, step: CompareStep, view: CorpusView, verdict: CorpusVerdict
) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for index, (chunk, mask) in enumerate(zip(view.chunks, view.masks, strict=True)):
        gone = np.zeros(len(mask), np.bool_)
        gone[np.flatnonzero(mask)] = ~verdict.kept[view.starts[index] : view.starts[index + 1]]
        selection, entry = drop(view.store, chunk, step.name, gone, verdict.reason)
        write_parquet(unit, f"chunk-{index:06d}.parquet", SELECTION, [selection])
        entries.setdefault(chunk.source, Entry()).merge(entry)
    return entries


def _evidence(view: CorpusView, verdict: CorpusVerdict) -> pa.Table:
    """The evidence table, sorted by the removed document's id."""
    ids = view.ids.take(pa.array(verdict.document))
    words = as_words(ids)
    order = pa.array(np.lexsort((words[:, 1], words[:, 0])))
    kept = view.ids.take(pa.array(verdict.kept_row))
    cluster = view.ids.take(pa.array(verdict.cluster_row))
    columns = [
        ids,
        kept,
        pa.array(verdict.similarity),
        pa.array(verdict.bands_hit),
        cluster,
        pa.array(verdict.cluster_size),
    ]
    return pa.table([column.take(order) for column in columns], schema=EVIDENCE)
