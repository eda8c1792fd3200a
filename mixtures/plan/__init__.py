"""The plan as a file: pinned sources, contexts and segments in whole steps, canonical JSON.

    plan.json ⇄ Plan: sources (which parts), contexts (window, batch), segments (steps, shares)

A plan never changes once it is frozen: extending or branching makes another one that names it in
``history``, so its hash says exactly what training was shown. :mod:`~mixtures.plan.format` is the
file and its hash; :mod:`~mixtures.plan.shares` makes weights integers that add up exactly. A plan
is made by :mod:`mixtures.freeze`. In a folder with a trained run:

>>> from mixtures.plan.shares import shares_of
>>> from pipelines.run.record import load_run
>>> from pipelines.training.plan_file import plan_of_run
>>> plan = plan_of_run(load_run("runs", "trained")[0])
>>> [(segment.name, segment.first_step, segment.steps) for segment in plan.segments]
[('stable', 0, 8), ('decay', 8, 4)]
>>> plan.tokens == plan.steps * plan.batch_tokens
True
>>> sum(shares_of({"web": 0.9, "code": 0.1}, ["web", "code"], "weights")) == 1 << 18
True
"""
