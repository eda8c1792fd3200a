"""How good a near-duplicate comparison of a run was: recall and precision on samples, by exact
similarity over the texts.

Beside each ``minhash_dedup`` its record has ``quality``: always ``expected_recall``, which the
S-curve gives without reading a text, and with ``quality_sample`` what :mod:`dedup.near.quality`
measures. That reads the texts of all kept documents once, in one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.fingerprints import content_key, libraries
from artifacts.keyed_hash import hash_key, keyed_order
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made
from artifacts.tables import read_parquet
from dedup.near.curve import Curve
from dedup.near.quality import (
    CONFIDENCE,
    confirmations,
    expected_recall,
    proportion,
    recall_of,
    sample_index,
    similar_pairs,
)
from dedup.shingles import shingle_sets
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.view import CorpusView
from pipelines.stages.base import CompareStep, fingerprint
from pipelines.stages.minhash_dedup import MinHashCompare

VERSION = 1
PROBES = 1024  # documents whose shingle sets are in memory at a time


@dataclass(frozen=True)
class QualityTask:
    """A comparison in parts that was made: chunks before and after it, and its evidence.
    ``sample``: documents of each kind, 0 = measure nothing.
    """

    root: str
    before: tuple[Chunk, ...]
    after: tuple[Chunk, ...]
    sources: tuple[str, ...]
    step: CompareStep
    evidence: FileRef
    sample: int

    @property
    def rule(self) -> MinHashCompare:
        return cast(MinHashCompare, self.step.rule)


@dataclass(frozen=True)
class Quality:
    """Facts for the run's record."""

    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...]


def measure_quality(task: QualityTask, compute: bool = True) -> Quality | None:
    """Find the measurement or make it."""
    store = Store(task.root)
    inputs = {
        "work": "dedup_quality",
        "version": VERSION,
        "rule": fingerprint(task.rule),
        "bands": [task.rule.config.bands, task.rule.config.rows],
        "libraries": libraries("numba", "scipy"),
        "sample": task.sample,
        "evidence": task.evidence.checksum,
        "chunks": [
            [
                *chunk.text_version(),
                chunk.selection_version(),
                chunk.signals[task.rule.measure].checksum,
            ]
            for chunk in task.after
            if task.rule.measure in chunk.signals
        ],
    }

    def make(unit: Publication) -> None:
        unit.facts.update(_measured(store, task))

    made = found_or_made(
        store, f"evidence/{task.step.name}-quality/{content_key(inputs)}", inputs, make, compute
    )
    return None if made is None else Quality(made[0].facts, made[1], (made[0].prefix,))


def _measured(store: Store, task: QualityTask) -> dict[str, Any]:
    evidence = read_parquet(store, task.evidence.name, "evidence", ["id", "kept_id", "similarity"])
    curve = Curve(task.rule.config.bands, task.rule.config.rows)
    facts: dict[str, Any] = {
        "expected_recall": expected_recall(evidence["similarity"].to_numpy(), curve)
    }
    if not task.sample:
        return facts
    view = CorpusView(store, task.before, task.sources)
    kept = _kept_after(store, task, view)
    signed = view.column(task.rule.measure, "bands").is_valid().to_numpy(zero_copy_only=False)
    population = np.flatnonzero(kept & signed)
    sampled = _sampled(view.ids, population, task, "kept")
    missed = _missed(task, view, population, sampled)
    confirmed, checked = _confirmed(task, view, evidence)
    misses = proportion(int(missed.sum()), len(sampled), len(population))
    precision = proportion(confirmed, checked, len(evidence))
    recall = recall_of(len(evidence), len(population), misses)
    return facts | {
        "confidence": CONFIDENCE,
        "kept": len(population),
        "kept_sampled": misses.trials,
        "missed_in_sample": misses.hits,
        "recall": recall[0],
        "recall_low": recall[1],
        "recall_high": recall[2],
        "removed": len(evidence),
        "removed_sampled": precision.trials,
        "confirmed_in_sample": precision.hits,
        "precision": precision.value,
        "precision_low": precision.low,
        "precision_high": precision.high,
    }


def _kept_after(store: Store, task: QualityTask, view: CorpusView) -> NDArray[np.bool_]:
    """Which rows of the view the comparison kept, (n,)."""
    after = {chunk.number: chunk for chunk in task.after}
    parts = [np.zeros(0, np.bool_)]
    for chunk, mask in zip(view.chunks, view.masks, strict=True):
        parts.append(kept_mask(store, after[chunk.number])[mask])
    return np.concatenate(parts)


def _sampled(
    ids: pa.FixedSizeBinaryArray, rows: NDArray[np.int64], task: QualityTask, purpose: str
) -> NDArray[np.int64]:
    """Up to ``task.sample`` of the rows, those first by keyed hash of their ids; ascending."""
    key = hash_key(task.rule.config.seed, f"dedup quality {purpose}")
    return np.sort(rows[keyed_order(ids.take(pa.array(rows)), key)[: task.sample]])


def _missed(
    task: QualityTask, view: CorpusView, population: NDArray[np.int64], sampled: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which sampled documents some more wanted kept one resembles, (sampled,)."""
    ngrams, priority = task.rule.config.ngrams, view.priority(task.rule.policy)
    index = sample_index(shingle_sets(view.texts(sampled), ngrams), task.rule.threshold)
    missed = np.zeros(len(sampled), np.bool_)
    for rows, texts in _probes(view, population):
        pairs = similar_pairs(index, shingle_sets(texts, ngrams))
        # a document is not more wanted than itself
        more_wanted = priority[rows[pairs.probe]] < priority[sampled[pairs.sample]]
        missed[pairs.sample[more_wanted]] = True
    return missed


def _probes(
    view: CorpusView, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pa.LargeStringArray]]:
    start = 0
    for part in view.text_parts(rows):
        for first in range(0, len(part), PROBES):
            texts = part.slice(first, PROBES)
            yield rows[start : start + len(texts)], texts
            start += len(texts)


def _confirmed(task: QualityTask, view: CorpusView, evidence: pa.Table) -> tuple[int, int]:
    """Sampled removals that the second implementation confirms, and how many were looked at."""
    ids = evidence["id"].combine_chunks()
    chosen = _sampled(ids, np.arange(len(evidence)), task, "removed")
    ends = [evidence[name].combine_chunks().take(pa.array(chosen)) for name in ("id", "kept_id")]
    wanted = pa.concat_arrays(ends).unique()
    rows = pc.index_in(wanted, value_set=view.ids).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(rows)
    texts = view.texts(rows[order]).to_pylist()
    text_of = dict(zip(wanted.take(pa.array(order)).to_pylist(), texts, strict=True))
    pairs = (
        (text_of[one], text_of[other])
        for one, other in zip(ends[0].to_pylist(), ends[1].to_pylist(), strict=True)
    )
    return confirmations(pairs, task.rule.config.ngrams, task.rule.threshold)
