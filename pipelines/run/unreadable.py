"""Sources that cannot be read stop a run.

All chunks are read before a source is judged, so that the outcome depends on the inputs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from artifacts.errors import Setting
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.tables import iter_parquet
from artifacts.visible_text import visible
from pipelines.corpus.chunk import Chunk
from pipelines.recipe.load import LoadedRecipe
from pipelines.report.numerals import share

FEWEST_QUARANTINED = 20
"""Fewer quarantined records do not stop a run."""

_SHOWN_BYTES = 120  # of a quarantined record


@dataclass(frozen=True)
class Unreadable:
    """A source that cannot be read: its records, those that are quarantined, the most frequent
    reason and how often it was given.
    """

    records: int
    quarantined: int
    reason: str
    often: int

    def said(self, source: str) -> str:
        """The facts as a sentence."""
        return (
            f"source {source!r} cannot be read: {self.quarantined:,} of its {self.records:,} "
            f"records are quarantined, {self.often:,} of them as {self.reason}"
        )


def unreadable(entry: Entry, most: float) -> Unreadable | None:
    """What is wrong with a source of whose records more than the share ``most`` are quarantined,
    and at least :data:`FEWEST_QUARANTINED`; None where it can be read. What a reader leaves out by
    kind does not count.

    entry: what became of the source's records.
    """
    quarantined = sum(count.documents for count in entry.quarantined.values())
    records = entry.kept.documents + quarantined
    if quarantined < FEWEST_QUARANTINED or quarantined <= most * records:
        return None
    reason = min(entry.quarantined, key=lambda name: (-entry.quarantined[name].documents, name))
    return Unreadable(records, quarantined, reason, entry.quarantined[reason].documents)


def check_readable(
    loaded: LoadedRecipe, store: Store, entries: Mapping[str, Entry], chunks: Sequence[Chunk]
) -> None:
    """Refuse a source of whose records more than its ``max_quarantined_share`` are quarantined, as
    :func:`unreadable` says.

    entries: what became of each source's records. Raises: UserError with the most frequent reason,
    the first record it was given to, and the setting.
    """
    for index, source in enumerate(loaded.recipe.corpus.sources):
        found = unreadable(entries.get(source.name, Entry()), source.max_quarantined_share)
        if found is None:
            continue
        own = [chunk for chunk in chunks if chunk.source == source.name]
        urls = {span.path: span.url for chunk in own for span in chunk.spans}
        rows = (
            batch
            for chunk in own
            if chunk.quarantine is not None
            for batch in iter_parquet(store, chunk.quarantine.name, "quarantine")
        )
        setting = ("corpus", "sources", index, "max_quarantined_share")
        raise loaded.file.error(
            setting,
            found.said(source.name),
            found=example(rows, found.reason, urls),
            allowed=[f"at most {share(source.max_quarantined_share, 1)} quarantined"],
            fix=(
                "correct the fields of the source, or its files; a higher ",
                Setting(setting),
                " lets the run go on without these records",
            ),
        )


def example(rows: Iterable[pa.RecordBatch], reason: str, urls: Mapping[str, str]) -> str:
    """The first record that was quarantined for a reason: file, place, what was wrong with it, how
    it begins.

    rows: of a quarantine; urls: where a path of a source lies.
    """
    for batch in rows:
        place = batch["reason"].index(reason).as_py()
        if place < 0:
            continue
        row = {name: batch[name][place].as_py() for name in ("path", "offset", "detail", "raw")}
        url = urls.get(row["path"], row["path"])
        begins = row["raw"][:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
        said = f"{url} at {row['offset']:,}: {row['detail'] or reason}"
        return _one_line(f"{said}: {begins}" if begins else said)
    return f"{reason} in none of its quarantined records"


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))
