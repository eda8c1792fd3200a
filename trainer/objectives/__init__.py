"""Objectives: what is minimised over a batch, and how it is counted.

    batch, model ─ objective ─▶ loss of a micro-batch, and what a step reports
    batch, model, objective ─ gradient ─▶ gradients of its sum over its normaliser
    losses ─ losses ─▶ nats per target and bits per byte, by source

:class:`~trainer.objectives.objective.Objective` is what a training is given,
:class:`~trainer.objectives.next_token.NextToken` that of pre-training. A batch goes through in
micro-batches and is normalised as a whole, so how it is divided changes rounding only.

>>> import numpy as np
>>> from trainer.objectives.losses import by_source
>>> nats = np.array([[2.0, 1.0], [3.0, 0.0]], np.float32)
>>> targets = np.array([[5, 6], [5, 0]])
>>> weights = np.array([[1, 1], [1, 0]], np.float32)
>>> sizes = np.full(8, 2)  # bytes of each token's text
>>> losses = by_source(nats, targets, weights, np.array([0, 1], np.int32), ["web", "code"], sizes)
>>> losses["web"].per_token, losses["code"].per_token
(1.5, 3.0)
"""
