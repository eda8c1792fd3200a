"""A run: from a recipe to a selected corpus, a tokenizer and token shards, resumable at any moment.

    loaded = load_recipe("recipes/quickstart.yaml")
    outcome = run_recipe(loaded, runs="runs", workers=2)
    print(outcome.record["shards"])

The driver holds no documents. It plans, looks which units exist under their content keys, gives the
missing ones to an executor, and keeps the ledgers. Nothing here decides a byte of the output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.books import told_of_damage
from artifacts.errors import Setting, UserError
from artifacts.extras import require
from artifacts.ledger import Ledger
from artifacts.lock import run_lock
from artifacts.paths import Store
from artifacts.publish import FileRef
from mixtures.spec.bands import is_held_out
from pipelines.corpus.outcomes import ChunkResult
from pipelines.executors import Executor, default_workers, executor_kind, open_executor
from pipelines.executors.progress import Progress, Silent
from pipelines.recipe.load import LoadedRecipe
from pipelines.run.corpus import CorpusRunner
from pipelines.run.given_tokenizer import given_model
from pipelines.run.record import RunRecord
from pipelines.run.stretches import text_bytes
from pipelines.run.work_plan import CorpusPlan, plan_corpus
from pipelines.shards.encode import EncodeTask, encode_chunk
from pipelines.shards.split_work import BandTask, SourceBands, cut_source, empty_bands
from pipelines.shards.take_downs import repeat_take_downs
from pipelines.shards.tokenizer import TokenizerTask, train_tokenizer
from pipelines.shards.write import encoded_of, shard_tasks, write_shards
from pipelines.training.ahead import check_training
from pipelines.training.watch import TrainingWatch
from pipelines.training.way import Way, chosen_way

UNTIL = ("read", "corpus", "tokenizer", "shards", "train")


@dataclass(frozen=True)
class RunOutcome:
    """Where a run lies and what it recorded (the content of ``run.json``)."""

    store: Store
    record: dict[str, Any]
    ledgers: list[Ledger]
    computed: int  # units made by this call; 0 when everything was there


def run_recipe(
    loaded: LoadedRecipe,
    runs: str = "runs",
    *,
    workers: int | None = 1,
    scheduler: str | None = None,
    executor: str | None = None,
    until: str = "train",
    progress: Progress | None = None,
    open_workers: Callable[[], Executor] | None = None,
    keep: bool = False,
    back: bool = False,
    restart: bool = False,
) -> RunOutcome:
    """Carry out a recipe under ``runs/NAME`` as far as ``until``; resumes whatever is there.

    ``workers``: local processes (1 = in this one, None = as many as the inputs are worth).
    ``scheduler``: address of a Dask scheduler instead. ``executor``: in-process, dask or datatrove;
    default: what ``workers`` and ``scheduler`` ask for. ``open_workers``: opens an executor in
    place of these, which the run closes. ``keep``, ``back``, ``restart``: as of
    :func:`pipelines.run.train_only.train_run`.

    Raises: UserError for anything wrong with the recipe, the inputs or the disk.
    """
    if until not in UNTIL:
        raise UserError("no such step to stop after", parameter="until", found=until, allowed=UNTIL)
    start = None
    if until == UNTIL[-1] and loaded.recipe.mixture is not None:
        require("train", "until", Setting("until", "shards"))
        from pipelines.run.after_training import check_ahead
        from pipelines.training.starting import start_checkpoint
        from pipelines.training.train import check_machine

        check_machine(loaded)
        check_ahead(loaded)
        start = start_checkpoint(loaded)
    given = given_model(loaded)
    if start is not None:
        from pipelines.training.starting import check_start

        check_start(loaded, start, given)
    way = chosen_way(keep, back, restart)
    check_training(loaded)
    executor_kind(workers or default_workers(), scheduler, executor)
    store = _run_store(runs, loaded.recipe.name, scheduler)
    progress = progress or Silent()
    with told_of_damage(progress.note):
        record = RunRecord(store, loaded)
        plan = plan_corpus(loaded, record.known_digests)
        suited = workers or _suited(plan, executor)
        opening = open_workers or (lambda: open_executor(suited, scheduler, executor))
        with run_lock(store):
            record.begin(plan)
            driver = _Driver(loaded, store, plan, record, progress, opening)
            driver.given = given
            try:
                driver.run(until, way)
            finally:
                driver.close()
            return RunOutcome(store, record.content, driver.ledgers, driver.computed)


def _suited(plan: CorpusPlan, executor: str | None) -> int:
    """As many workers as the inputs are worth: no more than there are chunks."""
    known = plan.input_bytes if executor is None else None
    return min(default_workers(known), max(1, len(plan.chunks)))


def _run_store(runs: str, name: str, scheduler: str | None) -> Store:
    """The run's folder, tried by a write, and on a cluster by a look from every worker. Raises:
    UserError.
    """
    if not runs.strip():
        raise UserError(
            "no folder for the runs",
            parameter="runs",
            found=repr(runs),
            fix="leave it out, or name a folder or a store",
        )
    store = Store(f"{runs.rstrip('/')}/{name}")
    with store.probe():
        pass
    if scheduler is not None:
        from pipelines.executors.dask import check_cluster

        check_cluster(scheduler, store)
    return store


class _Driver(CorpusRunner):
    """Carries a plan out, and goes on to a tokenizer, shards and a training. ``given``: the model
    of the tokenizer that the recipe names.
    """

    given: bytes | None = None

    def run(self, until: str, way: Way | None) -> None:
        self.read(() if until == "read" else self.plan.ahead())
        self.unique()
        if until == "read":
            return self.record.save(self.chunks, self.ledgers, until)
        selection = self.select()
        self.record.save(self.chunks, self.ledgers, "corpus")
        if until == "corpus" or self.loaded.recipe.tokenizer is None:
            return None
        model = self.tokenizer(selection)
        self.record.save(self.chunks, self.ledgers, "tokenizer")
        if until == "tokenizer":
            return None
        self.encode(model)
        self.shards(selection, model, self.split(selection))
        self.record.save(self.chunks, self.ledgers, "shards")
        if until == "shards" or self.loaded.recipe.mixture is None:
            return None
        self.train(way)
        self.record.save(self.chunks, self.ledgers, "train")
        self.after_training()
        self.record.save(self.chunks, self.ledgers, "train")
        return None

    # -- phases -----------------------------------------------------------------------------------

    def tokenizer(self, selection: tuple[FileRef, ...]) -> FileRef:
        settings = self.loaded.recipe.tokenizer
        assert settings is not None
        started = time.monotonic()
        self.progress.phase("tokenizer", 1, 0, 0)
        recipe = self.loaded.recipe
        task = TokenizerTask(
            self.store.root,
            self.chunks,
            selection,
            self.sources,
            settings,
            recipe.seed,
            recipe.shards.hold_out,
            () if recipe.mixture is None else recipe.mixture.hold_out,
            self.given,
        )
        with self._at(("tokenizer",)):
            trained = self._one(train_tokenizer, task)
        self.record.content["tokenizer"] = {"file": trained.model.to_json(), **trained.facts}
        self.progress.advance(1, 0)
        self._keep(
            [
                Ledger(
                    "tokenizer",
                    units=1,
                    computed=int(trained.computed),
                    seconds=time.monotonic() - started,
                )
            ]
        )
        for share in trained.facts["sample"]:
            if share["bytes_short"]:
                has, short = share["bytes_available"], share["bytes_short"]
                self.progress.note(
                    f"tokenizer sample: {share['source']} has {has:,} bytes, {short:,} fewer than "
                    "its share"
                )
        model: FileRef = trained.model
        return model

    def encode(self, model: FileRef) -> None:
        conversations = self.loaded.recipe.corpus.conversations()
        tasks = [
            EncodeTask(self.store.root, chunk, model, chunk.source in conversations)
            for chunk in self.chunks
        ]
        results = self._tasks(
            "encode", encode_chunk, tasks, [text_bytes(chunk) for chunk in self.chunks]
        )
        self._take(results)
        self.record.content["encoded"] = _totals(results)

    def split(self, selection: tuple[FileRef, ...]) -> dict[str, SourceBands]:
        """Cut the sources that the recipe cuts into bands; books every band as a source."""
        splits = self.loaded.recipe.shards.split
        if not splits:
            return {}
        evidence = tuple(
            FileRef.from_json(entry["file"]) for entry in self.record.content["evidence"].values()
        )
        own = {
            source: tuple(chunk for chunk in self.chunks if chunk.source == source)
            for source in splits
        }
        tasks = [
            BandTask(
                self.store.root,
                source,
                own[source],
                ref,
                self.plan.numbers[source],
                splits[source].pairs(),
                evidence,
            )
            for source, ref in sorted(_by_source(selection).items())
            if source in splits
        ]
        with self._at(("shards",)):
            cuts = self._tasks(
                "split",
                cut_source,
                tasks,
                [sum(text_bytes(chunk) for chunk in task.chunks) for task in tasks],
            )
        ledger = Ledger(
            "split",
            units=len(cuts),
            computed=sum(cut.computed for cut in cuts),
            seconds=sum(cut.seconds for cut in cuts),
        )
        for cut in cuts:
            for band, facts in cut.facts["bands"].items():
                entry = ledger.entry(f"{cut.source}/{band}")
                entry.entered.add(facts["documents"], facts["bytes"])
                entry.kept.add(facts["documents"], facts["bytes"])
        self._keep([ledger])
        for note in (note for cut in cuts for note in empty_bands(cut)):
            self.progress.note(note)
        return {cut.source: cut for cut in cuts}

    def shards(
        self, selection: tuple[FileRef, ...], model: FileRef, cuts: dict[str, SourceBands]
    ) -> None:
        by_source = _by_source(selection)
        settings, seed = self.loaded.recipe.shards, self.loaded.recipe.seed
        tasks = shard_tasks(self.store.root, self.chunks, by_source, model, settings, seed, cuts)
        started = time.monotonic()
        with self._at(("shards",)):
            results = self._tasks(
                "shards",
                write_shards,
                tasks,
                [sum(ref.bytes for ref in task.encoded) for task in tasks],
            )
        self.record.content["shards"] = {
            result.name: {
                "folder": result.prefix,
                "source": result.source,
                "band": result.band,
                **result.facts,
            }
            for result in results
        }
        if again := repeat_take_downs(self.store, [result.prefix for result in results]):
            self.progress.note(
                f"{again:,} documents that were taken down are not shown by the new shards either"
            )
        ledger = Ledger(
            "shards",
            units=len(results),
            computed=sum(result.computed for result in results),
            seconds=time.monotonic() - started,
        )
        encoded = next(other for other in reversed(self.ledgers) if other.step == "encode")
        for source in by_source:
            entry, size = ledger.entry(source), encoded.entry(source).kept.bytes
            entry.entered.add(sum(ref.rows for ref in encoded_of(self.chunks, source)), size)
            entry.kept.add(
                sum(result.facts["documents"] for result in results if result.source == source),
                size,
            )
        self._keep([ledger], follows=True)
        for result in results:
            if not result.facts["documents"] and (result.band is None or is_held_out(result.name)):
                self.progress.note(f"{result.name} has no documents, so it has no shards")

    def train(self, way: Way | None) -> None:
        """Plan, train and branch, in this process: torch uses the cores by itself."""
        from pipelines.training.train import train_recipe

        self.close()
        watch = TrainingWatch(self.progress)
        made = train_recipe(self.loaded, self.store, self.record.content, watch, way=way)
        self._keep(made, silent=True)

    def after_training(self) -> None:
        """Score the endings and export the model, as far as the recipe asks for it."""
        from pipelines.run.after_training import after_training

        made = after_training(self.loaded, self.store, self.record.content, self.progress)
        self._keep(made, silent=True)


def _by_source(selection: tuple[FileRef, ...]) -> dict[str, FileRef]:
    """Final selections by source."""
    return {ref.name.rsplit("/", 1)[-1].removesuffix(".parquet"): ref for ref in selection}


def _totals(results: Sequence[ChunkResult]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for result in results:
        for outcome in result.outcomes:
            total = totals.setdefault(outcome.source, {})
            for name, value in outcome.facts.items():
                total[name] = total.get(name, 0) + int(value)
    return totals
