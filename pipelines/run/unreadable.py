"""Sources that cannot be read stop a run.

All chunks are read before a source is judged, so that the outcome depends on the inputs alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def check_readable(
    loaded: LoadedRecipe, store: Store, entries: Mapping[str, Entry], chunks: Sequence[Chunk]
) -> None:
    """Refuse a source of whose records more than its ``max_quarantined_share`` are quarantined,
    and at least :data:`FEWEST_QUARANTINED`. What a reader leaves out by kind does not count.

    entries: what became of each source's records. Raises: UserError with the most frequent reason,
    the first record it was given to, and the setting.
    """
    for index, source in enumerate(loaded.recipe.corpus.sources):
        entry = entries.get(source.name, Entry())
        quarantined = sum(count.documents for count in entry.quarantined.values())
        records = entry.kept.documents + quarantined
        if (
            quarantined < FEWEST_QUARANTINED
            or quarantined <= source.max_quarantined_share * records
        ):
            continue
        reason = min(entry.quarantined, key=lambda name: (-entry.quarantined[name].documents, name))
        often = entry.quarantined[reason].documents
        setting = ("corpus", "sources", index, "max_quarantined_share")
        raise loaded.file.error(
            setting,
            f"source {source.name!r} cannot be read: {quarantined:,} of its {records:,} records "
            f"are quarantined, {often:,} of them as {reason}",
            found=_example(store, chunks, source.name, reason),
            allowed=[f"at most {share(source.max_quarantined_share, 1)} quarantined"],
            fix=(
                "correct the fields of the source, or its files; a higher ",
                Setting(setting),
                " lets the run go on without these records",
            ),
        )


def _example(store: Store, chunks: Sequence[Chunk], source: str, reason: str) -> str:
    """The first record of a source that was quarantined for a reason: file, place, what was wrong
    with it, how it begins.
    """
    for chunk in chunks:
        if chunk.source != source or chunk.quarantine is None:
            continue
        for batch in iter_parquet(store, chunk.quarantine.name, "quarantine"):
            place = batch["reason"].index(reason).as_py()
            if place < 0:
                continue
            row = {name: batch[name][place].as_py() for name in ("path", "offset", "detail", "raw")}
            url = next((span.url for span in chunk.spans if span.path == row["path"]), row["path"])
            begins = row["raw"][:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
            said = f"{url} at {row['offset']:,}: {row['detail'] or reason}"
            return _one_line(f"{said}: {begins}" if begins else said)
    return f"{reason} in none of its quarantined records"


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))
