"""One pass over a run's tables: everything a report says, in bounded memory.

Chunks are looked at one after the other; what stays are counts, histograms and the places of a few
sampled documents, whose texts are read at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from artifacts.paths import Store
from mixtures.inspect.cut_documents import CutDocuments
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.corpus.excerpts import Excerpt, Place, Places, id_of, read_excerpts
from pipelines.report.benchmark_overlap import BenchmarkOverlaps
from pipelines.report.data_progress import PhaseEnd, phase_ends, recorded_cuts
from pipelines.report.distributions import SourceDistributions
from pipelines.report.domains import Domains
from pipelines.report.kept_samples import KeptSamples
from pipelines.report.near_duplicates import PAIRS, DedupEvidence, read_evidence
from pipelines.report.quarantine_rows import QuarantineRow, first_rows
from pipelines.report.reasons import ReasonTally
from pipelines.report.rule_signals import RuleSignals
from pipelines.report.shard_parts import SourceShards, read_shards
from pipelines.report.source_fit import source_fits
from pipelines.report.source_overlap import SourceOverlap, recorded_overlap
from pipelines.report.token_use import TokenUse, token_use
from pipelines.report.training_metrics import Trainings, read_trainings
from pipelines.report.verdict_trail import choosing_steps
from pipelines.report.versions import recorded_libraries
from pipelines.shards.take_downs import taken_down_ids
from tokenizer.report import SourceReport


@dataclass
class Findings:
    """What was found in the tables of a run; the ledgers are in its record."""

    reasons: ReasonTally = field(default_factory=ReasonTally)
    distributions: dict[str, SourceDistributions] = field(default_factory=dict)
    signals: RuleSignals = field(default_factory=RuleSignals)
    kept: KeptSamples = field(default_factory=KeptSamples)
    domains: Domains = field(default_factory=Domains)
    evidence: list[DedupEvidence] = field(default_factory=list)
    overlaps: BenchmarkOverlaps = field(default_factory=BenchmarkOverlaps)
    overlap: SourceOverlap | None = None
    quarantine: list[QuarantineRow] = field(default_factory=list)
    tokens: TokenUse | None = None
    fits: dict[str, SourceReport] = field(default_factory=dict)
    shards: list[SourceShards] = field(default_factory=list)
    trainings: Trainings | None = None
    reached: list[PhaseEnd] = field(default_factory=list)
    cut: list[CutDocuments] = field(default_factory=list)
    libraries: list[tuple[str, str]] = field(default_factory=list)
    places: Mapping[tuple[int, int], Place] = field(default_factory=dict)
    excerpts: Mapping[Place, Excerpt] = field(default_factory=dict)

    def excerpt(self, document: tuple[int, int]) -> Excerpt | None:
        """The sampled document of that id; None where it was not found."""
        place = self.places.get(document)
        return None if place is None else self.excerpts.get(place)


def collect(store: Store, record: dict[str, Any]) -> Findings:
    """Look at everything the run recorded, as far as it has got. No text of a document that was
    taken down is among it.
    """
    chunks = [Chunk.from_json(value) for value in record["chunks"]]
    hidden = {id_of(one) for one in taken_down_ids(store)}
    found = Findings(
        kept=KeptSamples(hidden),
        quarantine=first_rows(store, record["quarantine"]),
        libraries=recorded_libraries(store, record),
        domains=Domains.over(chunks),
    )
    found.overlap = recorded_overlap(record)
    exact = {step for step, facts in record["evidence"].items() if "clusters" in facts}
    found.evidence = [
        read_evidence(store, step, facts["file"]["name"], 0 if step in exact else PAIRS)
        for step, facts in record["evidence"].items()
    ]
    places = Places(
        document
        for evidence in found.evidence
        for pair in evidence.pairs
        for document in (pair.removed, pair.kept)
    )
    for chunk in chunks:
        if "size" in chunk.signals and chunk.signals["size"].rows:
            columns, choices = ChunkColumns(store, chunk), choosing_steps(store, chunk)
            found.reasons.add(columns, choices)
            found.signals.add(columns, choices)
            found.distributions.setdefault(chunk.source, SourceDistributions()).add(columns)
            found.kept.add(columns)
            found.domains.add(columns)
            found.overlaps.add(columns)
            places.add(columns)
            if found.overlap is not None:
                found.overlap.add(columns)
    found.places = places.found
    excerpts = read_excerpts(store, chunks, [*places.found.values(), *_sampled(found)])
    found.excerpts = {
        place: excerpt for place, excerpt in excerpts.items() if id_of(excerpt.id) not in hidden
    }
    if record["tokenizer"]:
        found.tokens = token_use(store, record)
        found.fits = source_fits(store, record, chunks)
    found.shards = read_shards(store, record)
    found.trainings = read_trainings(store, record)
    found.reached = phase_ends(store, record, found.trainings)
    found.cut = recorded_cuts(store, record, found.trainings)
    return found


def _sampled(found: Findings) -> Iterable[Place]:
    for samples in found.reasons.samples.values():
        yield from ((sample.chunk, sample.row) for sample in samples)
    for _, drawn in found.kept.places():
        yield from drawn
    yield from ((overlap.chunk, overlap.row) for overlap in found.overlaps.fullest)
