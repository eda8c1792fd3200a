"""Freezing: from shares of tokens to whole steps over pinned shards.

    MixtureSpec, shards ─ freeze ─▶ Plan        Plan, step, phases ─ branch, append ─▶ another Plan

:mod:`~mixtures.freeze.pinning` says which parts and how they are cut,
:mod:`~mixtures.freeze.contexts` where sources stand when windows get another length,
:mod:`~mixtures.freeze.caps` refuses a plan that shows a source too often;
:mod:`~mixtures.freeze.plan_phases` and :mod:`~mixtures.freeze.plan_table` show a plan as phases and
as a table. In a folder with a trained run:

>>> from mixtures.freeze.edit import append
>>> from mixtures.freeze.freeze import common_steps
>>> from mixtures.spec.phase import PhaseSpec
>>> from pipelines.run.record import load_run
>>> from pipelines.training.materials import Materials
>>> from pipelines.training.plan_file import plan_of_run
>>> store, record = load_run("runs", "trained")
>>> plan, sources = plan_of_run(store), Materials.of(store, record).sources()
>>> longer = PhaseSpec(name="more", tokens=1024, weights={"web": 1})
>>> other = append(plan, 6, [longer], sources)
>>> other.steps, common_steps(plan, other)  # the first six steps stay as they were
(8, 6)
>>> other.history[-1].hash == plan.hash
True
"""
