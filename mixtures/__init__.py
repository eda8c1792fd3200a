"""Mixtures: what training is shown, and when. A batch is a pure function of (plan, step).

What comes in: a recipe's phases and the token shards of each source. What goes out: a plan, frozen
JSON in whole steps, and from it batches as numpy arrays. A run's state is its step and the plan's
hash.

Names to know::

    # phases: lengths, token shares, caps, ramps; rules over the run
    from mixtures.spec.spec import MixtureSpec
    # shares -> steps over pinned shards
    from mixtures.freeze.freeze import Plan, freeze, branch
    # (plan, step) -> tokens, targets, weights
    from mixtures.loader.loader import Loader

From shards to a batch::

    spec = MixtureSpec(tokens=1_536_000, reserve={"sft": "decay"}, phases=[
        {"name": "stable", "percent": 80, "weights_from": ["web-en", "code"], "temperature": 2},
        {"name": "decay", "decay": True, "percent": 20, "weights": {"web-en": 0.5, "sft": 0.5}},
    ])
    folders = {name: f"shards/{name}" for name in spec.sources}
    sources = {name: open_source(folder) for name, folder in folders.items()}
    plan = freeze(spec, sources, sequence_length=256, batch_tokens=4096, seed=1)
    batch = Loader(plan, folders).batch(0)
    batch.tokens.shape                                    # (16, 256)
    other = branch(plan, 200, [another_decay])            # same first 200 steps

Other rooms: :mod:`~mixtures.spec.phase`, :mod:`~mixtures.spec.lengths`,
:mod:`~mixtures.spec.bands`, :mod:`~mixtures.spec.presets` and :mod:`~mixtures.spec.resolve` (from
what a recipe says to tokens and weights), :mod:`~mixtures.spec.rules` and
:mod:`~mixtures.freeze.caps` (what no phase may break), :mod:`~mixtures.plan.format` (the plan as a
file), :mod:`~mixtures.plan.shares` (weights as integers), :mod:`~mixtures.sequences.chairman` and
:mod:`~mixtures.order.interleave` (which source comes next), :mod:`~mixtures.order.source_order`
(which of its windows), :mod:`~mixtures.parts.stream` (parts as one stream of tokens),
:mod:`~mixtures.inspect.trace` (which documents a step showed, when a document was shown).

Promises, each with its tests: every source stays within one window of its share after every window;
an epoch shows every window once; any number of ranks reads the same global batch; a new segment
never changes a past step.
"""
