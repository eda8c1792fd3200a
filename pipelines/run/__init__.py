"""The driver: plans the work of a recipe, finds or makes its units, keeps the books, resumes.

    recipe ─ work_plan ─▶ chunks, phases of steps
    phase ─ stretches, compare ─▶ tasks whose units are missing ─ executor ─▶ results
    results ─ record ─▶ ledgers, run.json
    recipe ─ estimate ─▶ memory, hours and disk of its training, before it is trained

It holds no documents and decides no byte of any output. The names you need: ``run_recipe``
(:mod:`~pipelines.run.driver`), ``load_run`` (:mod:`~pipelines.run.record`), ``train_run``
(:mod:`~pipelines.run.train_only`), ``estimate_run`` (:mod:`~pipelines.run.estimate`), ``usage``
and ``collect`` (:mod:`~pipelines.run.cache`). :mod:`~pipelines.run.rule_versions` holds rules'
versions against their code.

>>> from pipelines.recipe.load import load_recipe
>>> from pipelines.run.cache import usage
>>> from pipelines.run.driver import run_recipe
>>> from pipelines.run.record import load_run
>>> from pipelines.run.work_plan import plan_corpus, plan_steps
>>> loaded = load_recipe("recipe.yaml")
>>> len(plan_corpus(loaded, {}).chunks)  # one of each source
2
>>> run_recipe(loaded, "runs").computed  # nothing, where it was run before
0
>>> store, record = load_run("runs", "starter")
>>> record["reached"], record["ledgers"][0]["step"]
('shards', 'read')
>>> [(step.step, step.units) for step in usage(store, record)][:2]
[('documents/newlines', 2), ('documents/read', 2)]
"""
