"""A near-duplicate comparison carried out: the parts in order, with how large they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import cast

from artifacts.fingerprints import content_key
from artifacts.ledger import Entry
from dedup.near.partitions import prefixes_for
from pipelines.comparisons.exchange import Made, Parts
from pipelines.comparisons.near.candidates import (
    ClusterTask,
    GroupTask,
    ScatterTask,
    cluster,
    group,
    scatter,
)
from pipelines.comparisons.near.decide import (
    ChooseTask,
    Chosen,
    EvidenceFile,
    EvidenceTask,
    choose,
    evidence,
)
from pipelines.comparisons.near.gather import GatherTask, gather
from pipelines.comparisons.near.in_rounds import COUNTS, CarryOut, verify_in_rounds
from pipelines.comparisons.near.verify import VerifyTask, verify
from pipelines.comparisons.whole import CompareTask, comparison_inputs
from pipelines.corpus.outcomes import CorpusOutcome
from pipelines.stages.minhash_dedup import MinHashCompare

PARTITION_KEYS = 1 << 22  # keys that one grouping task holds: about 40 bytes each
# text bytes of the candidates of a shard: about as many bytes of shingles, twice
SHARD_BYTES = 64 << 20
LARGE_CLUSTER = 4096  # documents above which a cluster is verified in rounds
PHASES = (
    "sort the keys",
    "group equal keys",
    "join clusters",
    "gather candidates",
    "compare",
    "write",
)


def compare_near(
    task: CompareTask, carry_out: CarryOut, begins: Callable[[str], None]
) -> CorpusOutcome:
    """Remove near-duplicates from ``task.chunks``; ``begins`` is told of each of :data:`PHASES`
    that has work to do.
    """
    work = _Comparison(task, carry_out, begins)
    evidence_file, chosen = work.found() or work.made()
    entries: dict[str, Entry] = {}
    for result in chosen:
        entries.setdefault(result.chunk.source, Entry()).merge(result.entry)
    moved = {result.chunk.number: result.chunk for result in chosen}
    return CorpusOutcome(
        tuple(moved.get(chunk.number, chunk) for chunk in task.chunks),
        entries,
        (evidence_file.ref,),
        evidence_file.facts,
        evidence_file.computed or any(result.computed for result in chosen),
        (*evidence_file.units, *(unit for result in chosen for unit in result.units)),
    )


class _Comparison:
    """The tasks of one comparison."""

    def __init__(
        self, task: CompareTask, carry_out: CarryOut, begins: Callable[[str], None]
    ) -> None:
        self.root, self.step, self.sources = task.root, task.step.name, task.sources
        self.rule = cast(MinHashCompare, task.step.rule)
        self.chunks = [chunk for chunk in task.chunks if task.step.concerns(chunk.source)]
        self.inputs = comparison_inputs(task)
        self.key = content_key(self.inputs)
        self.carry_out = carry_out
        self.begins = begins
        rows = [chunk.signals["size"].rows for chunk in self.chunks]
        self.first_rows = [sum(rows[:index]) for index in range(len(rows))]
        self.rows = sum(rows)

    def found(self) -> tuple[EvidenceFile, list[Chosen]] | None:
        """The outcome, if it is there whole."""
        kept = evidence(
            EvidenceTask(self.root, self.step, self.key, self.inputs, (), {}, {}), False
        )
        chosen = [
            choose(ChooseTask(self.root, self.step, self.key, chunk, ()), False)
            for chunk in self.chunks
        ]
        whole = [result for result in chosen if result is not None]
        return None if kept is None or len(whole) < len(chosen) else (kept, whole)

    def made(self) -> tuple[EvidenceFile, list[Chosen]]:
        """The outcome, of parts that are there or made."""
        self.begins(PHASES[0])
        prefixes = prefixes_for(self.rows, PARTITION_KEYS)
        scattered = self.carry_out(
            scatter,
            [
                ScatterTask(self.root, self.step, chunk, self.rule.measure, prefixes)
                for chunk in self.chunks
            ],
        )
        self.begins(PHASES[1])
        grouped = self.carry_out(group, self._group_tasks(scattered, prefixes))
        self.begins(PHASES[2])
        candidates = self.carry_out(cluster, [self._cluster_task(grouped)])[0]
        self.begins(PHASES[3])
        gathered = self.carry_out(gather, self._gather_tasks(candidates))
        self.begins(PHASES[4])
        removed = self._verified(
            self._verify_tasks(gathered, candidates), set(candidates.facts["large_shards"])
        )
        self.begins(PHASES[5])
        facts = {name: candidates.facts[name] for name in ("candidates", "largest_cluster")}
        facts["groups"] = sum(made.facts["groups"] for made in grouped)
        facts |= {name: sum(made.facts[name] for made in removed) for name in COUNTS}
        removals = tuple(made.parts for made in removed)
        sources = {chunk.number: chunk.source for chunk in self.chunks}
        kept = self.carry_out(
            evidence,
            [EvidenceTask(self.root, self.step, self.key, self.inputs, removals, sources, facts)],
        )[0]
        return kept, self.carry_out(choose, self._choose_tasks(removals))

    def _verified(self, tasks: Sequence[VerifyTask], large: set[int]) -> list[Made]:
        """Removals of every shard; those with a large cluster in rounds."""
        at_once = [task for task in tasks if task.shard not in large]
        in_rounds = [task for task in tasks if task.shard in large]
        found = [*self.carry_out(verify, at_once), *verify_in_rounds(in_rounds, self.carry_out)]
        return [
            made
            for _, made in sorted(
                zip((task.shard for task in (*at_once, *in_rounds)), found, strict=True),
                key=itemgetter(0),
            )
        ]

    def _group_tasks(self, scattered: Sequence[Made], prefixes: int) -> list[GroupTask]:
        files = tuple(
            (made.parts, first) for made, first in zip(scattered, self.first_rows, strict=True)
        )
        partitions = range(self.rule.config.bands * prefixes)
        at_once = max(1, PARTITION_KEYS * prefixes // max(1, self.rows))
        return [
            GroupTask(self.root, self.step, tuple(partitions[start : start + at_once]), files)
            for start in range(0, len(partitions), at_once)
        ]

    def _cluster_task(self, grouped: Sequence[Made]) -> ClusterTask:
        sizes = tuple(
            (chunk.number, first, chunk.signals["size"])
            for chunk, first in zip(self.chunks, self.first_rows, strict=True)
        )
        return ClusterTask(
            self.root,
            self.step,
            self.rows,
            SHARD_BYTES,
            LARGE_CLUSTER,
            sizes,
            tuple(made.parts for made in grouped),
        )

    def _gather_tasks(self, candidates: Made) -> list[GatherTask]:
        rule, parts = self.rule, candidates.parts
        with_candidates = set(parts.numbers)
        return [
            GatherTask(
                self.root,
                self.step,
                chunk,
                parts,
                rule.measure,
                rule.config,
                rule.policy,
                self.sources,
            )
            for chunk in self.chunks
            if chunk.number in with_candidates
        ]

    def _verify_tasks(self, gathered: Sequence[Made], candidates: Made) -> list[VerifyTask]:
        files: dict[int, list[tuple[int, Parts]]] = {
            shard: [] for shard in range(candidates.facts["shards"])
        }
        for number, made in zip(candidates.parts.numbers, gathered, strict=True):
            for shard in made.parts.numbers:
                files[shard].append((number, made.parts))
        rule = self.rule
        return [
            VerifyTask(
                self.root,
                self.step,
                shard,
                tuple(found),
                rule.policy,
                rule.threshold,
                rule.max_comparisons,
                rule.similarity,
            )
            for shard, found in files.items()
        ]

    def _choose_tasks(self, removals: Sequence[Parts]) -> list[ChooseTask]:
        of_chunk: dict[int, list[Parts]] = {chunk.number: [] for chunk in self.chunks}
        for parts in removals:
            for number in parts.numbers:
                of_chunk[number].append(parts)
        return [
            ChooseTask(self.root, self.step, self.key, chunk, tuple(of_chunk[chunk.number]))
            for chunk in self.chunks
        ]
