"""Web archives: WARC, WET and ARC, record by record, also where they are broken.

    stream ─ record_headers, framing ─▶ records, each with its payload or its damage
    record ─ pages ─▶ a document, a drop with its reason, or quarantine

Where a length is wrong, reading goes on at the next header, so one lie costs one record.

>>> from pathlib import Path
>>> from pipelines.readers import Span, read
>>> page = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html\\r\\n\\r\\n<p>A page of a few words.</p>"
>>> head = f"WARC/1.0\\r\\nWARC-Type: response\\r\\nContent-Length: {len(page)}\\r\\n\\r\\n"
>>> _ = Path("one.warc").write_bytes(head.encode() + page + b"\\r\\n\\r\\n")
>>> (batch,) = read(Span("one.warc", "one.warc"))
>>> batch.documents["text"].to_pylist()
['A page of a few words.']
"""
