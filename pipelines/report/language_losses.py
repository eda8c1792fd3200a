"""Documents by language: whom rule sets judged, and languages that a stage nearly takes away."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from artifacts.publish import Publication, found_or_made
from artifacts.tables import read_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.corpus.outcomes import CorpusOutcome, CorpusTask
from pipelines.report.funnel import choosing_ledgers
from pipelines.report.numerals import count, listed, share

VERSION = 1  # of count_languages

FEWEST_DOCUMENTS = 20
"""A language with fewer documents before a stage is not warned of."""

LEAST_KEPT_SHARE = 0.05
"""A language of which a stage keeps less is warned of."""

NOT_WANTED = "language_not_kept"
"""The reason of documents in languages that a recipe does not keep; nobody is warned of these."""

_NAMED = 6  # languages


def count_languages(task: CorpusTask, compute: bool = True) -> CorpusOutcome | None:
    """Documents by language and by where they went: ``facts["languages"]``, rows of language,
    stage, reason (empty where the document stays) and how many.
    """
    store = Store(task.root)
    inputs = {
        "work": "count_languages",
        "version": VERSION,
        "chunks": [
            [
                chunk.records.checksum,
                chunk.selection_version(),
                {name: ref.checksum for name, ref in sorted(chunk.signals.items())},
            ]
            for chunk in task.chunks
        ],
    }

    def make(unit: Publication) -> None:
        tables = [_counted(store, chunk) for chunk in task.chunks if chunk.records.rows]
        rows: dict[tuple[str, str, str], int] = {}
        for table in tables:
            for row in table.to_pylist():
                key = (row["language"], row["stage"], row["reason"])
                rows[key] = rows.get(key, 0) + row["count_all"]
        unit.facts["languages"] = [[*key, number] for key, number in sorted(rows.items())]

    made = found_or_made(store, f"selection/languages/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    return CorpusOutcome(task.chunks, {}, made[0].files, made[0].facts, made[1], (made[0].prefix,))


def _counted(store: Store, chunk: Chunk) -> pa.Table:
    languages = ChunkColumns(store, chunk).languages()
    if chunk.selection is None:
        nobody = pa.nulls(len(languages), pa.string())
        stage, reason = nobody, nobody
    else:
        table = read_parquet(store, chunk.selection.name, "selection", ["stage", "reason"])
        stage, reason = (table[name].combine_chunks() for name in ("stage", "reason"))
    columns = [pc.fill_null(column, "") for column in (languages, stage, reason)]
    whole = pa.table(columns, names=["language", "stage", "reason"])
    return whole.group_by(["language", "stage", "reason"]).aggregate([([], "count_all")])


def vanished_languages(record: dict[str, Any]) -> list[str]:
    """A sentence for each language of which a stage keeps under :data:`LEAST_KEPT_SHARE`."""
    rows = [row for row in record.get("languages", ()) if row[0] and row[2] != NOT_WANTED]
    before: dict[str, int] = {}
    for language, _, _, number in rows:
        before[language] = before.get(language, 0) + number
    notes = []
    for ledger in choosing_ledgers(record):
        for language, entered in sorted(before.items()):
            here = [row for row in rows if row[0] == language and row[1] == ledger["step"]]
            gone = sum(row[3] for row in here)
            before[language] = entered - gone
            if entered >= FEWEST_DOCUMENTS and entered - gone < LEAST_KEPT_SHARE * entered:
                reasons = sorted(here, key=lambda row: (-row[3], row[2]))[:3]
                why = ", ".join(f"{row[2]} {row[3]:,}" for row in reasons)
                notes.append(
                    f"{ledger['step']} keeps {count(entered - gone)} of {count(entered)} documents "
                    f"in language {language}: {why}"
                )
    return notes


def judged_notes(ledger: dict[str, Any]) -> list[str]:
    """Whom the rule sets of a step were applied to, in one sentence; none where they were applied
    to everybody.
    """
    sources = ledger["facts"].get("judged", {}).values()
    judged: dict[str, int] = {}
    others: dict[str, int] = {}
    unknown = 0
    for facts in sources:
        unknown += facts["language_not_known"]
        for sums, name in ((judged, "judged"), (others, "not_judged")):
            for key, number in facts[name].items():
                sums[key] = sums.get(key, 0) + number
    if not others:
        return []
    entered = ledger["total"]["in"]["documents"]
    sets = ", ".join(f"{name} judged {count(number)}" for name, number in judged.items())
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    named = listed([f"{language} {count(number)}" for language, number in ordered], _NAMED)
    gone = sum(others.values())
    said = (
        f"{ledger['step']}: {sets} documents; {count(gone)} ({share(gone, entered)}) were not "
        f"judged and stay, in languages that no rule set here is for: {named}"
    )
    if unknown:
        said += f"; {count(unknown)} in no known language were judged by all"
    return [said]
