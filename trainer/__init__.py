"""Trainer: the model, its schedules, the loop, checkpoints and what is asked of them.

    plan + shards ─ train ─▶ checkpoints + metrics
    stable checkpoint ─ branch ─▶ other decays, compared

What comes in is a frozen plan (:mod:`mixtures`), folders of token shards and a tokenizer; what goes
out is a folder of checkpoints (safetensors and ``state.json``) and metrics as JSON lines. A run
stopped at any step goes on to the same bits. The names you need: ``train``, ``branch``,
``generate``. Where a recipe with a mixture was run under the name ``trained``:

>>> from pipelines.run.record import load_run
>>> from pipelines.training.materials import Materials
>>> from pipelines.training.plan_file import plan_of_run
>>> from trainer.evaluation.generate import GenerateSettings, generate, speaker
>>> from trainer.loop.settings import ModelSettings, TrainSettings
>>> from trainer.loop.training import train
>>> store, record = load_run("runs", "trained")
>>> shards = Materials.of(store, record)
>>> model = ModelSettings(width=32, layers=1, heads=2, kv_heads=1, head_dim=16, ff=48)
>>> settings = TrainSettings(sequence_length=64, batch_tokens=512, threads=1, tensorboard=False)
>>> outcome = train(
...     plan_of_run(store), shards.folders, model, settings, "small", shards.tokenizer, until_step=2
... )
>>> outcome.step, outcome.steps
(2, 12)
>>> len(generate(*speaker(outcome.checkpoint, "cpu"), ["Once"], GenerateSettings(tokens=4)))
1

Rooms: :mod:`~trainer.shapes` and :mod:`~trainer.devices`, :mod:`~trainer.kernels` and
:mod:`~trainer.costs`, :mod:`~trainer.model`, :mod:`~trainer.optimizer` and
:mod:`~trainer.objectives`, :mod:`~trainer.checkpoints` and :mod:`~trainer.generation`,
:mod:`~trainer.evaluation`, :mod:`~trainer.loop`; each imports only those before it. A model
needs torch and numpy alone.
"""
