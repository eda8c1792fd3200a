r"""Writers: documents and tables written out again, for people and other tools.

    chunks ─ kept_documents ─▶ the documents that stay, JSON Lines or Parquet, a file per chunk
    columns ─ json_lines ─▶ bytes of JSON Lines, without a Python object per document
    selections, quarantine ─ run_tables ─▶ one table of each per source

The mirror of :mod:`pipelines.readers`: what a reader takes for a record, a writer spells. Text with
nothing to escape is copied as it is.

>>> import numpy as np, pyarrow as pa
>>> from pipelines.writers.json_lines import json_lines
>>> texts = pa.array(["plain", 'a "quoted" word'], pa.large_string())
>>> languages = pa.array(["en", None], pa.large_string())
>>> meta = pa.array(['{"score":3}', None], pa.large_string())
>>> print(bytes(json_lines([("text", texts), ("lang", languages)], meta)).decode(), end="")
{"text":"plain","lang":"en","score":3}
{"text":"a \"quoted\" word"}
"""
