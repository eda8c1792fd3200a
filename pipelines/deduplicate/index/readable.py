"""Sources that cannot be read stop a batch, as they stop a run."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from artifacts.errors import Setting, UserError
from artifacts.ledger import Entry, Ledger
from pipelines.readers import InputFile
from pipelines.report.numerals import share
from pipelines.run.unreadable import example, unreadable


def check_share(most: float) -> None:
    """Raises: UserError for a share that is none."""
    if not 0 <= most <= 1:
        raise UserError("not a share", parameter="max_quarantined", found=most, allowed=["0 to 1"])


def check_sources(
    sources: Sequence[str],
    files: Sequence[tuple[str, InputFile]],
    ledgers: Sequence[Ledger],
    quarantine: pa.Table,
    most: float,
) -> None:
    """Refuse a source of whose records more than the share ``most`` are quarantined, by the rule of
    :func:`pipelines.run.unreadable.unreadable`.

    ``files`` by source; ``ledgers``: of all steps so far, in order; ``quarantine``: its rows.
    Raises: UserError with the most frequent reason and the first record it was given to.
    """
    for name in sources:
        entries = [ledger.sources.get(name, Entry()) for ledger in ledgers]
        whole = Entry(kept=entries[-1].kept)
        for entry in entries:
            for reason, count in entry.quarantined.items():
                whole.quarantine(reason, count.documents, count.bytes)
        found = unreadable(whole, most)
        if found is None:
            continue
        urls = {file.path: file.url for source, file in files if source == name}
        own = quarantine.filter(pa.compute.equal(quarantine["source"], name))
        raise UserError(
            found.said(name),
            parameter="max_quarantined",
            found=example(own.to_batches(), found.reason, urls),
            allowed=[f"at most {share(most, 1)} quarantined"],
            fix=(
                "name the fields of the records (",
                Setting("text_field"),
                "), or correct the files; a higher ",
                Setting("max_quarantined"),
                " goes on without these records",
            ),
        )
