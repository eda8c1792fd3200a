"""Mixtures of a decay, searched by a regression over decays that share one stable checkpoint.

    prior, bounds ─ space ─▶ mixtures drawn ─ design ─▶ decays of one trunk
    losses of the first ones ─ proposals ─▶ mixtures to verify, over trunks of other seeds
    losses, round by round ─ trials ─▶ mixtures that Optuna asks for (an option beside)
    all losses ─ findings ─▶ how well models rank mixtures held out, and what the best are worth

A mixture is a tuple of shares by the order of the space's sources:

>>> from trainer.experiments.designs.mixtures.space import Space
>>> from trainer.experiments.fits.mixture_proposals import Bounds
>>> space = Space(("web", "code"), (0.8, 0.2), Bounds((0.1, 0.0), (1.0, 0.5)))
>>> space.default, space.most_of("code")
((0.8, 0.2), (0.5, 0.5))
"""
