"""Deduplication and decontamination: pure compute over Arrow arrays, no files and no executors.

    texts, ranks ─▶ who stays, which copy stands for the others, evidence for each removal

What comes in is a column of texts (pyarrow large_string) and a rank for each, 0 = most wanted.
Nothing depends on the order of rows, only on texts and ranks. Rooms:

- :mod:`dedup.near`: near-duplicates by MinHash, verified; their measured quality
- :mod:`dedup.spans`: passages, lines and paragraphs inside texts that stood before
- :mod:`dedup.index`: a new batch against all batches before

Beside them: :mod:`~dedup.words` (what a word is, for all of them), :mod:`~dedup.shingles`,
:mod:`~dedup.exact` (equal hashes: the most wanted copy stays), :mod:`~dedup.same_words`,
:mod:`~dedup.urls`, :mod:`~dedup.runs`, and :mod:`~dedup.ngrams` (against benchmarks).

>>> import numpy as np, pyarrow as pa
>>> from dedup.near.lsh import candidate_groups
>>> from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
>>> from dedup.near.verify import greedy_keep
>>> fox = "The quick brown fox jumps over the lazy dog while the cat sleeps in the warm kitchen"
>>> other = "Something else altogether, about ships and the sea"
>>> texts = pa.array([fox, other, fox.upper() + "!"], pa.large_string())
>>> config = MinHashConfig(ngrams=5, bands=14, rows=8)
>>> keys, has_signature = band_keys(texts, config)
>>> groups = candidate_groups(keys, has_signature)
>>> sets = shingle_sets(texts, config, wanted=groups.candidates(len(texts)))
>>> verdict = greedy_keep(np.array([1, 2, 0]), groups, sets, threshold=0.7)
>>> verdict.kept.tolist()
[False, True, True]
>>> verdict.document.tolist(), verdict.kept_document.tolist()
([0], [2])
>>> verdict.similarity.tolist(), verdict.bands_hit.tolist()
([1.0], [14])

Each step takes any batch of texts: keys of batches are concatenated before grouping, and only
candidates (usually a small part) are read a second time for their sets. Every kernel runs on one
core and without the interpreter's lock.
"""
