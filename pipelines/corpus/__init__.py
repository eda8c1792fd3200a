"""The corpus of a run: what lies in its folder, and how to read it.

    run.json ─ Chunk ─▶ references: documents, rewrites, signals, selection, verdicts, cuts
    chunk ─ ChunkTexts ─▶ documents with their newest text, a batch at a time
    chunk ─ ChunkColumns ─▶ ids, signals, who is kept and why the others are not
    chunks ─ CorpusView ─▶ columns over all documents that take part in a comparison

A chunk is the unit of work: some documents of one source, the same whatever the number of workers.
This is the lowest room that knows one. Modules: :mod:`~pipelines.corpus.chunk`,
:mod:`~pipelines.corpus.texts`, :mod:`~pipelines.corpus.selection` (who is kept),
:mod:`~pipelines.corpus.chunk_columns`, :mod:`~pipelines.corpus.view`,
:mod:`~pipelines.corpus.keep_policy` (which copy stays), :mod:`~pipelines.corpus.outcomes`,
:mod:`~pipelines.corpus.document_files`, :mod:`~pipelines.corpus.excerpts`. In a folder with the
starter's run:

>>> from pipelines.corpus.chunk import Chunk
>>> from pipelines.corpus.chunk_columns import ChunkColumns
>>> from pipelines.corpus.texts import ChunkTexts
>>> from pipelines.run.record import load_run
>>> store, record = load_run("runs", "starter")
>>> chunk = Chunk.from_json(record["chunks"][0])
>>> sum(batch.num_rows for batch in ChunkTexts(store, chunk).batches()) == chunk.documents.rows
True
>>> columns = ChunkColumns(store, chunk)
>>> len(columns.ids), int(columns.kept.sum())
(98, 75)
>>> sorted({reason for reason in columns.reason if reason})
['exact_duplicate', 'gopher_below_alpha_threshold', 'near_duplicate']
"""
