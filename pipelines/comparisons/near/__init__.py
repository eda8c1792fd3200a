"""Near-duplicates of a corpus of any size: a comparison in bounded parts, each a task of its own.

    band keys of every document   ─ scatter ─▶  keys by band and prefix
    keys of a few partitions      ─ group ───▶  rows that share a key
    rows that share a key         ─ cluster ─▶  candidates, dealt into shards
    texts of candidates           ─ gather ──▶  their shingle sets, by shard
    shingle sets of a shard       ─ verify ──▶  who goes, in whose favour
    who goes                      ─ decide ──▶  evidence, then every selection

    scatter    a task per chunk
    group      a task per 4 million keys
    cluster    one task, 25 bytes per document
    gather     a task per chunk
    verify     a task per 64 MiB of candidates' text
    decide     one task, then a task per chunk

A pair is compared only if it shares a band key, so it lies in one cluster (a connected component
over shared keys), and a cluster lies whole in one shard: shards are decided independently of one
another, with the outcome that one comparison of the whole corpus has. How many partitions and
shards there are follows from the corpus and is the same for any number of workers. Memory of a task
is bounded by the size of its part, except for ``cluster`` (one number of 8 bytes for each document
twice, and a few flags) and for a single cluster larger than a shard, whose sets are then mapped
from a scratch file.

Parts lie under ``work/`` in the run's folder as units like all others: a killed run goes on behind
the last one, another threshold only verifies anew, and ``windtunnel cache gc`` removes them.
"""
