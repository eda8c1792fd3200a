"""Studies: an experiment's file, its runs under content keys, and their table.

    experiment.yaml ─ design ─▶ runs ─ executors ─▶ a line each ─ experiments.parquet ─▶ result, figures
"""
