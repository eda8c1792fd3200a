"""Parquet: footers, pages and values, none of which is believed unseen.

    footer ─ columns ─▶ the columns that a source needs, of the types they need
    row group ─ groups, pages ─▶ counts that agree, and rows to decode at a time
    rows ─ usual ─▶ columns of documents, straight from those of the file
    other rows ─ values, conversations ─▶ records, as JSON Lines of the same rows would give
    reading ─▶ batches; format ─▶ where files are cut

>>> import pyarrow as pa, pyarrow.parquet as pq
>>> from pipelines.readers import Span, read
>>> pq.write_table(pa.table({"text": ["one", "two"], "score": [1, 2]}), "two.parquet")
>>> (batch,) = read(Span("two.parquet", "two.parquet"))
>>> batch.documents["text"].to_pylist(), batch.documents["meta"].to_pylist()
(['one', 'two'], ['{"score":1}', '{"score":2}'])
"""
