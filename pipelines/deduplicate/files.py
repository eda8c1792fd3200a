"""Deduplicate files on their own: exact and near copies removed, everything else written out again.

    from pipelines.deduplicate.files import dedup_files

    done = dedup_files(["crawl/*.jsonl.zst", "more.parquet"], "deduped", verify=0.8)
    print(done.kept, done.removed)

It is a run of a recipe with two stages, ``exact_dedup`` and ``minhash_dedup``, made in memory and
kept under ``OUTPUT/run``: the same ledgers, evidence and cache, so that a second call finds
everything and one with another threshold only compares anew.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from artifacts.errors import UserError
from artifacts.ledger import Count
from artifacts.paths import Store
from pipelines.corpus.chunk import Chunk
from pipelines.deduplicate.sources import named_sources, output_store
from pipelines.executors import open_executor
from pipelines.executors.lent import LentExecutor
from pipelines.executors.progress import Progress
from pipelines.readers import Fields
from pipelines.recipe.load import LoadedRecipe, given_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.writers.kept_documents import FORMATS, removal_pairs, write_kept, write_pairs

RUN, KEPT, EVIDENCE, LEDGER = "run", "kept", "evidence.parquet", "ledger.json"


@dataclass(frozen=True)
class DedupOutcome:
    """What was kept and why the rest went.

    ``output``: the folder; ``entered``, ``kept``: documents and bytes (of the stream as read, of
    the texts kept); ``removed`` by reason, of texts; ``not_read`` by reason: records that are no
    documents, quarantined or dropped when read. ``files``: of kept documents, relative to
    ``output``. ``facts``: what the comparison counted. ``computed``: units made by this call, 0
    when all was there. ``seconds``: wall time.
    """

    output: str
    entered: Count
    kept: Count
    removed: dict[str, Count]
    not_read: dict[str, Count]
    files: tuple[str, ...]
    facts: dict[str, Any]
    computed: int
    seconds: float
    run: RunOutcome

    def to_json(self) -> dict[str, Any]:
        """Everything but the run itself, as plain values."""
        plain = {"output": self.output, "in": self.entered.to_json(), "kept": self.kept.to_json()}
        for name in ("removed", "not_read"):
            plain[name] = {
                reason: count.to_json() for reason, count in sorted(getattr(self, name).items())
            }
        return {
            **plain,
            "files": list(self.files),
            "facts": self.facts,
            "computed": self.computed,
            "seconds": round(self.seconds, 3),
        }


def dedup_files(
    paths: Sequence[str],
    output: str,
    *,
    ngrams: int = 5,
    bands: int = 14,
    rows: int = 8,
    verify: float = 0.7,
    keep: str | None = None,
    max_removed: float = 0.9,
    quality: int = 0,
    text_field: str = "text",
    id_field: str | None = None,
    format: str = "jsonl",
    compression: str = "none",
    workers: int = 1,
    progress: Progress | None = None,
) -> DedupOutcome:
    """Remove exact and near copies from files that a recipe could read, and write the rest under
    ``output``.

    ``paths``: files or globs, local or of a store; files of one folder are one source, and sources
    rank in the order given. ``ngrams`` (words per shingle), ``bands``, ``rows``, ``verify``
    (Jaccard similarity from which a document is a copy) and ``keep`` (which copy stays) are those
    of the stage ``minhash_dedup``; ``keep`` holds for exact copies too. ``max_removed``: share of a
    source from which either comparison stops instead. ``quality``: documents to measure recall and
    precision on, in facts and ledger (:mod:`pipelines.comparisons.quality`). ``format``: of the
    kept documents, jsonl (compressed with zstd) or parquet. ``compression``: of the texts under
    ``run/`` (zstd, lz4, none), which is a question of room and time and of nothing else. Writes
    ``kept/``, ``evidence.parquet`` (each removed document and the one that stands for it),
    ``ledger.json`` and the run's folder ``run/``.

    Raises: UserError naming the file or the parameter that is wrong (``field``), before anything is
    written where it can be known then.
    """
    started = time.monotonic()
    if format not in FORMATS:
        raise UserError(
            "no such format to write",
            field="format",
            found=format,
            allowed=FORMATS,
            fix="use one of the formats above",
        )
    fields = Fields(id_field=id_field, text_field=text_field)
    store = output_store(output)
    sources = named_sources(paths, fields, store, (KEPT, RUN))
    keeping = {} if keep is None else {"keep": keep}
    common = {**keeping, "max_removed_share": max_removed}
    near = {
        "ngrams": ngrams,
        "bands": bands,
        "rows": rows,
        "verify": verify,
        "quality_sample": quality,
        **common,
    }
    values = {
        "name": RUN,
        "corpus": {
            "sources": [
                {
                    "name": name,
                    "paths": patterns,
                    "text_field": text_field,
                    **({} if id_field is None else {"id_field": id_field}),
                }
                for name, patterns in sources.items()
            ],
            "stages": [{"exact_dedup": common}, {"minhash_dedup": near}],
            "compression": compression,
        },
    }
    loaded: LoadedRecipe | None = None
    executor = LentExecutor(lambda: open_executor(workers), workers)
    try:
        loaded = given_recipe(values)
        outcome = run_recipe(
            loaded,
            store.root,
            workers=workers,
            until="corpus",
            progress=progress,
            open_workers=lambda: executor,
        )
        chunks = tuple(Chunk.from_json(entry) for entry in outcome.record["chunks"])
        own_fields = dict.fromkeys(sources, fields)
        files, written = write_kept(
            outcome.store,
            chunks,
            own_fields,
            store,
            KEPT,
            format,
            lambda: executor,
            companions=(EVIDENCE,),
        )
    except UserError as error:
        raise _own(error, loaded) from None
    finally:
        executor.end()
    if not store.exists(EVIDENCE):
        write_pairs(store, EVIDENCE, removal_pairs(outcome.store, outcome.record, chunks))
    store.write(LEDGER, orjson.dumps(outcome.record["ledgers"], option=orjson.OPT_INDENT_2) + b"\n")
    names = tuple(ref.name for ref in files)
    return _outcome(
        outcome, store, names, outcome.computed + int(written), time.monotonic() - started
    )


def _own(error: UserError, loaded: LoadedRecipe | None) -> UserError:
    """An error about the recipe in memory, said of the parameters it was made from."""
    field = None if error.field is None else re.split(r"[.\]]", error.field)[-1]
    field = {"max_removed_share": "max_removed", "quality_sample": "quality"}.get(
        field or "", field
    )
    file = None if loaded is not None and error.file == str(loaded.file.path) else error.file
    # the corpus is empty after a step
    if error.field is not None and error.field.startswith("corpus.stages: "):
        field = None
    fix = error.fix
    if fix == "see docs/recipes.md for what this field takes":
        fix = "see windtunnel dedup run --help"
    if field == "max_removed" and fix:
        fix = fix.replace("max_removed_share: ", "--max-removed ").replace(
            "else make the stage stricter", "else raise --verify"
        )
    return error.changed(file=file, line=None, field=field, fix=fix)


def _outcome(
    outcome: RunOutcome, store: Store, files: tuple[str, ...], computed: int, seconds: float
) -> DedupOutcome:
    removed: dict[str, Count] = {}
    not_read: dict[str, Count] = {}
    kept = Count()
    for ledger in outcome.ledgers:
        total = ledger.total()
        gone = not_read if ledger.step in ("read", "unique") else removed
        for reason, count in [*total.dropped.items(), *total.quarantined.items()]:
            gone.setdefault(reason, Count()).add(count.documents, count.bytes)
        kept = total.kept
    entered = outcome.ledgers[0].total().entered
    facts = {
        name: value
        for name, value in outcome.record["evidence"]["minhash_dedup"].items()
        if name != "file"
    }
    return DedupOutcome(
        store.root, entered, kept, removed, not_read, files, facts, computed, seconds, outcome
    )
