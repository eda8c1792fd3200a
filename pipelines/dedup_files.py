"""Deduplicate files on their own: exact and near copies removed, everything else written out again.

    from pipelines.dedup_files import dedup_files

    done = dedup_files(["crawl/*.jsonl.zst", "more.parquet"], "deduped", verify=0.8)
    print(done.kept, done.removed)

It is a run of a recipe with two stages, ``exact_dedup`` and ``minhash_dedup``, made in memory and kept under ``OUTPUT/run``: the
same ledgers, evidence and cache, so that a second call finds everything and one with another threshold only compares anew.
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
from pipelines.executors import open_executor
from pipelines.executors.lent import LentExecutor
from pipelines.kept_documents import FORMATS, removal_pairs, write_kept, write_pairs
from pipelines.progress import Progress
from pipelines.readers import AUTO, Fields, InputFile, Limits, discover, plan_chunks, read
from pipelines.readers.records import NO_TEXT
from pipelines.recipe import LoadedRecipe, given_recipe
from pipelines.run import RunOutcome, run_recipe
from pipelines.source_fields import check_fields
from pipelines.state import Chunk

RUN, KEPT, EVIDENCE, LEDGER = "run", "kept", "evidence.parquet", "ledger.json"


@dataclass(frozen=True)
class DedupOutcome:
    """What was kept and why the rest went.

    ``output``: the folder; ``entered``, ``kept``: documents and bytes (of the stream as read, of the texts kept); ``removed`` by reason,
    of texts; ``not_read`` by reason: records that are no documents, quarantined or dropped when read. ``files``: of kept
    documents, relative to ``output``. ``facts``: what the comparison counted. ``computed``: units made by this call, 0 when all was
    there. ``seconds``: wall time.
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
            plain[name] = {reason: count.to_json() for reason, count in sorted(getattr(self, name).items())}
        return {**plain, "files": list(self.files), "facts": self.facts, "computed": self.computed, "seconds": round(self.seconds, 3)}


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
    workers: int = 1,
    progress: Progress | None = None,
) -> DedupOutcome:
    """Remove exact and near copies from files that a recipe could read, and write the rest under ``output``.

    ``paths``: files or globs, local or of a store; files of one folder are one source, and sources rank in the order given. ``ngrams``
    (words per shingle), ``bands``, ``rows``, ``verify`` (Jaccard similarity from which a document is a copy) and ``keep`` (which copy
    stays) are those of the stage ``minhash_dedup``; ``keep`` holds for exact copies too. ``max_removed``: share of a source from
    which either comparison stops instead. ``quality``: documents to measure recall and precision on, in facts and ledger
    (:mod:`pipelines.dedup_quality`). ``format``: of the kept documents, jsonl (compressed with zstd) or parquet. Writes ``kept/``,
    ``evidence.parquet`` (each removed document and the one that stands for it), ``ledger.json`` and the run's folder ``run/``.

    Raises: UserError naming the file or the parameter that is wrong (``field``), before anything is written where it can be known then.
    """
    started = time.monotonic()
    if format not in FORMATS:
        raise UserError("no such format to write", field="format", found=format, allowed=FORMATS, fix="use one of the formats above")
    fields = Fields(id_field=id_field, text_field=text_field)
    store = _output(output)
    sources = _sources(paths, fields, store)
    keeping = {} if keep is None else {"keep": keep}
    common = {**keeping, "max_removed_share": max_removed}
    near = {"ngrams": ngrams, "bands": bands, "rows": rows, "verify": verify, "quality_sample": quality, **common}
    values = {
        "name": RUN,
        "corpus": {
            "sources": [
                {"name": name, "paths": patterns, "text_field": text_field, **({} if id_field is None else {"id_field": id_field})}
                for name, patterns in sources.items()
            ],
            "stages": [{"exact_dedup": common}, {"minhash_dedup": near}],
        },
    }
    loaded: LoadedRecipe | None = None
    executor = LentExecutor(lambda: open_executor(workers), workers)
    try:
        loaded = given_recipe(values)
        outcome = run_recipe(loaded, store.root, workers=workers, until="corpus", progress=progress, open_workers=lambda: executor)
        chunks = tuple(Chunk.from_json(entry) for entry in outcome.record["chunks"])
        own_fields = dict.fromkeys(sources, fields)
        files, written = write_kept(outcome.store, chunks, own_fields, store, KEPT, format, lambda: executor, companions=(EVIDENCE,))
    except UserError as error:
        raise _own(error, loaded) from None
    finally:
        executor.end()
    if not store.exists(EVIDENCE):
        write_pairs(store, EVIDENCE, removal_pairs(outcome.store, outcome.record, chunks))
    store.write(LEDGER, orjson.dumps(outcome.record["ledgers"], option=orjson.OPT_INDENT_2) + b"\n")
    names = tuple(ref.name for ref in files)
    return _outcome(outcome, store, names, outcome.computed + int(written), time.monotonic() - started)


def _output(output: str) -> Store:
    """The output folder, tried by a write. Raises: UserError."""
    if not output.strip():
        raise UserError("no folder to write into", field="output", found=repr(output), fix="name a folder or a store")
    store = Store(output.rstrip("/") or "/")
    try:
        with store.probe():
            return store
    except UserError as error:
        raise error.changed(field="output", fix="give this user write access, or choose another folder") from None


def _sources(paths: Sequence[str], fields: Fields, output: Store) -> dict[str, list[str]]:
    """Paths by the folder they start from, under a name made of it, in the order given. Raises: UserError."""
    if not paths:
        raise UserError("no files to deduplicate", field="paths", fix="name files or globs")
    by_root: dict[str, list[str]] = {}
    root_of: dict[str, str] = {}
    for pattern in paths:
        files = _found(pattern)
        for file in files:
            root = file.url[: len(file.url) - len(file.path)]
            if root_of.setdefault(file.url, root) != root:
                fix = "leave one of them out: a file would be a copy of itself"
                raise UserError("two of the paths lead to this file", file=file.url, field="paths", found=pattern, fix=fix)
            if output.local and file.url.startswith((f"{output.root}/{KEPT}/", f"{output.root}/{RUN}/")):
                fix = "choose another output folder, or paths that leave it out"
                raise UserError("this file lies in the output folder", file=file.url, field="paths", found=pattern, fix=fix)
            if pattern not in by_root.setdefault(root, []):
                by_root[root].append(pattern)
        _check_records(files, fields)
    named: dict[str, list[str]] = {}
    for root, patterns in by_root.items():
        named[_name_of(root, named)] = patterns
    return named


def _found(pattern: str) -> list[InputFile]:
    """The files of one path or glob. Raises: UserError."""
    try:
        return discover("paths", [pattern], AUTO)
    except UserError as error:
        plain = error.changed(message=error.message.removeprefix("source 'paths': "))
        if error.field == "format":  # no option says how to read a file
            fix = "give the file a suffix that tells its format, or run a recipe that declares it"
            plain = plain.changed(field="paths", fix=fix)
        raise plain from None


def _name_of(root: str, taken: dict[str, list[str]]) -> str:
    """A source's name for a folder: its last part, numbered where another has it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", root.rstrip("/").rsplit("/", 1)[-1]).strip("-._")[:80] or "files"
    number = 1
    while (name := plain if number == 1 else f"{plain}-{number}") in taken:
        number += 1
    return name


def _check_records(files: Sequence[InputFile], fields: Fields) -> None:
    """Refuse fields that the first records do not have. Raises: UserError naming those they have."""
    try:
        check_fields(files, fields)
    except UserError as error:
        named = {fields.text_field: "text_field", fields.id_field: "id_field"}
        raise error.changed(field=named.get(error.field, error.field), fix="name a column that is there") from None
    file = next((file for file in files if file.format == "jsonl" and file.bytes), None)
    if file is None:
        return
    span = plan_chunks([file], 1 << 20)[0][0]
    batch = next(read(span, file.format, "paths", fields, Limits(batch_bytes=1 << 20)), None)
    if batch is None or batch.documents.num_rows or not batch.quarantine.num_rows:
        return
    reason = batch.quarantine["reason"][0].as_py()
    try:
        record = orjson.loads(batch.quarantine["raw"][0].as_py())
    except orjson.JSONDecodeError:
        return
    field = "text_field" if reason == NO_TEXT else "id_field" if reason == "bad_id" else None
    if field is None or not isinstance(record, dict):
        return
    allowed = [name for name, value in record.items() if isinstance(value, str if field == "text_field" else str | int)]
    message = f"no record at the beginning of this file has a usable {field.replace('_', ' ')}"
    fix = "name one of the fields above" if allowed else "look at the file: its records have no such field"
    raise UserError(message, file=file.url, field=field, found=getattr(fields, field), allowed=allowed or None, fix=fix)


def _own(error: UserError, loaded: LoadedRecipe | None) -> UserError:
    """An error about the recipe in memory, said of the parameters it was made from."""
    field = None if error.field is None else re.split(r"[.\]]", error.field)[-1]
    field = {"max_removed_share": "max_removed", "quality_sample": "quality"}.get(field or "", field)
    file = None if loaded is not None and error.file == str(loaded.file.path) else error.file
    if error.field is not None and error.field.startswith("corpus.stages: "):  # the corpus is empty after a step
        field = None
    fix = error.fix
    if fix == "see docs/recipes.md for what this field takes":
        fix = "see windtunnel dedup run --help"
    if field == "max_removed" and fix:
        fix = fix.replace("max_removed_share: ", "--max-removed ").replace("else make the stage stricter", "else raise --verify")
    return error.changed(file=file, line=None, field=field, fix=fix)


def _outcome(outcome: RunOutcome, store: Store, files: tuple[str, ...], computed: int, seconds: float) -> DedupOutcome:
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
    facts = {name: value for name, value in outcome.record["evidence"]["minhash_dedup"].items() if name != "file"}
    return DedupOutcome(store.root, entered, kept, removed, not_read, files, facts, computed, seconds, outcome)
