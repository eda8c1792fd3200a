"""Evaluation: what a model is worth, by its loss on held-out shards and by its text.

    model, held-out shards ─ held_out ─▶ nats per target, bits per byte, by source
    model, prompts ─ generate, by trainer.generation ─▶ texts
    model, benchmarks ─ tasks, or harness by lm-evaluation-harness ─▶ scores of every item

Held-out documents are chosen by their order in the shards and their bytes, so the figures of two
trainings compare, under two tokenizers too. In a folder with a trained run:

>>> from pipelines.run.record import load_run
>>> from pipelines.training.checkpoints import run_checkpoints
>>> from pipelines.training.materials import Materials
>>> from trainer.evaluation.generate import GenerateSettings, generate, speaker
>>> from trainer.evaluation.held_out import validate
>>> store, record = load_run("runs", "trained")
>>> model, tokenizer = speaker(run_checkpoints(store)[-1].checkpoint, "cpu")
>>> shards = Materials.of(store, record).validation
>>> losses = validate(model, shards, tokenizer, sequence_length=64, windows=4)
>>> losses["web"].bits_per_byte > 0
True
>>> generate(model, tokenizer, ["The"], GenerateSettings(tokens=4)) == generate(
...     model, tokenizer, ["The"], GenerateSettings(tokens=4)
... )
True
"""
