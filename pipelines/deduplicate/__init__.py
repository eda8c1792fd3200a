"""Deduplication without a recipe: files at once, or batch by batch against an index.

    files ─ dedup_files ─▶ documents that stay, who stands for whom, a ledger
    files ─ add_batch ─▶ what resembles nothing before it, and an index that has grown

Both read whatever a recipe can read and write it out as JSON Lines or Parquet. The names you need:
:func:`~pipelines.deduplicate.files.dedup_files`, and in
:mod:`pipelines.deduplicate.index.changes` ``add_batch`` and its siblings. In a folder that
``windtunnel init`` has written:

>>> from pipelines.deduplicate.files import dedup_files
>>> outcome = dedup_files(["data/web.jsonl"], "single", text_field="text", id_field="id")
>>> outcome.entered.documents, outcome.kept.documents
(98, 82)
>>> {reason: count.documents for reason, count in sorted(outcome.removed.items())}
{'exact_duplicate': 9, 'near_duplicate': 7}
"""
