"""Near-duplicates of a corpus of any size: a comparison in bounded parts, each a task of its own.

    band keys of every document   ─ scatter ─▶  keys by band and prefix       a task per chunk
    keys of a few partitions      ─ group ───▶  rows that share a key         per 4 million keys
    rows that share a key         ─ cluster ─▶  candidates, dealt into shards         one task
    texts of candidates           ─ gather ──▶  their shingle sets, by shard  a task per chunk
    shingle sets of a shard       ─ verify ──▶  who goes, in whose favour     per 64 MiB of text
    who goes                      ─ decide ──▶  evidence, then every selection   one, then per chunk

A pair is compared only if it shares a band key, so it lies in one cluster (a connected component
over shared keys), and a cluster lies whole in one shard: shards are decided independently of one
another, with the outcome that one comparison of the whole corpus has. How many partitions and
shards there are follows from the corpus and is the same for any number of workers. Memory of a task
is bounded by the size of its part, except for ``cluster`` (25 bytes per document) and for a single
cluster larger than a shard, whose sets are then mapped from a scratch file.

Parts lie under ``work/`` in the run's folder as units like all others: a killed run goes on after
the last one, another threshold only verifies anew, and ``windtunnel cache gc`` removes them. The
driver calls :func:`~pipelines.comparisons.near.compare.compare_near`. The same over arrays in
memory is :func:`dedup.near.verify.greedy_keep`. From a recipe, two thresholds over one set of band
keys:

>>> from pipelines.recipe.load import load_recipe
>>> from pipelines.run.driver import run_recipe
>>> def removed(threshold):
...     stages = f"corpus.stages=[minhash_dedup: {{verify: {threshold}}}]"
...     outcome = run_recipe(load_recipe("recipe.yaml", ["name=near", stages]), until="corpus")
...     return outcome.ledgers[-1].total().dropped["near_duplicate"].documents
>>> removed(0.5) > removed(0.9)
True
"""
