"""Laws: what loss a size and a length of training reach, and what is best within a budget.

    CSV, Parquet ─ table ─▶ points ─ solve ─▶ law ─ methods ─▶ intervals ─ analysis ─▶ JSON
    law, budget ─ planning ─▶ size, tokens, batch, rate, loss       published: others' laws

``objectives`` says what a fit makes small, ``noise`` and ``lack_of_fit`` what seeds tell,
``spreads`` how intervals are made, ``forest`` how much D/N depends on a choice. All is numbers in,
numbers out; nothing here trains.

>>> import numpy as np
>>> from trainer.experiments.laws.forest import fitted
>>> from trainer.experiments.laws.law import Law
>>> from trainer.experiments.laws.points import Points
>>> sizes, ratios = np.meshgrid([1e6, 4e6, 2e7, 6e7], [10.0, 20.0, 40.0, 80.0])
>>> parameters, tokens = sizes.ravel(), (sizes * ratios).ravel()
>>> law = Law(E=1.7, A=400.0, B=400.0, alpha=0.34, beta=0.28)
>>> found = fitted(Points(parameters, tokens, law.loss(parameters, tokens)))
>>> [round(float(value), 3) for value in found]
[1.7, 400.0, 400.0, 0.34, 0.28]
"""
