"""The starter: a recipe and a small corpus, which ``windtunnel init`` writes.

    write_starter ─▶ recipe.yaml, data/web.jsonl, data/instructions.jsonl, data/benchmark.jsonl

It runs in seconds, on any machine, without a network; the recipe says in comments what to put in
place of its parts. ``init --train`` writes one that trains a tiny model besides. Nothing is
overwritten.

>>> from pathlib import Path
>>> from pipelines.starter.write import write_starter
>>> [str(path) for path in write_starter(Path("project"))][:2]
['project/recipe.yaml', 'project/data/web.jsonl']
"""
