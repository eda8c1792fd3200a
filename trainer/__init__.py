"""Trainer: the model, its schedules, the loop, checkpoints and what is asked of them.

    plan + shards ─ train ─▶ checkpoints + metrics
    stable checkpoint ─ branch ─▶ other decays, compared

What comes in is a frozen plan (:mod:`mixtures`), folders of token shards and a tokenizer; what goes
out is a folder of checkpoints (safetensors and ``state.json``) and metrics as JSON lines. A run
stopped at any step goes on to the same bits. The names to know: ``train``, ``branch``,
``generate``::

    from mixtures.freeze.freeze import Plan
    from tokenizer.encode import Tokenizer
    from trainer.evaluation.generate import generate, speaker
    from trainer.loop.training import train
    from trainer.loop.settings import ModelSettings, TrainSettings

    plan, tokenizer = Plan.load("plan.json"), Tokenizer.load("tokenizer.model")
    outcome = train(plan, {"web": "shards/web"}, ModelSettings(), TrainSettings(), "out", tokenizer)
    print(generate(*speaker(outcome.checkpoint), ["Once"]))

``trainer.model.decoder`` needs torch and numpy alone; ``trainer.shapes.presets`` has the shapes of
the MiniCPM paper, ``trainer.optimizer.schedules`` its learning-rate schedules as pure functions of
the step.
"""
