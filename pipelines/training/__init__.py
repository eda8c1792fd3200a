"""Training of a run: shards become a plan, the plan checkpoints, and branches end it otherwise.

    run.json ─ materials ─▶ shards, held-out shards, tokenizer
    mixture + shards ─ plans ─▶ plan, and one for each branch ─ train ─▶ checkpoints, metrics
    plan.json ─ edits ─▶ a plan that differs from a later step on
    ids ─ exposure ─▶ which steps showed a document, which checkpoints have seen it
    plan ─ probe ─▶ seconds and bytes of its steps, of which nothing stays
    stable checkpoints ─ previews ─▶ held-out losses of their merges, which stand for decays
    tombstones ─ versions, taken_down ─▶ the plan as a training follows it, or how it may go on

The loop is :mod:`trainer.loop`, the planning :mod:`mixtures`; this room says where things lie in a
run and goes on with what is there. The names you need: ``train_recipe``
(:mod:`~pipelines.training.train`), ``Materials`` (:mod:`~pipelines.training.materials`),
``plan_of_run`` (:mod:`~pipelines.training.plan_file`), ``edit_run``
(:mod:`~pipelines.training.edits`), ``run_checkpoints`` (:mod:`~pipelines.training.checkpoints`).
Where a recipe with a mixture was run under the name ``trained``:

>>> from pipelines.run.record import load_run
>>> from pipelines.training.checkpoints import run_checkpoints
>>> from pipelines.training.exposure import touched
>>> from pipelines.training.materials import Materials
>>> from pipelines.training.plan_file import plan_of_run
>>> store, record = load_run("runs", "trained")
>>> plan = plan_of_run(store)
>>> plan.names, plan.steps, plan.decay_step
(('instructions', 'web'), 12, 8)
>>> [checkpoint.step for checkpoint in run_checkpoints(store)]
[4, 8, 12]
>>> sorted(Materials.of(store, record).folders)
['instructions', 'web']
"""
