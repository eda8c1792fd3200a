"""One chunk in one task: read it, then measure, rewrite and choose.

    spans of files ─ read ─▶ documents, quarantine
    documents ─ unique ─▶ documents without keys that came before
    text ─ measure ─▶ signals        text ─ rewrite ─▶ the next text version
    signals ─ choose ─▶ selection, verdicts

Steps that need nothing but their own chunk are fused into one task, so a text is decoded once for
all of them. Each step publishes a unit of its own, and one that is there is not made again; with
``compute=False`` a task only looks. The names you need: ``ChunkTask``, ``run_chunk``
(:mod:`~pipelines.chunks.work`), ``ReadStep`` (:mod:`~pipelines.chunks.reading`) and ``prepare``
(:mod:`~pipelines.chunks.resources`: tables such as a benchmark index, made once for all chunks).

>>> from pipelines.chunks.work import ChunkTask, run_chunk
>>> from pipelines.recipe.load import load_recipe
>>> from pipelines.run.work_plan import plan_corpus
>>> plan = plan_corpus(load_recipe("recipe.yaml"), {})
>>> chunk = plan.chunks[0]
>>> task = ChunkTask("runs/one-chunk", chunk, (plan.readers[chunk.source],))
>>> result = run_chunk(task)
>>> [(outcome.step, outcome.computed) for outcome in result.outcomes]
[('read', True)]
>>> run_chunk(task, compute=False).chunk.documents == result.chunk.documents
True
"""
