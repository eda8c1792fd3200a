"""Studies: an experiment's file, its runs under content keys, and their table.

    experiment.yaml ─ experiment ─▶ design      base recipe ─ base ─▶ shards, and what designs know
    design ─ points ─▶ runs ─ prepared ─▶ plans and keys ─ study, by executors ─▶ a line for each
    lines ─ table ─▶ experiments.parquet        lines ─ design ─▶ findings ─ pages ─▶ figures, page

Under ``runs/RECIPE/studies/`` lie ``runs/KEY/`` of every run, shared by all experiments on the
recipe, and a folder of every experiment with its table and what it found. An experiment that was
stopped or killed goes on to the same table.

>>> from trainer.experiments.designs.catalogue import DESIGNS
>>> "lr" in DESIGNS
True
"""
