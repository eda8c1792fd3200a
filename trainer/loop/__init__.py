"""The loop: a training that stops at any step and goes on to the same bits, and branches of it.

    plan, shards, settings ─ train ─▶ checkpoints, metrics ─ train ─▶ the same, further
    stable checkpoint, mixtures ─ branch ─▶ an ending for each, with the same tokens, compared
    stable checkpoints, a decay's shape ─ decayed_by_merging ─▶ about what that decay comes to

``train`` is in :mod:`~trainer.loop.training`, ``branch`` in :mod:`~trainer.loop.branch`, their
settings in :mod:`~trainer.loop.settings`. :mod:`~trainer.loop.run` is one training in memory,
:mod:`~trainer.loop.fits` refuses a checkpoint that does not belong to it,
:mod:`~trainer.loop.interrupt` lets a step finish, :mod:`~trainer.loop.metrics` writes a line per
step, :mod:`~trainer.loop.board` shows the run in TensorBoard, :mod:`~trainer.loop.provenance` says
what computed it. In a folder with a trained run:

>>> from pipelines.run.record import load_run
>>> from pipelines.training.materials import Materials
>>> from pipelines.training.plan_file import plan_of_run
>>> from trainer.loop.metrics import read_series
>>> from trainer.loop.settings import ModelSettings, TrainSettings
>>> from trainer.loop.training import train
>>> store, record = load_run("runs", "trained")
>>> shards, plan = Materials.of(store, record), plan_of_run(store)
>>> model = ModelSettings(width=32, layers=1, heads=2, kv_heads=1, head_dim=16, ff=48)
>>> settings = TrainSettings(sequence_length=64, batch_tokens=512, threads=1, tensorboard=False)
>>> parts = (plan, shards.folders, model, settings, "stopped", shards.tokenizer)
>>> train(*parts, until_step=2).step
2
>>> train(*parts, until_step=4).first_step  # goes on where it was
2
>>> [line["step"] for line in read_series("stopped")]
[1, 2, 3, 4]
"""
