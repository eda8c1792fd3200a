"""The index of near-duplicates on files: reading a batch, deciding on it, writing what is kept,
merging, asking.

:mod:`pipelines.deduplicate.index.changes` is how it is used; :mod:`dedup.index.decide` decides,
over arrays.
"""
