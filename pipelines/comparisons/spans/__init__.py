"""Cutting passages, lines and paragraphs that stood before out of the texts of a corpus.

    texts ─ anchors ─▶ hashes by share ─ count ─▶ which of them repeat, by chunk
    texts, repeats ─ windows ─▶ occurrences by share ─ match ─▶ spans that stood before, by chunk
    spans ─ check the bytes, answer ─▶ spans that hold ─ cut ─▶ texts, selection, evidence

A task holds a chunk of texts or a share of the hashes, and nothing of the size of the corpus; how
many shares there are follows from texts and settings. Hashes only propose: a span is cut where the
bytes are equal. :func:`~pipelines.comparisons.spans.rounds.cut_spans` is what the driver calls,
:mod:`~pipelines.comparisons.spans.work` says what each phase does,
:mod:`~pipelines.comparisons.spans.cut` writes what follows. The same over arrays in memory is
:mod:`dedup.spans`. From a recipe:

>>> from artifacts.tables import read_parquet
>>> from pipelines.recipe.load import load_recipe
>>> from pipelines.run.driver import run_recipe
>>> stages = "corpus.stages=[line_dedup: {least: 4, times: 1}]"
>>> outcome = run_recipe(load_recipe("recipe.yaml", ["name=cut", stages]), until="corpus")
>>> cuts = [chunk["cuts"]["line_dedup"] for chunk in outcome.record["chunks"] if chunk["cuts"]]
>>> spans = read_parquet(outcome.store, cuts[0]["name"], "spans")
>>> bool((spans["end"].to_numpy() > spans["start"].to_numpy()).all())
True
"""
