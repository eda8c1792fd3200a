"""Pipelines, the front door: from a recipe to documents, shards, checkpoints and a report.

    recipe ─ load ─▶ chunks and steps ─ run ─▶ documents, selection, evidence, quarantine
    selected documents ─ shards ─▶ tokenizer, token shards ─ training ─▶ plan, checkpoints

What comes in is one YAML file (:mod:`pipelines.recipe`); what goes out lies in a folder of the
run, every unit under the key of what it is made from, so that the same call goes on after a kill
and computes what a change concerns, and nothing else. The names you need: ``load_recipe``,
``run_recipe``, ``load_run``. In a folder that ``windtunnel init`` has written:

>>> from pipelines.recipe.load import load_recipe
>>> from pipelines.run.driver import run_recipe
>>> loaded = load_recipe("recipe.yaml", ["corpus.stages=[newlines, exact_dedup]", "name=tour"])
>>> outcome = run_recipe(loaded, "runs", until="corpus")
>>> outcome.computed > 0
True
>>> run_recipe(loaded, "runs", until="corpus").computed  # everything is there
0
>>> last = outcome.ledgers[-1].total()
>>> last.entered.documents == last.kept.documents + sum(c.documents for c in last.dropped.values())
True

Rooms, in the order of the data:

    recipe/ readers/                what the user wrote; files as batches of documents
    corpus/                         what lies in a run folder and how to read it
    signals/ stages/                pure measures; what a recipe may name, as steps with rules
    chunks/ comparisons/            steps over one chunk; steps across chunks
    shards/ training/               tokenizer and token shards; plans and checkpoints
    run/ executors/                 the driver; where its tasks are carried out
    writers/ report/                documents written out again; what a run came to
    deduplicate/ datatrove/         deduplication without a recipe; stages in datatrove's pipelines
    commands/ starter/ launch.py    the command line; what ``init`` writes; the console's entry

A room imports only rooms below it; ``tests/test_rooms.py`` has the order.
"""
