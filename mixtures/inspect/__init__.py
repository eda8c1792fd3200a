"""Looking into a plan: what it shows, and whether it holds.

    plan, step ─ trace ─▶ the documents of a step        plan, id ─ trace ─▶ steps that show it
    plan, step ─ accounting ─▶ tokens, epochs and documents of each source up to there
    plans, shards ─ cut_documents ─▶ how many documents their windows do not hold
    plan, shards ─ check_plan ─▶ are they those it was frozen with, are its rules kept

Nothing has to be trained for it. In a folder with a trained run:

>>> from mixtures.inspect.accounting import realised
>>> from mixtures.inspect.trace import trace_document, trace_step
>>> from pipelines.run.record import load_run
>>> from pipelines.training.plan_file import plan_of_run
>>> store, record = load_run("runs", "trained")
>>> plan = plan_of_run(store)
>>> folders = {name: store.full(record["shards"][name]["folder"]) for name in plan.names}
>>> first = trace_step(plan, 5, folders)[0]
>>> 5 in [shown.step for shown in trace_document(plan, folders, first.id)]
True
>>> {source.source: source.tokens for source in realised(plan, 8)}
{'instructions': 0, 'web': 4096}
"""
