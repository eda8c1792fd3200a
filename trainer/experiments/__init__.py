"""Experiments: which runs answer a question, and what their losses say. Nothing here trains.

    question ─ designs ─▶ runs to make      losses of runs ─ fits, laws ─▶ estimates, intervals
    estimates, margins ─ verdicts ─▶ shown, refuted, cannot tell

A run is data (:mod:`~trainer.experiments.runs`), a design a pure function of settings and outcomes
(:mod:`~trainer.experiments.design`). :mod:`pipelines.studies` carries them out.

>>> from mixtures.spec.phase import PhaseSpec
>>> from trainer.experiments.runs import RunSpec
>>> stable = RunSpec(seed=1, phases=(PhaseSpec(name="stable", tokens=900, weights={"web": 1.0}),))
>>> decay = PhaseSpec(name="decay", tokens=100, decay=True, weights={"web": 1.0})
>>> ending = stable.ended((decay,), from_step=9)
>>> ending.depth, ending.tokens, ending.parent == stable
(1, 100, True)
"""
