"""Comparisons: what documents are to one another, across all chunks.

    ids ─ equal_keys ─▶ records whose key came before          one task
    columns ─ whole ─▶ who goes, in whose favour               one task: exact_dedup
    band keys, texts ─ near/ ─▶ who goes, in whose favour      bounded parts: minhash_dedup
    hashes, texts ─ spans/ ─▶ what is cut out of texts         bounded parts: line_dedup, ...

Every comparison leaves evidence (who stands for whom, which spans went) and the next selection of
each chunk. Rows that tasks hand to one another go through :mod:`~pipelines.comparisons.exchange`.
After a comparison :mod:`~pipelines.comparisons.removal_guard` stops a run that lost most of a
source, :mod:`~pipelines.comparisons.quality` measures recall and precision on samples, and
:mod:`~pipelines.comparisons.between_sources` counts in favour of which source documents went. The
computing over arrays is in :mod:`dedup`. What a comparison left, in a folder with the starter's
run:

>>> from artifacts.tables import read_parquet
>>> from pipelines.run.record import load_run
>>> store, record = load_run("runs", "starter")
>>> evidence = read_parquet(store, record["evidence"]["minhash_dedup"]["file"]["name"], "evidence")
>>> bool(evidence["similarity"].to_numpy().min() >= 0.7)
True

And which source lost documents to which:

>>> import numpy as np
>>> from pipelines.comparisons.between_sources import in_favour_of
>>> in_favour_of(["web", "books"], removed=np.array([0, 0, 1]), kept=np.array([1, 0, 1]))
{'in_favour_of': {'web': {'web': 1, 'books': 1}, 'books': {'books': 1}}}
"""
