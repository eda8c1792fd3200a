"""Quarantined records through the readers again, after their cause was mended.

    done = requeue("runs", "quickstart", load_recipe("recipe.yaml"), output="mended")
    print(done.totals())

The cause may be a field of the source (the recipe given), the readers (a newer release), or a bound
(``limits``). A record is read from its bytes in quarantine where these are whole, else from its
file, which must be the one that the run read. Documents have the ids that a run of the recipe would
give them. Nothing of the run is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from artifacts.errors import UserError
from artifacts.fingerprints import file_digest
from artifacts.paths import Store
from artifacts.publish import published
from artifacts.tables import iter_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.readers import discover
from pipelines.recipe.fields import Source
from pipelines.recipe.load import LoadedRecipe, given_recipe
from pipelines.run.record import load_run
from pipelines.run.requeued_records import FileThen, Outcome, ReadAgain, RunIds
from pipelines.writers.requeued import FORMATS, RequeuedFiles

DOCUMENT, STILL, NOT_POSSIBLE = "document", "still_quarantined", "not_possible"


@dataclass
class Requeued:
    """What became of the records, by source and reason: counts of :data:`DOCUMENT`,
    :data:`STILL` and :data:`NOT_POSSIBLE`; ``why``: for the last two how often what was said.

    ``documents``: how many came of them. ``files``: what was written.
    """

    counts: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    why: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    documents: int = 0
    files: list[str] = field(default_factory=list)

    def add(self, source: str, outcome: Outcome) -> None:
        counts = self.counts.setdefault((source, outcome.reason), {})
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
        if outcome.now is not None:
            why = self.why.setdefault((source, outcome.reason), {})
            why[outcome.now] = why.get(outcome.now, 0) + 1

    def totals(self) -> dict[str, int]:
        """Records by what became of them."""
        sums = dict.fromkeys((DOCUMENT, STILL, NOT_POSSIBLE), 0)
        for counts in self.counts.values():
            for status, number in counts.items():
                sums[status] += number
        return sums

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        records = [
            {
                "source": source,
                "reason": reason,
                **{status: counts.get(status, 0) for status in (DOCUMENT, STILL, NOT_POSSIBLE)},
                "why": self.why.get((source, reason), {}),
            }
            for (source, reason), counts in sorted(self.counts.items())
        ]
        return {
            **self.totals(),
            "documents": self.documents,
            "records": records,
            "files": self.files,
        }


def requeue(
    runs: str,
    run: str,
    loaded: LoadedRecipe | None = None,
    *,
    reasons: Collection[str] = (),
    sources: Collection[str] = (),
    output: str | None = None,
    format: str = "jsonl",
) -> Requeued:
    """Read a run's quarantined records again.

    loaded: the recipe as it is now; default the one of the run, whose relative paths then start in
    the current folder. reasons, sources: only these; default all. output: folder for
    ``documents/SOURCE`` and ``quarantine/SOURCE``, as JSON Lines or Parquet (``format``), the
    latter with why each record is none still; without one nothing is written.
    Raises: UserError naming the run, the parameter or the file that is wrong.
    """
    store, record = load_run(runs, run)
    _check(record, reasons, sources, format)
    loaded = given_recipe(record["recipe"]) if loaded is None else loaded
    by_name = {source.name: source for source in loaded.recipe.corpus.sources}
    done = Requeued()
    for reference in record["quarantine"]:
        name = reference["name"].rsplit("/", 1)[-1].removesuffix(".parquet")
        if (sources and name not in sources) or not reference["rows"]:
            continue
        if name not in by_name:
            raise UserError(
                "the recipe has no source of this name",
                parameter="recipe",
                found=name,
                allowed=by_name,
                fix="give the recipe of the run as it is now, or leave the source out",
            )
        source = by_name[name]
        again = ReadAgain(
            name,
            source.format,
            source.fields(),
            loaded.recipe.corpus.limits.limits(),
            _files(store, record, loaded, source),
            RunIds(store, [Chunk.from_json(chunk) for chunk in record["chunks"]], name),
        )
        with RequeuedFiles(output, name, format) as files:
            for batch in _batches(store, reference["name"], reasons):
                _book(done, name, files, again.bytes_of(batch))
            _book(done, name, files, again.files_of())
        done.files += files.written
    return done


def _check(
    record: dict[str, Any], reasons: Collection[str], sources: Collection[str], format: str
) -> None:
    """Raises: UserError for a reason, source or format that there is not."""
    entries = [ledger["sources"].items() for ledger in record["ledgers"]]
    known = {
        "reasons": {why for entry in entries for _, it in entry for why in it["quarantined"]},
        "sources": {source["name"] for source in record["recipe"]["corpus"]["sources"]},
    }
    for parameter, given in (("reasons", reasons), ("sources", sources)):
        for name in given:
            if name not in known[parameter]:
                raise UserError(
                    "this run quarantined no record for this reason"
                    if parameter == "reasons"
                    else "no such source",
                    parameter=parameter,
                    found=name,
                    allowed=sorted(known[parameter]) or None,
                    fix="name one of those above, or leave it out",
                )
    if format not in FORMATS:
        raise UserError(
            "no such format to write",
            parameter="format",
            found=format,
            allowed=FORMATS,
            fix="use one of the formats above",
        )


def _batches(store: Store, name: str, reasons: Collection[str]) -> Iterator[pa.RecordBatch]:
    for batch in iter_parquet(store, name, "quarantine"):
        if reasons:
            wanted = pa.array([*reasons], pa.string())
            batch = batch.filter(pa.compute.is_in(batch["reason"], wanted))
        if batch.num_rows:
            yield batch


def _book(
    done: Requeued,
    source: str,
    files: RequeuedFiles,
    parts: Iterator[tuple[pa.RecordBatch, list[Outcome]]],
) -> None:
    for documents, outcomes in parts:
        done.documents += documents.num_rows
        files.documents(documents)
        files.remaining(source, [outcome for outcome in outcomes if outcome.now is not None])
        for outcome in outcomes:
            done.add(source, outcome)


def _files(
    store: Store, record: dict[str, Any], loaded: LoadedRecipe, source: Source
) -> dict[str, FileThen]:
    """Files of a source by path: where each lies now, and whether it is the one the run read."""
    try:
        found = discover(source.name, source.paths, source.format, base=loaded.folder)
    except UserError:
        return {}  # every record that needs its file says that it is not there
    then: dict[str, str] = {}
    for prefix in record["units"]:
        if prefix.startswith("documents/read/"):
            manifest = published(store, prefix)
            if manifest is not None and manifest.inputs["source"] == source.name:
                then |= {path: digest for digest, path, *_ in manifest.inputs["spans"]}
    known: dict[str, Any] = {}
    return {
        file.path: FileThen(
            file.url,
            partial(_unchanged, file.url, then.get(file.path), known),
        )
        for file in found
    }


def _unchanged(url: str, digest: str | None, known: dict[str, Any]) -> bool:
    """Whether a file is the one of which the digest is."""
    return digest == file_digest(url, known)


__all__ = ["DOCUMENT", "NOT_POSSIBLE", "STILL", "Requeued", "requeue"]
