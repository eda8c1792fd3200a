"""The kept documents of a run as a dataset: files by source, and a card that says what they are.

    done = export("runs", "quickstart", "dataset")
    print(done.documents, done.card)

Documents are at their newest text version and in the shape their records came in; those taken down
are left out. What is there from the same documents stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.tables import read_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.executors import open_executor
from pipelines.recipe.load import given_recipe
from pipelines.report.funnel import choosing_ledgers
from pipelines.run.record import load_run
from pipelines.shards.take_downs import taken_down_ids
from pipelines.writers.dataset_card import MARK, SourceCard, dataset_card
from pipelines.writers.kept_documents import FORMATS, exported_mask, write_kept

DATA, CARD = "data", "README.md"


@dataclass(frozen=True)
class Exported:
    """What was written. ``files`` and ``card``: full names. ``taken_down``: documents left out for
    it. ``computed``: False where everything was there.
    """

    files: tuple[str, ...]
    card: str
    documents: int
    text_bytes: int
    taken_down: int
    computed: bool

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "files": list(self.files)}


def export(
    runs: str,
    run: str,
    output: str,
    *,
    sources: Collection[str] = (),
    format: str = "jsonl",
    workers: int = 1,
) -> Exported:
    """Write a run's kept documents into a folder or store: ``data/SOURCE-NNNNN.jsonl.zst`` or
    ``.parquet``, and ``README.md``.

    sources: only these; default all. workers: local processes.
    Raises: UserError naming the run, the parameter, or the file that is in the way.
    """
    store, record = load_run(runs, run)
    _check(store, record, sources, format)
    out = Store(output.rstrip("/") or "/")
    _check_card(out)
    loaded = given_recipe(record["recipe"])
    chosen = [one for one in loaded.recipe.corpus.sources if not sources or one.name in sources]
    fields = {source.name: source.fields() for source in chosen}
    chunks = [chunk for chunk in map(Chunk.from_json, record["chunks"]) if chunk.source in fields]
    without = taken_down_ids(store)
    with_workers = open_executor(workers)
    try:
        files, computed = write_kept(
            store, chunks, fields, out, DATA, format, lambda: with_workers,
            companions=(CARD,), without=without,
        )  # fmt: skip
    finally:
        with_workers.close()
    names = [file.name for file in files]
    cards = [_card(store, record, source.name, chunks, names, without) for source in chosen]
    written, kept = sum(file.rows for file in files), sum(card.kept for card in cards)
    if written != kept:
        raise RuntimeError(f"{written} documents were written, {kept} are kept")
    gone = sum(card.left.get("taken_down", 0) for card in cards)
    release = metadata.version("windtunnel")
    stages = record["recipe"]["corpus"]["stages"]
    card = dataset_card(record["name"], cards, stages, gone, release).encode()
    if not out.exists(CARD) or out.read(CARD) != card:
        out.write(CARD, card)
    return Exported(
        tuple(map(out.full, names)),
        out.full(CARD),
        written,
        sum(one.text_bytes for one in cards),
        gone,
        computed,
    )


def source_cards(store: Store, record: dict[str, Any]) -> list[SourceCard]:
    """What a run's sources say of the documents that were kept, without files. Raises: UserError
    when its documents are gone or damaged.
    """
    chunks = [Chunk.from_json(record_chunk) for record_chunk in record["chunks"]]
    names = [source["name"] for source in record["recipe"]["corpus"]["sources"]]
    without = taken_down_ids(store)
    return [_card(store, record, name, chunks, (), without) for name in names]


def _check(store: Store, record: dict[str, Any], sources: Collection[str], format: str) -> None:
    """Raises: UserError for a run without a corpus, a source or format that there is not."""
    if not record["selection"]:
        raise UserError(
            "this run has read its sources, and chosen no documents yet",
            file=store.root,
            fix=Command("run RECIPE"),
        )
    known = [source["name"] for source in record["recipe"]["corpus"]["sources"]]
    for name in sources:
        if name not in known:
            raise UserError(
                "no such source", parameter="sources", found=name, allowed=known,
                fix="name one of those above, or leave it out",
            )  # fmt: skip
    if format not in FORMATS:
        raise UserError(
            "no such format to write", parameter="format", found=format, allowed=FORMATS,
            fix="use one of the formats above",
        )  # fmt: skip


def _check_card(out: Store) -> None:
    """Raises: UserError where a README.md lies that is no card of an export."""
    if out.exists(CARD) and MARK.encode() not in out.read(CARD):
        raise UserError(
            "another file lies where the card of the dataset goes",
            file=out.full(CARD),
            parameter="output",
            fix="choose another output folder, or move it away",
        )


def _card(
    store: Store,
    record: dict[str, Any],
    source: str,
    chunks: Sequence[Chunk],
    files: Sequence[str],
    without: Collection[str],
) -> SourceCard:
    languages: Counter[str | None] = Counter()
    licences: Counter[str | None] = Counter()
    kept = text_bytes = taken_down = 0
    for chunk in (one for one in chunks if one.source == source and one.records.rows):
        mask, gone = exported_mask(store, chunk, without)
        size = read_parquet(store, chunk.signals["size"].name, "signals", ["bytes"])
        kept += int(mask.sum())
        taken_down += gone
        text_bytes += int(size["bytes"].to_numpy()[mask].sum())
        _count(store, chunk, mask, "lang", languages)
        _count(store, chunk, mask, "license", licences)
    left = _left(record, source)
    return SourceCard(
        source,
        record["ledgers"][0]["sources"][source]["in"]["documents"],
        kept,
        text_bytes,
        {**left, **({"taken_down": taken_down} if taken_down else {})},
        [name for name in files if name.rsplit("/", 1)[-1].rsplit("-", 1)[0] == source],
        languages,
        licences,
    )


def _count(
    store: Store, chunk: Chunk, mask: NDArray[np.bool_], column: str, into: Counter[str | None]
) -> None:
    values = read_parquet(store, chunk.records.name, "documents", [column])[column]
    for entry in values.filter(pa.array(mask)).value_counts().to_pylist():
        into[entry["values"]] += entry["counts"]


def _left(record: dict[str, Any], source: str) -> dict[str, int]:
    """Documents that went, by reason, over all steps that choose."""
    left: Counter[str] = Counter()
    for ledger in choosing_ledgers(record):
        entry = ledger["sources"].get(source, {})
        for how in ("dropped", "quarantined"):
            for reason, count in entry.get(how, {}).items():
                left[reason] += count["documents"]
    return dict(left)


__all__ = ["CARD", "DATA", "Exported", "export"]
