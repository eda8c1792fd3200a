"""Near-duplicates: texts of which most shingles are the same.

    texts ─ minhash ─▶ band keys ─ lsh ─▶ groups that share a key, clusters
    groups, shingle sets ─ verify ─▶ which texts go, in favour of which, how similar they are

Bands and rows decide which pairs are looked at (:mod:`~dedup.near.curve`), exact similarity decides
who goes. A large cluster is decided in rounds (:mod:`~dedup.near.rounds`), a large corpus in parts
(:mod:`~dedup.near.partitions`). :mod:`~dedup.near.quality` measures recall and precision on
samples; :mod:`~dedup.near.overlap` and :mod:`~dedup.near.cardinality` say how much sources have in
common and how much there is at all; :mod:`~dedup.near.datasketch_interop` speaks datasketch's
formats. :mod:`dedup` has an example of the whole; which bands and rows to take:

>>> from dedup.near.curve import Curve, optimal_curve
>>> round(float(Curve(bands=14, rows=8).probability(0.8)), 3)
0.924
>>> optimal_curve(threshold=0.8, permutations=112)
Curve(bands=9, rows=12)
"""
