"""Generation: a model goes on from prompts, a token at a time, many prompts at once.

    prompts ─ Window ─▶ what is in sight ─ Model.read over a Cache ─▶ scores
    scores ─ pick ─▶ a token ─ Pieces ─▶ text without stop strings, never half a character

:mod:`~trainer.generation.settings` says how, :mod:`~trainer.generation.window` what is seen of
a prompt and of what was said, :mod:`~trainer.generation.sampling` which token comes next,
:mod:`~trainer.generation.pieces` what is shown of it, :mod:`~trainer.generation.speak` is the loop,
:mod:`~trainer.generation.chat` has prompts of conversations, :mod:`~trainer.generation.memory` what
was read of one before. Models and checkpoints are joined to it by
:mod:`trainer.evaluation.generate`.

>>> import torch
>>> from trainer.generation.window import Prompt
>>> from trainer.generation.settings import GenerateSettings
>>> from trainer.generation.speak import speak
>>> from trainer.model import Model, init
>>> from trainer.shapes.presets import preset
>>> config = preset("tiny", vocab_size=512, layers=1)
>>> model = Model(config)
>>> init(model, config, seed=1)
>>> prompts = [Prompt([1, 5, 9]), Prompt([1, 7])]
>>> said = list(speak(model, prompts, GenerateSettings(tokens=3), ends={2}))
>>> [len([one for one in said if one.prompt == number]) for number in (0, 1)]
[3, 3]
"""
