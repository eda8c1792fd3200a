"""Probes: what is measured while any training runs, without changing a bit of it.

    train(..., probes=[...]) ─ each step ─▶ a probe ─▶ metrics/probe-NAME.jsonl
                                                    ─▶ probes.safetensors in checkpoints, to go on

:class:`~trainer.probes.coordinates.Coordinates` measures activations and updates,
:class:`~trainer.probes.noise_scale.NoiseScale` how noisy gradients are,
:class:`~trainer.probes.dynamics.Dynamics` how gradients and weights change from step to step. One
more is a class with :class:`~trainer.probes.probe.Probe` as its base. In a folder with a trained
run:

>>> from pipelines.run.record import load_run
>>> from pipelines.training.materials import Materials
>>> from pipelines.training.plan_file import plan_of_run
>>> from trainer.loop.metrics import read_series
>>> from trainer.loop.settings import ModelSettings, TrainSettings
>>> from trainer.loop.training import train
>>> from trainer.probes.noise_scale import NoiseScale
>>> store, record = load_run("runs", "trained")
>>> shards, plan = Materials.of(store, record), plan_of_run(store)
>>> model = ModelSettings(width=32, layers=1, heads=2, kv_heads=1, head_dim=16, ff=48)
>>> settings = TrainSettings(
...     sequence_length=64, batch_tokens=512, micro_batch_tokens=128, threads=1, tensorboard=False
... )
>>> parts = (plan, shards.folders, model, settings, "probed", shards.tokenizer)
>>> train(*parts, until_step=2, probes=[NoiseScale()]).step
2
>>> [line["micro_batches"] for line in read_series("probed", "probe-noise_scale")]
[4, 4]
"""
