"""The selection of a chunk: which of its documents are still kept, and by which stage and why the
others went.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.schemas import SELECTION
from artifacts.tables import read_parquet
from pipelines.corpus.chunk import Chunk


def kept_mask(store: Store, chunk: Chunk) -> NDArray[np.bool_]:
    """Which rows of a chunk are still kept, (n,); all before the first step that chooses."""
    if chunk.selection is None:
        return np.ones(chunk.signals["size"].rows, np.bool_)
    table = read_parquet(store, chunk.selection.name, "selection", ["kept"])
    kept: NDArray[np.bool_] = table["kept"].to_numpy()
    return kept


def drop(
    store: Store,
    chunk: Chunk,
    step: str,
    rows: NDArray[np.bool_],
    reasons: str | pa.StringArray,
    quarantines: bool = False,
) -> tuple[pa.Table, Entry]:
    """The selection of a chunk after a step dropped ``rows``, and the step's ledger entry.

    rows: (n,); those that went before stay with the step that dropped them. reasons: one for all,
    or one for each row (n,), not null where the row goes. quarantines: they go to quarantine,
    for one reason.
    """
    size = _sizes(store, chunk)
    before = _table(store, chunk, size)
    sizes, kept = size["bytes"].to_numpy(), before["kept"].to_numpy()
    gone = kept & rows
    entry = Entry()
    entry.entered.add(int(kept.sum()), int(sizes[kept].sum()))
    stays = kept & ~gone
    entry.kept.add(int(stays.sum()), int(sizes[stays].sum()))
    mask = pa.array(gone)
    if not isinstance(reasons, str):
        _book_drops(entry, reasons.filter(mask), sizes[gone])
    elif gone.any():
        book = entry.quarantine if quarantines else entry.drop
        book(reasons, int(gone.sum()), int(sizes[gone].sum()))
    columns = [
        before["id"],
        before["text_hash"],
        pa.array(stays),
        pc.if_else(mask, step, before["stage"].combine_chunks()),
        pc.if_else(mask, reasons, before["reason"].combine_chunks()),
    ]
    return pa.table(columns, schema=SELECTION), entry


def all_kept(store: Store, chunk: Chunk) -> Entry:
    """The ledger entry of a step that leaves a chunk alone: all that enters is kept."""
    kept = kept_mask(store, chunk)
    sizes = _sizes(store, chunk, ["bytes"])["bytes"].to_numpy()
    entry = Entry()
    for count in (entry.entered, entry.kept):
        count.add(int(kept.sum()), int(sizes[kept].sum()))
    return entry


def current_selection(store: Store, chunk: Chunk) -> pa.Table:
    """The selection of a chunk with the hashes of its current texts: a rewrite may have followed
    the step that chose last.
    """
    return _table(store, chunk, _sizes(store, chunk, ["id", "text_hash"]))


def _table(store: Store, chunk: Chunk, size: pa.Table) -> pa.Table:
    """The chunk's selection, with ids and hashes of its size measure."""
    if chunk.selection is not None:
        table = read_parquet(store, chunk.selection.name, "selection")
        return table.set_column(1, SELECTION.field("text_hash"), size["text_hash"])
    nobody = pa.nulls(len(size), pa.string())
    everybody = pa.array(np.ones(len(size), np.bool_))
    columns = [size["id"], size["text_hash"], everybody, nobody, nobody]
    return pa.table(columns, schema=SELECTION)


def _sizes(store: Store, chunk: Chunk, columns: list[str] | None = None) -> pa.Table:
    return read_parquet(
        store, chunk.signals["size"].name, "signals", columns or ["id", "text_hash", "bytes"]
    )


def _book_drops(entry: Entry, reasons: pa.StringArray, sizes: NDArray[np.int64]) -> None:
    """Book dropped rows by reason; reasons (d,) without nulls, sizes (d,) in bytes."""
    encoded = reasons.dictionary_encode()
    codes = encoded.indices.to_numpy()
    names = encoded.dictionary.to_pylist()
    documents = np.bincount(codes, minlength=len(names))
    size = np.bincount(codes, weights=sizes, minlength=len(names))
    for code in sorted(range(len(names)), key=names.__getitem__):
        entry.drop(names[code], int(documents[code]), int(size[code]))
