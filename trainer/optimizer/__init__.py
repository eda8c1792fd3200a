"""The optimizer: the rate of every step, and the update.

    step, ScheduleSpec ─ rate ─▶ learning rate        gradients, rate ─ AdamW ─▶ weights, moments
    steps of checkpoints, DecaySpec ─ merge_coefficients ─▶ shares of their weights

Schedules are pure functions of the step (:mod:`~trainer.optimizer.schedules`).
:mod:`~trainer.optimizer.adamw` updates the groups of the parameterisation with the same bits every
time; in bf16 it holds fp32 masters (:mod:`~trainer.optimizer.master_weights`).

>>> from trainer.optimizer.schedules import rate, wsd
>>> spec = wsd(total=100, decay_steps=10, peak=0.01, warmup=5)
>>> [round(rate(spec, step), 4) for step in (1, 5, 50, 90)]
[0.002, 0.01, 0.01, 0.01]
>>> rate(spec, 100) < rate(spec, 95) < 0.01
True
>>> from trainer.optimizer.merge_coefficients import merge_coefficients
>>> from trainer.optimizer.schedules import DecaySpec
>>> merge_coefficients(DecaySpec(shape="linear"), [100, 200, 300, 400])
(0.25, 0.25, 0.25, 0.25)
"""
