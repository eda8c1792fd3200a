"""What a run lost that its user may not expect, a sentence each: damaged files, verdicts of
the machine, sources and languages of which little or nothing is left.

Everything here is read off the ledgers of a run record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artifacts.visible_text import visible
from pipelines.report.funnel import choosing_ledgers
from pipelines.report.language_losses import vanished_languages
from pipelines.report.numerals import byte_size, count, share

LEAST_KEPT_SHARE = 0.01
"""A source of which the stages keep less is warned of."""

_NAMED = 3  # files, reasons


def warnings(record: dict[str, Any]) -> list[str]:
    """All of them, in the order of the steps."""
    ledgers = record["ledgers"]
    read = [ledger for ledger in ledgers if ledger["step"] == "read"][:1]
    return [
        *(note for ledger in read for note in lost_files(ledger)),
        *(note for ledger in read for note in unread_sources(ledger)),
        *(note for ledger in ledgers for note in machine_verdicts(ledger)),
        *nearly_lost_sources(record),
        *vanished_languages(record),
    ]


def lost_files(read: dict[str, Any]) -> list[str]:
    """A sentence for each source with damaged files, from the ledger of reading."""
    return [_lost(source, lost) for source, lost in sorted(read["facts"].get("lost", {}).items())]


def _lost(source: str, lost: dict[str, Any]) -> str:
    files = "1 file ends early or is"
    if lost["files"] != 1:
        files = f"{lost['files']:,} files end early or are"
    said = (
        f"source {source!r}: {files} damaged, {share(lost['gone'], lost['stored'])} of its stored "
        f"bytes are lost ({byte_size(lost['gone'])} of {byte_size(lost['stored'])})"
    )
    if lost["cut"]:
        said += f"; {count(lost['cut'])} cut off: what should follow is not in the file"
    if lost["not_known"]:
        said += f"; how much of {count(lost['not_known'])} is lost cannot be told"
    names = ", ".join(
        f"{visible(file['path'])} ({file['reason']}"
        + (")" if not file["gone"] else f", {share(file['gone'], file['stored'])} lost)")
        for file in lost["named"][:_NAMED]
    )
    return f"{said}: {names}" + (", …" if lost["files"] > _NAMED else "")


def machine_verdicts(ledger: dict[str, Any]) -> list[str]:
    """A sentence for each source of which a step quarantined documents that it did not decide
    within its limit: another machine may decide them.
    """
    notes = []
    for source, fact in sorted(ledger["facts"].get("depends_on_machine", {}).items()):
        number = fact["documents"]
        if number:
            documents = "1 document" if number == 1 else f"{count(number)} documents"
            notes.append(
                f"{ledger['step']}: {documents} of source {source!r} in quarantine (time_limit): "
                f"{fact['who']} had not ended after {fact['cpu_seconds']:g} s of processor time, "
                "or as many for each MiB. This depends on the machine; the next call of the run "
                "tries again, and cpu_seconds of the stage gives more time"
            )
    return notes


def unread_sources(read: dict[str, Any]) -> list[str]:
    """A sentence for each source that gave no document when it was read."""
    notes = []
    for source, entry in sorted(read["sources"].items()):
        if not entry["kept"]["documents"]:
            reasons = _frequent({**entry["dropped"], **entry["quarantined"]})[:1]
            said = reasons[0] if reasons else "it has no records"
            notes.append(f"source {source!r} gives no document: {said}")
    return notes


def nearly_lost_sources(record: dict[str, Any]) -> list[str]:
    """A sentence for each source that gave documents of which the stages kept nothing, or under
    :data:`LEAST_KEPT_SHARE`.
    """
    steps = choosing_ledgers(record)
    notes = []
    for source, read in sorted(steps[0]["sources"].items()) if steps else ():
        entries = [step["sources"][source] for step in steps if source in step["sources"]]
        entered, kept = read["kept"]["documents"], entries[-1]["kept"]["documents"]
        if not entered or kept >= LEAST_KEPT_SHARE * entered:
            continue
        left = "none" if not kept else f"only {kept:,}"
        why = ", ".join(why_lost(record, source, steps[1:])[:_NAMED])
        notes.append(f"source {source!r}: {left} of its {entered:,} documents stay: {why}")
    return notes


def why_lost(
    record: dict[str, Any], source: str, steps: Sequence[dict[str, Any]] | None = None
) -> list[str]:
    """Where a source's documents went in these steps (default: all), as ``step: reason 12``, the
    most frequent first.
    """
    gone: dict[str, dict[str, int]] = {}
    for step in choosing_ledgers(record) if steps is None else steps:
        entry = step["sources"].get(source, {"dropped": {}, "quarantined": {}})
        for reason, went in [*entry["dropped"].items(), *entry["quarantined"].items()]:
            name = f"{step['step']}: {reason}"
            before = gone.get(name, {"documents": 0})["documents"]
            gone[name] = {"documents": before + went["documents"]}
    return _frequent(gone)


def gives_documents(record: dict[str, Any], source: str) -> bool:
    """Whether any record of a source became a document that the stages saw."""
    entries = [
        step["sources"][source]
        for step in choosing_ledgers(record)
        if step["step"] in ("read", "unique") and source in step["sources"]
    ]
    return all(entry["kept"]["documents"] for entry in entries)


def _frequent(gone: dict[str, dict[str, int]]) -> list[str]:
    """Reasons with their counts, the most frequent first."""
    ordered = sorted(gone.items(), key=lambda item: (-item[1]["documents"], item[0]))
    return [f"{reason} {went['documents']:,}" for reason, went in ordered]
