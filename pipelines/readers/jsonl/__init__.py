"""JSON Lines and JSON arrays: lines into columns, from the bytes where nothing is unusual.

    blocks ─ arrays ─▶ elements of an array as lines ─ lines ─▶ runs of whole lines
    a run ─ columns (records, members, fields, scan) ─▶ columns; unusual lines one by one (values)
    lines that are no documents ─ bad_lines ─▶ quarantine, in bounded memory

:mod:`~pipelines.readers.jsonl.format` is what the list of formats names,
:mod:`~pipelines.readers.jsonl.reading` puts the steps together. In a folder with the starter:

>>> from pathlib import Path
>>> from pipelines.readers import Span, read
>>> _ = Path("two.json").write_text('[{"text": "one"}, {"text": "two"}, 3]')
>>> (batch,) = read(Span("two.json", "two.json"))
>>> batch.documents["text"].to_pylist(), batch.quarantine["reason"].to_pylist()
(['one', 'two'], ['not_an_object'])
"""
