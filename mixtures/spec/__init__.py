"""The mixture of a recipe: phases with shares of tokens, and rules over the whole run.

    MixtureSpec + tokens in the shards ─ resolve ─▶ phases in tokens, a weight for every source

A recipe may give a length in percent (:mod:`~mixtures.spec.lengths`), and weights by size, by a
preset of MiniCPM's (:mod:`~mixtures.spec.presets`) or by quality band
(:mod:`~mixtures.spec.bands`). The names you need: ``MixtureSpec`` (:mod:`~mixtures.spec.spec`),
``PhaseSpec`` (:mod:`~mixtures.spec.phase`), ``resolve`` (:mod:`~mixtures.spec.resolve`). What no
phase, branch or edit may break is in :mod:`~mixtures.spec.rules`.

>>> from mixtures.spec.resolve import resolve
>>> from mixtures.spec.spec import MixtureSpec
>>> spec = MixtureSpec(tokens=1000, phases=[
...     {"name": "stable", "percent": 80, "weights_from": ["web", "code"], "temperature": 2},
...     {"name": "decay", "decay": True, "percent": 20, "weights": {"web": 0.5, "sft": 0.5}},
... ])
>>> phases = resolve(spec, {"web": 9000, "code": 1000, "sft": 500})
>>> [(phase.name, phase.tokens) for phase in phases]
[('stable', 800), ('decay', 200)]
>>> {name: round(weight, 2) for name, weight in phases[0].weights.items()}
{'web': 0.75, 'code': 0.25}
"""
