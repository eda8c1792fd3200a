"""Mixtures: what training is shown, and when. A batch is a pure function of (plan, step).

    recipe's mixture + shards ─ spec, freeze ─▶ plan.json ─ loader ─▶ batch of a step

What comes in: a recipe's phases and the token shards of each source. What goes out: a plan, frozen
JSON in whole steps, and from it batches as numpy arrays. A run's state is its step and the plan's
hash. The names you need: ``MixtureSpec``, ``freeze``, ``Loader``. Where a recipe with a mixture was
run under the name ``trained``:

>>> from mixtures.freeze.freeze import freeze
>>> from mixtures.loader.loader import Loader
>>> from mixtures.spec.spec import MixtureSpec
>>> from pipelines.run.record import load_run
>>> from tokenizer.shards.reader import open_source
>>> store, record = load_run("runs", "trained")
>>> spec = MixtureSpec(tokens=8192, reserve={"instructions": "decay"}, phases=[
...     {"name": "stable", "percent": 75, "weights": {"web": 1}},
...     {"name": "decay", "decay": True, "percent": 25, "weights": {"instructions": 1}},
... ])
>>> folders = {name: store.full(record["shards"][name]["folder"]) for name in spec.sources}
>>> sources = {name: open_source(folder) for name, folder in folders.items()}
>>> plan = freeze(spec, sources, sequence_length=64, batch_tokens=512, seed=1)
>>> plan.steps, plan.decay_step
(16, 12)
>>> Loader(plan, folders).batch(0).tokens.shape
(8, 64)

Rooms: :mod:`~mixtures.sequences` (integer mathematics), :mod:`~mixtures.spec` (what a recipe says),
:mod:`~mixtures.plan` (the plan as a file), :mod:`~mixtures.order` (from a step to windows),
:mod:`~mixtures.parts` (shards as streams of tokens), :mod:`~mixtures.loader` (windows to batches),
:mod:`~mixtures.freeze` (from shares to steps; branches, edits), :mod:`~mixtures.inspect` (what a
plan shows, and whether it holds). Promises, each with its tests: every source stays within one
window of its share after every window; an epoch shows every window once; any number of ranks reads
the same global batch; a new segment never changes a past step.
"""
