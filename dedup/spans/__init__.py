r"""Spans: passages, lines and paragraphs inside texts that stood before in keep order.

    texts, ranks ─ passages, lines ─▶ spans, and where each stood first ─ cut ─▶ the texts without

Found by hash, compared byte by byte: what is cut is in a text that comes earlier. The mechanism is
:mod:`~dedup.spans.spans`; :mod:`~dedup.spans.passages` finds every run of at least so many words,
:mod:`~dedup.spans.lines` lines and paragraphs; :mod:`~dedup.spans.exact_words` and
:mod:`~dedup.spans.radix` are what they rest on.

>>> import numpy as np, pyarrow as pa
>>> from dedup.spans.lines import repeated_lines
>>> from dedup.spans.spans import cut
>>> texts = pa.array(
...     ["All rights reserved 2024\nA fox.", "All rights reserved 2024\nA dog."],
...     pa.large_string(),
... )
>>> spans = repeated_lines(texts, np.array([0, 1]), unit="line", least=3)
>>> spans.row.tolist(), spans.start.tolist(), spans.kept_row.tolist()
([1], [0], [0])
>>> cut(texts, spans.row, spans.start, spans.end)[0].to_pylist()
['All rights reserved 2024\nA fox.', 'A dog.']
"""
