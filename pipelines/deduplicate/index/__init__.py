"""An index of near-duplicates on files, to which documents come batch by batch.

    batch ─ documents ─▶ ids, hashes, band keys ─ decide ─▶ who stays, in whose favour
    who stays ─ output ─▶ files of kept documents ─ changes ─▶ a new segment, then the head
    index + index ─ merge ─▶ one          documents ─ queries ─▶ what they resemble

An index is a head that names its batches and an immutable segment of at most 160 bytes per document
for each; a kill leaves it as it was before the call or as it is after it. Batches one after another
keep what one run over all of them keeps. :mod:`dedup.index` decides, over arrays;
:mod:`~pipelines.deduplicate.index.changes` is how it is used:

>>> from pipelines.deduplicate.index.changes import add_batch, describe_index
>>> from pipelines.deduplicate.index.queries import match_documents
>>> first = add_batch("index", ["data/web.jsonl"], "batch-0", id_field="id")
>>> second = add_batch("index", ["data/benchmark.jsonl"], "batch-1", id_field="id")
>>> [batch["kept"] for batch in describe_index("index", check=True)["batches"]]
[82, 40]
>>> match_documents("index", ["data/web.jsonl"], id_field="id").num_rows > 0
True
"""
