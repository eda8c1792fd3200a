"""An index of near-duplicates: a batch is decided against all before it, without their texts.

    new documents, earlier segments ─ find_candidates ─▶ exact copies, documents to compare
    candidates, shingle sets ─ decide ─▶ who stays, in whose favour
    segments ─ files ─▶ an index on disk: a head, and an immutable file per batch

:mod:`~dedup.index.columns` says what is held of a document, :mod:`~dedup.index.lookup` finds many
keys in long columns, :func:`dedup.near.verify.verify_in_order` is the loop over what remains.
Reading documents and writing what is kept is :mod:`pipelines.deduplicate.index`.

>>> import numpy as np, pyarrow as pa
>>> from artifacts.ids import document_ids, native_key, text_hashes
>>> from dedup.index.columns import NewDocuments
>>> from dedup.index.decide import decide, find_candidates
>>> from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
>>> config = MinHashConfig(ngrams=2, bands=14, rows=2)
>>> texts = pa.array(["one two three four", "one two three five", "six"], pa.large_string())
>>> ids = document_ids("web", [native_key(str(number)) for number in range(3)])
>>> new = NewDocuments.of(ids, text_hashes(texts), *band_keys(texts, config))
>>> candidates = find_candidates([], new)
>>> decision = decide(new, candidates, shingle_sets(texts[:0], config), shingle_sets(
...     texts, config, candidates.wanted), threshold=0.5)
>>> decision.kept.tolist()
[True, False, True]
"""
