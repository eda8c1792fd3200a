"""Rows: from a parsed record to the columns of a document, or to the reason why it is none.

    record ─ records ─▶ Row: text, ids, meta ─▶ the collector of a batch
             conversations, messages ─▶ messages of every spelling that occurs
             rejections ─▶ a reason, and a sentence for people
    records ─ plain ─▶ many at once where nothing is unusual

>>> from pipelines.readers import Fields
>>> from pipelines.readers.rows.records import RecordRejectedError, row_of
>>> row = row_of({"text": "one sentence", "id": 7, "score": 3}, Fields(id_field="id"))
>>> row.text, row.native_id, row.meta
('one sentence', '7', '{"score":3}')
>>> try:
...     row_of({"body": "one sentence"}, Fields())
... except RecordRejectedError as error:
...     print(error.reason)
no_text
"""
