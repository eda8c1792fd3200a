"""The loader: from the windows of a step to its batch, whatever the number of ranks.

    step ─ windows ─▶ pieces (row, place, source, first token, tokens) ─ fill ─▶ arrays of a batch

A :class:`~mixtures.loader.loader.Batch` has tokens, targets, weights, positions and documents as
int32 or float32, (rows, window). While a batch is used, a thread reads the next one
(:mod:`~mixtures.loader.read_ahead`, :mod:`~mixtures.loader.next_blocks`);
:mod:`~mixtures.loader.dataset` is the same for any PyTorch trainer. In a folder with a trained run:

>>> from mixtures.loader.loader import Loader
>>> from pipelines.run.record import load_run
>>> from pipelines.training.plan_file import plan_of_run
>>> store, record = load_run("runs", "trained")
>>> plan = plan_of_run(store)
>>> folders = {name: store.full(record["shards"][name]["folder"]) for name in plan.names}
>>> batch = Loader(plan, folders).batch(3)
>>> batch.tokens.shape, batch.targets.dtype.name
((8, 64), 'int32')
>>> halves = [Loader(plan, folders, rank=rank, world_size=2).batch(3) for rank in range(2)]
>>> [half.tokens.shape for half in halves]
[(4, 64), (4, 64)]
"""
