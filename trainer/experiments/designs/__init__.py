"""Designs: one kind of experiment each, from settings to runs, and from outcomes to findings.

    settings, base recipe, outcomes so far ─ points ─▶ runs wanted
    all outcomes ─ findings ─▶ claims with verdicts, tables, figures as data

Each is a frozen record whose ``kind`` an experiment's file names as its ``study``
(:mod:`~trainer.experiments.designs.catalogue`). A design never sees a file or a checkpoint:

>>> from trainer.experiments.designs.catalogue import DESIGNS
>>> design = DESIGNS["lr"](widths=(48, 96), peaks=(0.005, 0.01, 0.02), tokens=700_000)
>>> design.summary, design.grows
('the best learning rate over widths', True)
"""
