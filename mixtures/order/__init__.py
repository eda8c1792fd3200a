"""The order: which windows a step shows, in constant time, with no index and no state.

    plan, step ─ interleave ─▶ how many windows of each source came before, and which come now
    source, number ─ source_order ─▶ the window that is the number-th ever shown, and the inverse
    plan ─ sound_plan ─▶ an error where its numbers do not fit together

In a folder with a trained run:

>>> from mixtures.order.interleave import counts_before, numbers_of
>>> from pipelines.run.record import load_run
>>> from pipelines.training.plan_file import plan_of_run
>>> plan = plan_of_run(load_run("runs", "trained")[0])
>>> plan.names
('instructions', 'web')
>>> counts_before(plan, 8).tolist()  # eight steps of eight windows, all of them web's
[0, 64]
>>> sources, numbers = numbers_of(plan, 8)
>>> sorted(sources.tolist()), numbers.max() >= 64
([0, 0, 0, 0, 1, 1, 1, 1], np.True_)
"""
