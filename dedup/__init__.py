"""Deduplication and decontamination: pure compute over Arrow arrays, no files and no executors.

What comes in is a column of texts (pyarrow large_string) and a rank for each, 0 = most wanted. What
goes out are numpy arrays with a row per text (kept or not, by which copy it is represented, how
large its cluster is) and evidence for each removal. Nothing depends on the order of rows, only on
texts and ranks.

- :func:`dedup.exact.keep_first`       equal hashes: the most wanted copy stays
- :func:`dedup.near.minhash.band_keys`      near-duplicate candidates: texts that share a band key
- :func:`dedup.near.verify.greedy_keep`     which candidates go: exact Jaccard against a text that
  stays
- :func:`dedup.index.decide.find_candidates`  the same for a new batch against all batches before:
  with :func:`dedup.index.decide.decide`

and, inside of texts, :func:`dedup.spans.passages.repeated_spans` and
:func:`dedup.spans.lines.repeated_lines`: passages, lines and paragraphs that stood before, to be
cut by :func:`dedup.spans.spans.cut`; against benchmarks, :class:`dedup.ngrams.NgramIndex`. What a
word is, for all of them, is said in :mod:`dedup.words`. How good a result is measures
:mod:`dedup.near.quality`; signatures from and for datasketch makes
:mod:`dedup.near.datasketch_interop`.

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
