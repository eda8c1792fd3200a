"""Checkpoints: a folder that appears whole or not at all, without pickle.

    weights, moments, state ─ save ─▶ checkpoints/ in a training's folder
    folder ─ load ─▶ Checkpoint ─ model_of ─▶ a model        Checkpoint ─ restore ─▶ an optimizer
    checkpoints, coefficients ─ merged ─▶ weights

Weights and moments are safetensors; ``state.json`` says step, plan, schedule, shape, settings and
what computed each stretch (:mod:`~trainer.checkpoints.state`).
:mod:`~trainer.checkpoints.checkpoint` has the files, :mod:`~trainer.checkpoints.weights` and
:mod:`~trainer.checkpoints.moments` what is read from them.
In a folder with a trained run:

>>> from pipelines.run.record import load_run
>>> from pipelines.training.checkpoints import run_checkpoints
>>> from trainer.checkpoints.checkpoint import load
>>> from trainer.checkpoints.weights import model_of
>>> store, record = load_run("runs", "trained")
>>> checkpoint = load(store.full(run_checkpoints(store)[-1].path))
>>> checkpoint.state.step, checkpoint.state.tokens
(12, 6144)
>>> from trainer.checkpoints.merging import merged
>>> line = [load(store.full(found.path)) for found in run_checkpoints(store)]
>>> mean = merged(line, [1 / 3, 1 / 3, 1 / 3])["embedding"]
>>> middle = sum(one.weights()["embedding"].double() for one in line) / 3
>>> bool((mean - middle).abs().max() < 1e-6)
True
>>> sum(weights.numel() for weights in model_of(checkpoint).parameters()) > 30_000
True
"""
